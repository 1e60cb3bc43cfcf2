//! Reads an xDS control plane, and Envoy's files, as a source of the gateway's declared configuration.
