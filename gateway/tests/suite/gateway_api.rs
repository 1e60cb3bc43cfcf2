//! What the Gateway API's conformance tests ask of an HTTP gateway (kubernetes-sigs/gateway-api,
//! v1.5.1), as far as a file can say it: their requests and what has to come of them, over HTTP/1.1
//! and over HTTP/2 in clear text. The tables are the facts of those tests; nothing runs in a
//! cluster.
//!
//! A file says in order what the Gateway API says by precedence, so [`table::Rules`] writes routes in
//! the order that a Kubernetes provider would: exact paths first, then longer prefixes, then a
//! method, more header fields, more query fields, and the order of the rules. A match that is one of
//! several becomes a route of its own. Gateways whose listeners share a port are one listener here,
//! and the hostnames of listener and route meet in the domains of a virtual host.
//!
//! Differences, each with its reason; `docs/configuration.md` tells operators the same:
//!
//! | in the Gateway API | here | because |
//! |---|---|---|
//! | the most specific match wins | the first match wins | what a file's order says is seen where it is written; a provider sorts |
//! | a port that is not named is the listener's | it is the one in the client's `Host` | they are the same unless something in between maps ports, and then the listener's cannot be reached |
//! | a route without a valid backend is answered with 500 | the file is refused | nobody writes one on purpose; a provider writes `respond: { status: 500 }` |
//! | `*` allows every origin with credentials (CORS) | a regex and names | `*` with credentials lets every site act for a client: it has to be spelled out |
//! | an origin that `*` allows is named to a request with a cookie (CORS) | it is told `*` | without credentials both say the same, and `*` needs no `Vary` |
//! | a preflight is told which fields may be read (CORS) | the answer to the request itself says it | the Fetch standard gives it no meaning on a preflight |
//! | header filters for one backend of a split | for the whole route | a filter runs before the upstream is drawn; two routes say it |
//! | `timeouts.backendRequest` is for a whole try | `timeouts.read` of the upstream, between two reads | a timeout for each try comes with retries that know of it |
//! | request mirrors, HTTP/2 to backends, TLS | not yet | they are not built yet; the redirects of HTTPS listeners are in `decide`'s own tests |

#[path = "gateway_api/backends.rs"]
mod backends;
#[path = "gateway_api/cors.rs"]
mod cors;
#[path = "gateway_api/headers.rs"]
mod headers;
#[path = "gateway_api/hostnames.rs"]
mod hostnames;
#[path = "gateway_api/matching.rs"]
mod matching;
#[path = "gateway_api/redirects.rs"]
mod redirects;
#[path = "gateway_api/rewrites.rs"]
mod rewrites;
#[path = "gateway_api/table.rs"]
mod table;
