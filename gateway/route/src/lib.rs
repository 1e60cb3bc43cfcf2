//! Virtual host and path matching: first match wins, without walking the list.
//!
//! A decision takes four steps, each a type or a function of its own:
//!
//! 1. [`normalise_host`] brings the `Host` of a request to one spelling, or refuses it;
//! 2. [`HostTable`] finds the virtual host that claims it;
//! 3. [`normalise_path`] brings the path to one spelling, or refuses it;
//! 4. [`RouteTable`] finds the first route whose [`Match`] holds.
//!
//! The crate is apart from the gateway because all of this is computation over borrowed text: it
//! performs no I/O, holds no state between requests, and can be tested and measured alone. It
//! deliberately does not know where its tables come from, what a route leads to, or how they are
//! replaced; a route is only a position in a list.
//!
//! ```
//! use sallyport_route::{HostTable, Match, PathMatch, Request, RouteTable, Scheme};
//!
//! let hosts = HostTable::new([("*.example.com".parse()?, 0)])?;
//! let routes = RouteTable::new(vec![
//!     Match { path: PathMatch::exact("/health")?, ..Match::default() },
//!     Match { path: PathMatch::prefix("/api")?, ..Match::default() },
//! ]);
//!
//! let host = sallyport_route::normalise_host("Shop.Example.com:8080")?;
//! assert_eq!(hosts.lookup(&host), Some(0));
//!
//! let path = sallyport_route::normalise_path(b"/old/../api/%7Euser")?;
//! assert_eq!(path, "/api/~user");
//! let headers = http::HeaderMap::new();
//! let request =
//!     Request { method: &http::Method::GET, path: &path, query: "", headers: &headers, scheme: Scheme::Http, hints: None };
//! assert_eq!(routes.route(&request), Some(1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod braced;
mod client;
mod hash;
mod hint;
mod host;
mod matcher;
mod path;
mod patterns;
mod replacement;
mod scheme;
mod table;

pub use braced::{BracedError, Piece, pieces};
pub use client::{ClientCertificate, ClientMatch, ClientMismatch};
pub use hint::{HintMatch, HintMismatch, Hints};
pub use host::{Domain, DomainError, DuplicateDomain, HostError, HostTable, normalise_host};
pub use matcher::{
    CookieMatch, HeaderMatch, Match, Mismatch, PathMatch, PathRegex, QueryMatch, Request,
    ValueMatch, cookie_values, query_value,
};
pub use path::{PathError, normalise_path};
pub use patterns::Patterns;
pub use replacement::{Replacement, ReplacementError};
pub use scheme::Scheme;
pub use table::RouteTable;
