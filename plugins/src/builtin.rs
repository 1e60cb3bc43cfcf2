//! The filters that ship with Sallyport, a folder each: what it is for (`README.md`, which is also its
//! module's documentation), an example that the tests run through the gateway (`example.yaml`, with
//! its requests in `cases.yaml`), and what is refused (`bad.yaml`).

pub mod access_log;
pub mod api_key;
pub mod basic_auth;
pub mod body_limit;
pub mod compression;
pub mod cors;
pub mod external_auth;
pub mod headers;
pub mod ip_access;
pub mod jwt;
pub mod rate_limit;
pub mod request_id;
pub mod rewrite;
pub mod security_headers;

use crate::kind::Kind;

/// Every one, in the order in which they are documented.
pub(crate) const KINDS: &[Kind] = &[
    headers::KIND,
    rate_limit::KIND,
    jwt::KIND,
    rewrite::KIND,
    request_id::KIND,
    body_limit::KIND,
    basic_auth::KIND,
    external_auth::KIND,
    security_headers::KIND,
    cors::KIND,
    ip_access::KIND,
    compression::KIND,
    api_key::KIND,
    access_log::KIND,
];
