//! Services as upstreams.

use std::sync::Arc;

use sallyport_config::spec::scalar::{Int, Name, ObjectName, PortName};
use sallyport_config::spec::{
    Discovery, Endpoint, KubernetesService, OriginProtocol, OriginTls, Upstream,
};

use super::Draft;
use crate::endpoints::external_name;
use crate::objects::{BackendTlsPolicy, ConfigMap, Key, Kind as _, Object, Service};

/// What routes ask of a Service beside its endpoints.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// Whether it is spoken to in HTTP/2 whatever its port says: gRPC has no other way.
    pub(super) http2: bool,
    /// Whether it is spoken to by clients themselves, so that nothing of how is the gateway's.
    pub(super) is_passed_on: bool,
}

impl Draft<'_> {
    /// The upstream of a Service's port.
    ///
    /// # Errors
    /// If there is no such Service, or it has no such port.
    pub(super) fn upstream(
        &mut self,
        service: &Key,
        port: &PortName,
        wanted: &Wanted,
    ) -> Result<String, String> {
        let known = self.objects.services.get(service);
        let body = &known.ok_or_else(|| format!("there is no Service {service}"))?.body;
        let declared = body.ports.iter().find(|declared| match port {
            PortName::Number(number) => declared.port == *number,
            PortName::Name(name) => declared.name.as_deref() == Some(&**name),
        });
        let external = external_name(body);
        let number = match (port, declared) {
            (_, Some(declared)) => declared.port,
            // A host elsewhere needs no ports.
            (PortName::Number(number), None) if external.is_some() => *number,
            _ => return Err(format!("Service {service} has no port {port}")),
        };
        let app_protocol = declared.and_then(|declared| declared.app_protocol.as_deref());
        let is_http2 = wanted.http2 || matches!(app_protocol, Some("kubernetes.io/h2c" | "grpc"));
        let is_http2 = is_http2 && !wanted.is_passed_on;
        let tls = match wanted.is_passed_on {
            true => None,
            false => self.backend_tls(service, declared.and_then(|it| it.name.as_deref()))?,
        };
        let suffix = match wanted.is_passed_on {
            true => "/passthrough",
            false if is_http2 => "/http2",
            false => "",
        };
        let name = format!("kubernetes/{service}:{number}{suffix}");
        if self.upstreams.contains_key(&name) {
            return Ok(name);
        }
        let (endpoints, discovery) = match external {
            Some(host) => {
                let address = format!("{}:{number}", host.trim_end_matches('.'));
                let address = address.as_str().into();
                (Some(vec![Endpoint { address, weight: Int(1), priority: Int(0) }]), None)
            }
            None => {
                let service = ObjectName::from(service.to_string().as_str());
                let service = KubernetesService { service, port: PortName::Number(number) };
                let discovery =
                    Discovery { srv: None, file: None, kubernetes: Some(service), xds: None };
                (None, Some(discovery))
            }
        };
        let protocol = if is_http2 { OriginProtocol::Http2 } else { OriginProtocol::Http1 };
        let mut upstream = Upstream { endpoints, discovery, protocol, tls, ..plain(&name) };
        self.ask_of_upstream(service, &mut upstream);
        self.upstreams.insert(name.clone(), upstream);
        Ok(name)
    }

    /// The TLS that policies ask for towards a Service's port: one for the port decides before one
    /// for the whole Service, and of two alike the older.
    fn backend_tls(
        &mut self,
        service: &Key,
        port: Option<&str>,
    ) -> Result<Option<OriginTls>, String> {
        let in_namespace =
            |it: &&Arc<Object<BackendTlsPolicy>>| it.key.namespace == service.namespace;
        let policies = self.objects.tls_policies.values().filter(in_namespace);
        let fitting = policies.filter_map(|policy| {
            let mut targets = policy.body.target_refs.iter().filter(|target| {
                let section = target.section_name.as_deref();
                let is_port = section.is_none_or(|section| port == Some(section));
                target.group.is_empty()
                    && target.kind == Service::KIND
                    && *target.name == *service.name
                    && is_port
            });
            let is_for_all = targets.clone().all(|target| target.section_name.is_none());
            targets.next().map(|_| (is_for_all, policy))
        });
        let first = fitting.min_by_key(|(is_for_all, policy)| (*is_for_all, policy.age()));
        let Some(policy) = first.map(|(_, policy)| policy.clone()) else { return Ok(None) };
        let validation = &policy.body.validation;
        if !validation.subject_alt_names.is_empty() {
            return Err(format!("{}: subjectAltNames are not supported", policy.origin()));
        }
        let ca = match validation.well_known_ca_certificates.as_deref() {
            Some("System") => None,
            _ => Some(self.authorities(&policy)?),
        };
        let server_name = Some(validation.hostname.as_str().into());
        Ok(Some(OriginTls { server_name, ca, ..OriginTls::default() }))
    }

    /// The file of the authorities that a policy names.
    fn authorities(&mut self, policy: &Object<BackendTlsPolicy>) -> Result<Name, String> {
        let mut pem = String::new();
        for reference in &policy.body.validation.ca_certificate_refs {
            let kind = reference.kind.as_deref().unwrap_or_default();
            if kind != ConfigMap::KIND {
                let name = &reference.name;
                return Err(format!("{}: {kind} {name} is no ConfigMap", policy.origin()));
            }
            let key = Key::new(&policy.key.namespace, &reference.name);
            let found = self.objects.config_maps.get(&key).and_then(|map| map.body.0.as_deref());
            let found = found.ok_or_else(|| {
                format!("{}: there is no ConfigMap {key} with a ca.crt", policy.origin())
            })?;
            pem.push_str(found);
            pem.push('\n');
        }
        if pem.is_empty() {
            return Err(format!("{} names no authorities", policy.origin()));
        }
        let stem = format!("{}.{}", policy.key.namespace, policy.key.name);
        Ok(self.file(&stem, "ca", pem.as_bytes()))
    }
}

/// An upstream with this name and every default.
fn plain(name: &str) -> Upstream {
    Upstream {
        name: name.into(),
        load_balancing: Default::default(),
        endpoints: None,
        discovery: None,
        protocol: OriginProtocol::Http1,
        http2: None,
        tls: None,
        send_proxy_protocol: None,
        timeouts: Default::default(),
        health_check: None,
        outlier_detection: None,
        slow_start: None,
        limits: None,
        queue: None,
        sticky: None,
        bandwidth: None,
    }
}

impl Draft<'_> {
    /// An upstream that never has an endpoint, for the share of what cannot be reached.
    pub(super) fn nowhere(&mut self) -> String {
        let name = "kubernetes/nowhere".to_owned();
        let service = KubernetesService { service: "none/none".into(), port: PortName::Number(1) };
        let discovery =
            Some(Discovery { srv: None, file: None, kubernetes: Some(service), xds: None });
        let upstream = Upstream { discovery, ..plain(&name) };
        self.upstreams.entry(name.clone()).or_insert(upstream);
        name
    }
}
