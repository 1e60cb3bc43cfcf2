//! Reads a Kubernetes cluster as a source of the gateway's declared configuration.
