//! The connection with a control plane, and who this gateway says that it is.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType;
use envoy_types::pb::envoy::config::core::v3::{Locality, Node};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value as Field};
use sallyport_config::spec::{Xds, XdsTls};
use sallyport_config::{Value, regular};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// How often a silent connection is asked whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The largest file of certificates or keys.
const PEM_BYTES_MAX: u64 = 4 << 20;

/// Connects. Certificates are read anew each time, so that those in force are always those on disk.
pub(super) async fn connect(config: &Xds) -> Result<Channel, String> {
    let server = config.server.to_string();
    let mut endpoint = Endpoint::from_shared(server.clone())
        .map_err(|error| format!("{server}: {error}"))?
        .connect_timeout(config.connect_timeout.0)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    if server.starts_with("https:") {
        let tls = tls(config.tls.as_ref())?;
        endpoint = endpoint.tls_config(tls).map_err(|error| shown(&error))?;
    }
    endpoint.connect().await.map_err(|error| format!("{server}: {}", shown(&error)))
}

/// An error with what it came of.
fn shown(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn tls(config: Option<&XdsTls>) -> Result<ClientTlsConfig, String> {
    let mut tls = ClientTlsConfig::new();
    let Some(config) = config else { return Ok(tls.with_native_roots()) };
    tls = match &config.ca {
        Some(ca) => tls.ca_certificate(Certificate::from_pem(read(ca)?)),
        None => tls.with_native_roots(),
    };
    if let Some(name) = &config.server_name {
        tls = tls.domain_name(name.to_string());
    }
    if let Some(own) = &config.client_certificate {
        tls = tls.identity(Identity::from_pem(read(&own.cert)?, read(&own.key)?));
    }
    Ok(tls)
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    let read = regular::read(std::path::Path::new(path), PEM_BYTES_MAX);
    read.map(|(bytes, _)| bytes).map_err(|error| format!("{path}: {}", error.reason()))
}

/// Who this gateway is.
pub(super) fn node(config: &Xds) -> Node {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let node = &config.node;
    Node {
        id: node.id.to_string(),
        cluster: text(node.cluster.as_deref()),
        metadata: node.metadata.as_ref().map(|metadata| Struct { fields: fields(metadata) }),
        locality: node.locality.as_ref().map(|locality| Locality {
            region: text(locality.region.as_deref()),
            zone: text(locality.zone.as_deref()),
            sub_zone: text(locality.sub_zone.as_deref()),
        }),
        user_agent_name: "sallyport".to_owned(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentVersion(
            env!("CARGO_PKG_VERSION").to_owned(),
        )),
        ..Node::default()
    }
}

fn fields(value: &Value) -> std::collections::HashMap<String, Field> {
    let Value::Mapping(map) = value else { return Default::default() };
    map.iter().filter_map(|(key, value)| Some((key.as_str()?.to_owned(), field(value)))).collect()
}

fn field(value: &Value) -> Field {
    let kind = match value {
        Value::Null | Value::Tagged(_) => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::Number(text) => match text.parse() {
            Ok(number) => Kind::NumberValue(number),
            Err(_) => Kind::StringValue(text.to_string()),
        },
        Value::String(text) => Kind::StringValue(text.to_string()),
        Value::Sequence(items) => {
            Kind::ListValue(ListValue { values: items.iter().map(field).collect() })
        }
        Value::Mapping(_) => Kind::StructValue(Struct { fields: fields(value) }),
    };
    Field { kind: Some(kind) }
}
