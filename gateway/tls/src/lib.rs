//! TLS for both sides of the gateway.
//!
//! This crate owns certificates and what is derived from them: which certificate answers for a
//! name, which clients are let in, and how certificates are renewed. It knows nothing of Pingora's
//! sessions, nor of routes.
