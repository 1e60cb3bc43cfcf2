//! Sections of which there is one, in the main file.

use sallyport_config::spec::{self, Spec};
use sallyport_config::{Place, Sink};

use super::listener::networks;
use super::{Resolver, acme, admin, origins, process, push, tracing};
use crate::config::limits::{HeaderNames, Limits};
use crate::config::model::{
    Classifier, Config, HintField, Offence, VERDICT_RULES_MAX, VerdictRule, Verdicts,
};

impl Resolver<'_, '_, '_> {
    /// The configuration without what there may be many of.
    pub(super) fn sections(&mut self, main: &Spec) -> Config {
        let file = Place::File(0);
        let at = |key| Place::Key(&file, key);
        let is_address_read = !self.is_replaced(&Place::Key(&at("admin"), "address"));
        let is_ttl_read = ["min_ttl", "max_ttl"]
            .iter()
            .all(|key| !self.is_replaced(&Place::Key(&at("resolver"), key)));
        let error_pages = self.error_pages(main.error_pages.as_ref(), &file);
        let problems = &mut *self.problems;
        let admin = main.admin.as_ref().and_then(|spec| {
            let (files, accounts) = (&mut *self.filters, &self.accounts);
            admin::admin(spec, &at("admin"), is_address_read, files, accounts, problems)
        });
        let verdicts = main.verdicts.as_ref();
        let push = main.push.as_ref();
        if let Some(providers) = &main.providers {
            crate::sources::check(providers, &at("providers"), problems);
        }
        let tracing = main.tracing.as_ref();
        Config {
            listeners: Vec::new(),
            admin,
            providers: main.providers.clone(),
            limits: self.limits.clone(),
            shutdown: (&main.shutdown).into(),
            engine: main.insecure.engine,
            log: process::log(&main.log, &at("log"), problems),
            challenges: acme::challenges(&self.accounts),
            asks_ja4: self.declared.asks_ja4,
            classifier: main.classifier.as_ref().map(Into::into),
            verdicts: verdicts.map(|spec| self::verdicts(spec, &at("verdicts"), problems)),
            counts_status_codes: main.statistics.exact_status,
            push: push.map(|spec| push::push(spec, &at("push"), problems)),
            tracing: tracing.and_then(|spec| tracing::tracing(spec, &at("tracing"), problems)),
            error_pages,
            resolver: origins::resolver(&main.resolver, &at("resolver"), is_ttl_read, problems),
            upstreams: Vec::new(),
            virtual_hosts: Vec::new(),
        }
    }
}

impl From<&spec::Limits> for Limits {
    fn from(spec: &spec::Limits) -> Self {
        Self {
            virtual_hosts: spec.virtual_hosts.0,
            domains: spec.domains.0,
            routes: spec.routes.0,
            upstreams: spec.upstreams.0,
            endpoints: spec.endpoints.0,
            hash_table_slots: spec.hash_table_slots.0,
            request_headers: spec.request_headers.0,
            request_header_bytes: spec.request_header_bytes.0,
            header_names: match spec.header_names {
                spec::HeaderNames::Strict => HeaderNames::Strict,
                spec::HeaderNames::Any => HeaderNames::Any,
            },
            request_body_bytes: spec.request_body_bytes.0,
            request_body_min_rate: spec.request_body_min_rate.0,
            client_unread_bytes: spec.client_unread_bytes.0,
            idle_route_series: spec.idle_route_series.0,
            upstream_idle_connections: spec.upstream_idle_connections.0,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        (&spec::Limits::default()).into()
    }
}

impl From<&spec::Classifier> for Classifier {
    fn from(spec: &spec::Classifier) -> Self {
        let hints = spec.upstream_headers.iter().map(|hint| match hint {
            spec::HintName::Network => HintField::Network,
            spec::HintName::Zone => HintField::Zone,
            spec::HintName::Protocol => HintField::Protocol,
            spec::HintName::Screens => HintField::Screens,
            spec::HintName::SynRate => HintField::SynRate,
        });
        Self {
            pin_path: (*spec.pin_path).into(),
            required: spec.required,
            upstream_headers: hints.collect(),
        }
    }
}

fn verdicts(spec: &spec::Verdicts, place: &Place<'_>, sink: &mut Sink) -> Verdicts {
    if spec.rules.len() > VERDICT_RULES_MAX {
        let what = format!("has {} rules", spec.rules.len());
        let fix = format!("keep to {VERDICT_RULES_MAX}");
        Place::Key(place, "rules").refuse::<()>(sink, what, fix);
    }
    let rules = spec.rules.iter().map(|rule| VerdictRule {
        on: match rule.on {
            spec::Offence::ClientError => Offence::ClientError,
            spec::Offence::Refused => Offence::Refused,
            spec::Offence::Limit => Offence::Limit,
        },
        more_than: rule.more_than.0 as u32,
        within: rule.within.0,
        lasting: rule.lasting.0,
    });
    Verdicts {
        max: spec.max.0 as usize,
        exempt: networks(&spec.exempt, &Place::Key(place, "exempt"), sink),
        ipv6_prefix: spec.ipv6_prefix.0 as u8,
        rules: rules.collect(),
    }
}
