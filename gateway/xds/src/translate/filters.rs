//! HTTP filters as entries of `filters`.
//!
//! Envoy's chain is the listener's; what routes say of a filter is found by the filter's name. Ours
//! is the same: an entry of a route replaces the listener's of that name.

mod compressor;
mod cors;
mod health_check;
mod jwt;
mod limits;
mod rbac;
mod wasm;

use std::sync::Arc;

use sallyport_config::Value;

use self::jwt::{Choice, Plan};
use super::Scope;
use super::headers::Mutations;
use super::matching::Matched;
use crate::fields::Fields;
use crate::output::{Map, text};
use crate::resources::ResourceKind;

/// What a filter does by itself.
#[derive(Clone, Debug, PartialEq)]
enum Effect {
    /// Nothing, until a route says what.
    None,
    /// Settings of one of our filters.
    Settings(Value),
    /// It answers this path.
    HealthCheck(String),
    /// Its rules say which routes ask for a token.
    Jwt(Arc<Plan>),
}

/// One filter of a chain.
#[derive(Clone, Debug, PartialEq)]
struct HttpFilter {
    /// Its name, by which routes speak of it.
    name: String,
    /// The full name of its configuration's type.
    type_name: String,
    /// Whether it does nothing until a route turns it on.
    is_off: bool,
    /// The name of our entry, where it is not that of its kind.
    alias: Option<String>,
    kind: &'static Kind,
    effect: Effect,
}

/// A filter that we have an equal of.
#[derive(Debug)]
struct Kind {
    /// The type of its configuration.
    type_name: &'static str,
    /// Our kind; empty where no filter of ours stands for it.
    ours: &'static str,
    /// Reads its configuration in a listener's chain.
    read: fn(&Scope<'_>, &Fields<'_>) -> Option<Effect>,
    /// The type of its configuration on a route, and how that is read.
    on_route: Option<(&'static str, OnRoute)>,
}

/// Reads the configuration of a filter on a route, a virtual host or a route configuration.
type OnRoute = fn(&Scope<'_>, &Fields<'_>, Level) -> Option<Own>;

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.type_name == other.type_name
    }
}

/// Where something is said of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Route,
    Around,
}

/// What a route says of a filter.
enum Own {
    Settings(Value),
    Off,
    /// It is as the listener has it.
    AsListener,
    Jwt(Choice),
}

const KINDS: [Kind; 10] = [
    Kind {
        type_name: "envoy.extensions.filters.http.router.v3.Router",
        ours: "",
        read: router,
        on_route: None,
    },
    Kind {
        type_name: "envoy.extensions.filters.http.cors.v3.Cors",
        ours: "cors",
        read: |_, _| Some(Effect::None),
        on_route: Some(("envoy.extensions.filters.http.cors.v3.CorsPolicy", cors::on_route)),
    },
    Kind {
        type_name: "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        ours: "jwt",
        read: jwt::read,
        on_route: Some((
            "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig",
            jwt::on_route,
        )),
    },
    Kind {
        type_name: "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        ours: "rate_limit",
        read: limits::rate_of_listener,
        on_route: Some((
            "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
            limits::rate_on_route,
        )),
    },
    Kind {
        type_name: "envoy.extensions.filters.http.rbac.v3.RBAC",
        ours: "ip_access",
        read: |_, fields| rbac::read(fields).map(Effect::Settings),
        on_route: Some(("envoy.extensions.filters.http.rbac.v3.RBACPerRoute", rbac::on_route)),
    },
    Kind {
        type_name: "envoy.extensions.filters.http.compressor.v3.Compressor",
        ours: "compression",
        read: |scope, fields| compressor::read(scope, fields),
        on_route: Some((
            "envoy.extensions.filters.http.compressor.v3.CompressorPerRoute",
            compressor::on_route,
        )),
    },
    Kind {
        type_name: "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        ours: "headers",
        read: header_mutation,
        on_route: Some((
            "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute",
            header_mutation_on_route,
        )),
    },
    Kind {
        type_name: "envoy.extensions.filters.http.wasm.v3.Wasm",
        ours: "wasm",
        read: wasm::read,
        on_route: None,
    },
    Kind {
        type_name: "envoy.extensions.filters.http.health_check.v3.HealthCheck",
        ours: "",
        read: health_check::read,
        on_route: None,
    },
    Kind {
        type_name: "envoy.extensions.filters.http.buffer.v3.Buffer",
        ours: "body_limit",
        read: |_, fields| Some(limits::body(fields).map_or(Effect::None, Effect::Settings)),
        on_route: Some((
            "envoy.extensions.filters.http.buffer.v3.BufferPerRoute",
            limits::body_on_route,
        )),
    },
];

/// Filters that only look on: a chain does the same without them.
const ONLOOKERS: [(&str, &str); 3] = [
    ("envoy.extensions.filters.http.grpc_stats.v3.FilterConfig", "statistics are by route"),
    (
        "envoy.extensions.filters.http.alternate_protocols_cache.v3.FilterConfig",
        "origins are spoken to as their upstream says",
    ),
    ("envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec", "it is Envoy's own"),
];

/// Why a well-known filter has no equal.
const UNEQUAL: [(&str, &str); 6] = [
    (
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        "asks a service at each request's own path, or by gRPC; ours asks one path: set up \
         `external_auth` in a file",
    ),
    (
        "envoy.extensions.filters.http.ratelimit.v3.RateLimit",
        "asks a rate limit service with descriptors: set up `rate_limit` in a file",
    ),
    (
        "envoy.extensions.filters.http.fault.v3.HTTPFault",
        "injects faults, which no filter here does",
    ),
    ("envoy.extensions.filters.http.lua.v3.Lua", "is a script, write a filter in WebAssembly"),
    (
        "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
        "sends requests to a service by gRPC, write a filter in WebAssembly",
    ),
    (
        "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb",
        "translates gRPC-web, which is passed on as it is",
    ),
];

/// The filters of a listener's connections.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Chain {
    filters: Vec<HttpFilter>,
    /// Whether they stand on the virtual hosts, because other connections of their listener have
    /// others.
    is_hosted: bool,
}

/// What routes say of filters, by the filter's place in its chain.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PerRoute {
    entries: Vec<(usize, Value)>,
    jwt: Option<Choice>,
}

impl PerRoute {
    /// Adds the entries to a list of filters, in place of those of the same name.
    pub(super) fn add_to(&self, filters: &mut Vec<Value>) {
        for (_, entry) in &self.entries {
            match filters.iter_mut().find(|filter| name_of(filter) == name_of(entry)) {
                Some(filter) => *filter = entry.clone(),
                None => filters.push(entry.clone()),
            }
        }
    }
}

/// The name of an entry of `filters`.
fn name_of(entry: &Value) -> Option<&str> {
    let Value::Mapping(entry) = entry else { return None };
    let given = entry.get("name").and_then(Value::as_str);
    given.or_else(|| entry.keys().next().and_then(Value::as_str))
}

impl Chain {
    /// Reads the filters of a connection manager.
    pub(super) fn read(scope: &Scope<'_>, manager: &Fields<'_>) -> Self {
        let mut filters: Vec<HttpFilter> = Vec::new();
        for fields in manager.messages("http_filters") {
            let Some(mut filter) = http_filter(scope, &fields) else { continue };
            let ours = filter.kind.ours;
            if ours == "headers" || filters.iter().any(|before| before.kind.ours == ours) {
                filter.alias = Some(filter.name.clone());
            }
            match compressor::merged(&mut filters, &filter) {
                true => {}
                false => filters.push(filter),
            }
        }
        Self { filters, is_hosted: false }
    }

    /// The same filters on virtual hosts.
    pub(super) fn on_hosts(mut self) -> Self {
        self.is_hosted = true;
        self
    }

    /// The entries of the listener.
    pub(super) fn entries(&self) -> Vec<Value> {
        if self.is_hosted { Vec::new() } else { self.written() }
    }

    /// The entries of each virtual host.
    pub(super) fn hosted(&self) -> Vec<Value> {
        if self.is_hosted { self.written() } else { Vec::new() }
    }

    fn written(&self) -> Vec<Value> {
        let on = self.filters.iter().filter(|filter| !filter.is_off);
        on.filter_map(|filter| match &filter.effect {
            Effect::Settings(settings) => Some(filter.entry(settings.clone())),
            _ => None,
        })
        .collect()
    }

    /// Routes that stand before all others.
    pub(super) fn first_routes(&self) -> Vec<Value> {
        let on = self.filters.iter().filter(|filter| !filter.is_off);
        on.filter_map(|filter| match &filter.effect {
            Effect::HealthCheck(path) => Some(health_check::route(&filter.name, path)),
            _ => None,
        })
        .collect()
    }

    /// Reads what `fields`, a route or something around routes, says of filters; what it says
    /// nothing of is as `around` has it.
    pub(super) fn per_route(
        &self,
        scope: &Scope<'_>,
        fields: &Fields<'_>,
        around: &PerRoute,
    ) -> PerRoute {
        let level = match fields.type_name().ends_with(".Route") {
            true => Level::Route,
            false => Level::Around,
        };
        let mut out = around.clone();
        for (name, config) in fields.entries("typed_per_filter_config") {
            let Some(config) = config.unpacked() else { continue };
            let at = self.filters.iter().position(|filter| filter.name == name);
            let Some(at) = at else {
                config.leave("no filter of the listener has this name");
                continue;
            };
            let filter = &self.filters[at];
            let Some(own) = filter.on_route(scope, config, level) else { continue };
            let entry = match own {
                Own::Settings(settings) => filter.entry(settings),
                Own::Off => filter.entry(text("off")),
                Own::AsListener => match &filter.effect {
                    Effect::Settings(settings) => filter.entry(settings.clone()),
                    _ => continue,
                },
                Own::Jwt(choice) => {
                    out.jwt = Some(choice);
                    continue;
                }
            };
            match out.entries.iter_mut().find(|(index, _)| *index == at) {
                Some((_, known)) => *known = entry,
                None => out.entries.push((at, entry)),
            }
        }
        out
    }

    /// The entries that a route has because of what it matches.
    pub(super) fn for_route(
        &self,
        around: &PerRoute,
        own: &PerRoute,
        matched: &Matched,
    ) -> Vec<Value> {
        let choice = own.jwt.as_ref().or(around.jwt.as_ref());
        let on = self.filters.iter().filter(|filter| !filter.is_off);
        on.filter_map(|filter| match &filter.effect {
            Effect::Jwt(plan) => Some(filter.entry(plan.of(choice, matched)?)),
            _ => None,
        })
        .collect()
    }
}

impl HttpFilter {
    fn entry(&self, settings: Value) -> Value {
        let entry = Map::new().with(self.kind.ours, settings);
        entry.with_some("name", self.alias.as_deref().map(text)).done()
    }

    fn on_route(&self, scope: &Scope<'_>, config: Fields<'_>, level: Level) -> Option<Own> {
        if config.type_name() == "envoy.config.route.v3.FilterConfig" {
            config.ignore("is_optional", "a filter that is not in the chain is left out");
            if config.flag("disabled").unwrap_or(false) {
                return self.off(&config);
            }
            return match config.any("config") {
                Some(inner) => self.on_route(scope, inner, level),
                None => Some(Own::AsListener),
            };
        }
        match self.kind.on_route {
            Some((name, read)) if name == config.type_name() => {
                match read(scope, &config, level)? {
                    Own::Off => self.off(&config),
                    own => Some(own),
                }
            }
            _ => config.reject(format!("is no configuration of {} on a route", self.type_name)),
        }
    }

    fn off(&self, config: &Fields<'_>) -> Option<Own> {
        match self.effect {
            Effect::Settings(_) => Some(Own::Off),
            Effect::Jwt(_) => Some(Own::Jwt(Choice::Off)),
            Effect::None => None,
            Effect::HealthCheck(_) => config.reject("is answered on every route"),
        }
    }
}

fn http_filter(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<HttpFilter> {
    let name = fields.text("name").unwrap_or_default();
    let is_optional = fields.flag("is_optional").unwrap_or(false);
    let is_off = fields.flag("disabled").unwrap_or(false);
    if let Some(discovery) = fields.message("config_discovery") {
        return discovered(scope, &discovery, &name, is_off);
    }
    of_type(scope, &fields.any("typed_config")?, &name, is_off, is_optional)
}

/// A filter whose configuration comes by itself (ECDS).
fn discovered(
    scope: &Scope<'_>,
    fields: &Fields<'_>,
    name: &str,
    is_off: bool,
) -> Option<HttpFilter> {
    super::listener::config_source(fields, "config_source");
    fields.ignore("type_urls", "the configuration says what it is");
    fields.ignore("apply_default_config_without_warming", "it is in force until another comes");
    if let Some(extension) = scope.find(ResourceKind::Extension, name) {
        fields.pass_over();
        extension.text("name");
        return of_type(scope, &extension.any("typed_config")?, name, is_off, false);
    }
    match fields.any("default_config") {
        Some(config) => of_type(scope, &config, name, is_off, false),
        None => fields.miss(ResourceKind::Extension, name),
    }
}

fn of_type(
    scope: &Scope<'_>,
    config: &Fields<'_>,
    name: &str,
    is_off: bool,
    is_optional: bool,
) -> Option<HttpFilter> {
    let type_name = config.type_name();
    let reason = |table: &[(&'static str, &'static str)]| {
        table.iter().find(|(name, _)| *name == type_name).map(|(_, why)| *why)
    };
    if let Some(why) = reason(&ONLOOKERS) {
        config.leave(why);
        return None;
    }
    let Some(kind) = KINDS.iter().find(|kind| kind.type_name == type_name) else {
        let why = reason(&UNEQUAL).unwrap_or("no filter here does what it does");
        if is_optional || is_off {
            config.leave(format!("{why}; it may be left out"));
            return None;
        }
        return config.reject(format!("{type_name} {why}"));
    };
    let effect = (kind.read)(scope, config)?;
    Some(HttpFilter { name: name.to_owned(), type_name, is_off, alias: None, kind, effect })
}

fn router(_: &Scope<'_>, fields: &Fields<'_>) -> Option<Effect> {
    fields.ignore_all(
        &["dynamic_stats", "suppress_grpc_request_failure_code_stats"],
        "statistics are by route",
    );
    fields.ignore_all(
        &["start_child_span", "upstream_log", "upstream_log_options"],
        "attempts are told by statistics and traces",
    );
    fields.ignore_all(
        &["suppress_envoy_headers", "respect_expected_rq_timeout", "strict_check_headers"],
        "x-envoy-* has no meaning here",
    );
    fields.ignore("reject_connect_request_early_data", "CONNECT is not routed");
    fields.refuse("upstream_http_filters", "filters are the route's, before an endpoint is chosen");
    Some(Effect::None)
}

fn header_mutation(_: &Scope<'_>, fields: &Fields<'_>) -> Option<Effect> {
    fields.ignore(
        "most_specific_header_mutations_wins",
        "what a route says takes the place of what its listener says",
    );
    let mutations = fields.message("mutations").map(|mutations| Mutations::of_filter(&mutations));
    let settings = mutations.and_then(|mutations| settings_of(&mutations));
    Some(settings.map_or(Effect::None, Effect::Settings))
}

fn header_mutation_on_route(_: &Scope<'_>, fields: &Fields<'_>, _: Level) -> Option<Own> {
    let mutations = fields.message("mutations").map(|mutations| Mutations::of_filter(&mutations));
    mutations.and_then(|mutations| settings_of(&mutations)).map(Own::Settings)
}

/// What stands under `headers`.
fn settings_of(mutations: &Mutations) -> Option<Value> {
    let Some(Value::Mapping(written)) = mutations.written(None) else { return None };
    written.get("headers").cloned()
}
