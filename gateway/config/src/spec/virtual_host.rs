//! `virtual_hosts` and their `routes`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::{Forward, Redirect, Respond};
use super::bandwidth::Bandwidth;
use super::error_pages::ErrorPages;
use super::filter::FilterEntry;
use super::matching::Match;
use super::scalar::{Domain, Name};
use super::tls::ClientCertificates;
use super::tracing::TracingOverride;
use crate::schema::{exactly_one, needs};

/// Domains and the routes of the requests for them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VirtualHost {
    /// Its name in logs and metrics; no two alike.
    pub name: Name,
    /// The domains that it answers for: a name, `*.suffix`, `prefix.*`, or `*` for all.
    #[schemars(length(min = 1))]
    pub domains: Vec<Domain>,
    /// The filters of all its requests, besides those of the listener.
    #[serde(default)]
    pub filters: Vec<FilterEntry>,
    /// What it asks of clients that connect by its names with TLS, in place of what the listener asks.
    pub client_certificates: Option<ClientCertificates>,
    /// What clients read in place of the gateway's own errors.
    pub error_pages: Option<ErrorPages>,
    /// What of tracing is another for its requests.
    pub tracing: Option<TracingOverride>,
    /// Its routes; the first match wins.
    pub routes: Vec<Route>,
}

/// What to do with which requests.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = exactly_one(&Route::ACTIONS), transform = needs("bandwidth", "forward"))]
pub struct Route {
    /// Its name in logs and metrics; no two alike in one virtual host.
    pub name: Name,
    /// Which requests it takes. All by default.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// Its filters, besides those of its virtual host and the listener.
    #[serde(default)]
    pub filters: Vec<FilterEntry>,
    /// What of tracing is another for them, in place of what the virtual host says.
    pub tracing: Option<TracingOverride>,
    /// How much of their bodies passes in a second, with `forward`. No bound by default.
    pub bandwidth: Option<Bandwidth>,
    /// Sends them to an upstream.
    pub forward: Option<Forward>,
    /// Sends the client elsewhere.
    pub redirect: Option<Redirect>,
    /// Answers.
    pub respond: Option<Respond>,
}

impl Route {
    /// The keys of which a route has one.
    pub const ACTIONS: [&'static str; 3] = ["forward", "redirect", "respond"];
}
