//! Properties: Envoy's attributes of a request as far as there are such things here, and
//! `sallyport.*`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::{Version, header};

use super::abi::Status;
use super::fields::Message;
use super::maps;
use super::scene::{Place, Scene};
use super::state::State;
use crate::exchange::VerdictAsked;

/// Properties that guests may give one request, all together.
const PROPERTIES_MAX: usize = 32;

/// Envoy's number for a listener that clients connect to.
const INBOUND: u64 = 1;

/// The longest path or value of one.
const BYTES_MAX: usize = 4 << 10;

/// The parts of a path are divided by zero bytes; some SDKs write one behind the last, some guests
/// write dots.
fn parts(path: &[u8]) -> Option<Vec<&str>> {
    let path = std::str::from_utf8(path).ok()?;
    let path = path.strip_suffix('\0').unwrap_or(path);
    let by = if path.contains('\0') { '\0' } else { '.' };
    Some(path.split(by).collect())
}

/// The value of a property, as Envoy writes it: texts as they are, numbers in eight bytes, truth in
/// one, times in nanoseconds, maps as maps.
pub(super) fn value(state: &State, path: &[u8]) -> Option<Vec<u8>> {
    let parts = parts(path)?;
    let (first, rest) = parts.split_first()?;
    if let Some(value) = of_process(state, first, rest) {
        return Some(value);
    }
    let scene = &state.scene;
    if scene.stream == 0 || scene.stream != state.context() {
        return None;
    }
    let place = &scene.place;
    let found = match *first {
        "request" => of_request(scene, rest),
        "response" => of_response(scene, rest),
        "source" => address(place.client.or(place.peer), rest),
        "destination" => address(place.local, rest),
        "upstream" => of_upstream(place, rest),
        "connection" => of_connection(place, rest),
        "route_name" => Some(text(&place.route)),
        "cluster_name" => (!place.upstream.is_empty()).then(|| text(&place.upstream)),
        "xds" => of_xds(place, rest),
        "sallyport" => of_sallyport(scene, rest),
        _ => None,
    };
    found.or_else(|| {
        let path = parts.join("\0");
        let own = scene.marks.properties.iter().find(|(name, _)| **name == *path.as_bytes());
        own.map(|(_, value)| value.to_vec())
    })
}

fn of_process(state: &State, first: &str, rest: &[&str]) -> Option<Vec<u8>> {
    let settings = &state.plugin.settings;
    match (first, rest) {
        ("plugin_name", []) => Some(text(&state.plugin.name)),
        ("plugin_root_id", []) => Some(text(&settings.root_id)),
        ("plugin_vm_id", []) => Some(text(&settings.vm_id)),
        ("listener_direction", []) => Some(number(INBOUND)),
        _ => None,
    }
}

fn of_request(scene: &Scene, rest: &[&str]) -> Option<Vec<u8>> {
    let request = &scene.request;
    let (path, query) = scene.path().split_once('?').unwrap_or((scene.path(), ""));
    let field = |name: &str| {
        let value = scene.field(Message::Request, name.as_bytes())?;
        Some(value.as_bytes().to_vec())
    };
    match rest {
        ["path"] => Some(text(scene.path())),
        ["url_path"] => Some(text(path)),
        ["query"] => Some(text(query)),
        ["host"] => Some(scene.authority().to_vec()),
        ["scheme"] => Some(text(scene.scheme())),
        ["method"] => Some(text(request.method.as_str())),
        ["protocol"] => Some(text(protocol(request.version))),
        ["id"] => field("x-request-id"),
        ["referer"] => field("referer"),
        ["useragent"] => field("user-agent"),
        ["headers"] => Some(map(scene, Message::Request)),
        ["headers", name] => field(name),
        ["time"] => Some(number(started(scene.place.started?))),
        ["duration"] => Some(nanoseconds(scene.place.ended.as_ref()?.duration)),
        ["size"] => request_bytes(scene).map(number),
        ["total_size"] => {
            let head = head_bytes(scene, Message::Request);
            Some(number(scene.place.ended.as_ref()?.request_bytes + head))
        }
        _ => None,
    }
}

fn of_response(scene: &Scene, rest: &[&str]) -> Option<Vec<u8>> {
    let ended = scene.place.ended.as_ref();
    let status = || {
        let now = scene.has_response.then_some(scene.response.status);
        now.or_else(|| ended?.status).map(|status| number(status.as_u16().into()))
    };
    match rest {
        ["code"] => status(),
        ["code_details"] => ended?.cause.as_deref().map(text),
        ["size"] => ended.map(|ended| number(ended.response_bytes)),
        ["total_size"] => {
            let head = head_bytes(scene, Message::Response);
            ended.map(|ended| number(ended.response_bytes + head))
        }
        ["flags"] => Some(number(flags(ended.and_then(|ended| ended.cause.as_deref())))),
        ["grpc_status"] => {
            let trailers = scene.field(Message::Trailers, b"grpc-status");
            let status = trailers.or_else(|| scene.field(Message::Response, b"grpc-status"))?;
            Some(number(status.to_str().ok()?.trim().parse().ok()?))
        }
        ["backend_latency"] => scene.place.backend_latency.map(nanoseconds),
        ["headers"] if scene.has_response => Some(map(scene, Message::Response)),
        ["headers", name] if scene.has_response => {
            let value = scene.field(Message::Response, name.as_bytes())?;
            Some(value.as_bytes().to_vec())
        }
        _ => None,
    }
}

/// The length of the body: as it is announced, and in the log as it came.
fn request_bytes(scene: &Scene) -> Option<u64> {
    let came = scene.place.ended.as_ref().map(|ended| ended.request_bytes);
    let length = || scene.request.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    came.or_else(length).or_else(|| (scene.place.bodiless == Some(true)).then_some(0))
}

/// Bytes of a head's names and values, without what divides them.
fn head_bytes(scene: &Scene, message: Message) -> u64 {
    if message == Message::Response && !scene.has_response {
        return 0;
    }
    let mut bytes = 0;
    scene.each(message, |key, value| bytes += key.len() + value.len());
    bytes as u64
}

/// Envoy's bit for what failed; 0 where nothing did.
fn flags(cause: Option<&str>) -> u64 {
    match cause {
        Some("no_endpoint") => 0x2,
        Some("timeout") => 0x4,
        Some("connect") => 0x20,
        Some("reset") => 0x40,
        Some("no_route") => 0x100,
        Some("rate_limited") => 0x800,
        Some("external_auth" | "external_auth_failed") => 0x1000,
        Some("client_gone") => 0x4000,
        Some("client_timeout") => 0x1_0000,
        Some("bad_request" | "head_too_large") => 0x4_0000,
        Some("bad_response") => 0x80_0000,
        _ => 0,
    }
}

fn of_upstream(place: &Place, rest: &[&str]) -> Option<Vec<u8>> {
    match rest {
        ["local_address"] => Some(text(&place.upstream_local?.to_string())),
        ["request_attempt_count"] => (place.attempts > 0).then(|| number(place.attempts.into())),
        _ => address(place.endpoint, rest),
    }
}

/// The host's name, as it was when the process asked first.
fn node_id() -> &'static str {
    static NODE: OnceLock<String> = OnceLock::new();
    NODE.get_or_init(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        if name.trim().is_empty() { CLUSTER.to_owned() } else { name.trim().to_owned() }
    })
}

/// Envoy's `Node` as a message of Protocol Buffers: the id (1) and the cluster (2).
fn node() -> Vec<u8> {
    let mut message = Vec::new();
    for (tag, text) in [(0x0a, node_id()), (0x12, CLUSTER)] {
        // Names of hosts have at most 64 bytes.
        message.extend([tag, text.len().min(127) as u8]);
        message.extend(&text.as_bytes()[..text.len().min(127)]);
    }
    message
}

/// What Envoy calls a group of proxies that do the same.
const CLUSTER: &str = "sallyport";

fn of_xds(place: &Place, rest: &[&str]) -> Option<Vec<u8>> {
    match rest {
        ["node"] => Some(node()),
        ["node", "id"] => Some(text(node_id())),
        ["node", "cluster"] => Some(text(CLUSTER)),
        ["listener_direction"] => Some(number(INBOUND)),
        ["route_name"] => Some(text(&place.route)),
        ["virtual_host_name"] => Some(text(&place.virtual_host)),
        ["cluster_name"] => (!place.upstream.is_empty()).then(|| text(&place.upstream)),
        ["listener_name"] => Some(text(&place.listener)),
        _ => None,
    }
}

fn of_connection(place: &Place, rest: &[&str]) -> Option<Vec<u8>> {
    match rest {
        ["id"] => Some(number(connection_id(place))),
        // Listeners take plain HTTP.
        ["mtls"] => place.peer.map(|_| vec![0]),
        _ => None,
    }
}

/// A number that no other open connection of the client's has: made of its ends and its beginning.
fn connection_id(place: &Place) -> u64 {
    let mut hasher = DefaultHasher::new();
    (place.peer, place.local, place.connected).hash(&mut hasher);
    hasher.finish()
}

fn of_sallyport(scene: &Scene, rest: &[&str]) -> Option<Vec<u8>> {
    let place = &scene.place;
    let hints = place.hints.as_ref();
    let some = |name: &str| (!name.is_empty()).then(|| text(name));
    match rest {
        ["listener"] => Some(text(&place.listener)),
        ["virtual_host"] => Some(text(&place.virtual_host)),
        ["route"] => Some(text(&place.route)),
        ["upstream"] => some(&place.upstream),
        ["endpoint"] => scene.marks.endpoint.or(place.endpoint).map(|at| text(&at.to_string())),
        ["client"] => place.client.map(|at| text(&at.ip().to_string())),
        ["peer"] => place.peer.map(|at| text(&at.to_string())),
        ["peer_trusted"] => Some(vec![place.peer_trusted.into()]),
        ["client_path"] => Some(text(scene.marks.client_path.as_deref().unwrap_or(scene.path()))),
        ["cause"] => place.ended.as_ref()?.cause.as_deref().map(text),
        ["hint", "network"] => hints?.network.as_deref().map(text),
        ["hint", "zone"] => hints?.zone.as_deref().map(text),
        ["hint", "protocol"] => hints?.protocol.map(text),
        ["hint", "screens"] => Some(text(&hints?.screens.join(","))),
        ["hint", "syn_rate"] => Some(number(hints?.syn_rate.into())),
        _ => None,
    }
}

/// Sets a property of the request on stage.
///
/// # Errors
/// [`Status::NotFound`] without one, [`Status::BadArgument`] for what may not be set or is too long,
/// [`Status::Internal`] if there are too many.
pub(super) fn set(state: &mut State, path: &[u8], value: &[u8]) -> Result<(), Status> {
    let parts = parts(path).ok_or(Status::BadArgument)?;
    let text = std::str::from_utf8(value).ok();
    let scene = state.on_stage()?;
    match parts.as_slice() {
        ["sallyport", "endpoint"] => {
            let endpoint = text.and_then(|text| text.parse().ok());
            scene.marks.endpoint = Some(endpoint.ok_or(Status::BadArgument)?);
            Ok(())
        }
        ["sallyport", "verdict"] => {
            let lasting = text.and_then(sallyport_config::units::duration);
            let lasting = lasting.ok_or(Status::BadArgument)?;
            scene.marks.verdict = Some(VerdictAsked { lasting });
            Ok(())
        }
        ["sallyport", ..] => Err(Status::BadArgument),
        _ => keep(scene, parts.join("\0").as_bytes(), value),
    }
}

fn keep(scene: &mut Scene, path: &[u8], value: &[u8]) -> Result<(), Status> {
    if path.len() > BYTES_MAX || value.len() > BYTES_MAX {
        return Err(Status::BadArgument);
    }
    let properties = &mut scene.marks.properties;
    if let Some((_, kept)) = properties.iter_mut().find(|(name, _)| **name == *path) {
        *kept = value.into();
    } else if properties.len() < PROPERTIES_MAX {
        properties.push((path.into(), value.into()));
    } else {
        return Err(Status::Internal);
    }
    Ok(())
}

fn address(address: Option<std::net::SocketAddr>, rest: &[&str]) -> Option<Vec<u8>> {
    match rest {
        ["address"] => Some(text(&address?.to_string())),
        ["port"] => Some(number(address?.port().into())),
        _ => None,
    }
}

fn map(scene: &Scene, message: Message) -> Vec<u8> {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    scene.each(message, |key, value| pairs.push((key.to_vec(), value.to_vec())));
    let pairs: Vec<_> = pairs.iter().map(|(key, value)| (&**key, &**value)).collect();
    maps::write(&pairs)
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

fn text(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn number(number: u64) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

fn nanoseconds(time: std::time::Duration) -> Vec<u8> {
    number(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// When something that began at `at` did so, in nanoseconds since 1970.
fn started(at: Instant) -> u64 {
    let began = SystemTime::now().checked_sub(at.elapsed()).unwrap_or(UNIX_EPOCH);
    let since = began.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{Place, connection_id};

    #[test]
    fn every_connection_has_a_number_of_its_own() {
        let mut place = Place { peer: Some(([127, 0, 0, 1], 1).into()), ..Place::default() };
        let first = connection_id(&place);
        assert_eq!(connection_id(&place), first);
        place.connected = Some(UNIX_EPOCH + Duration::from_secs(1));
        let later = connection_id(&place);
        place.peer = Some(([127, 0, 0, 1], 2).into());
        assert!(first != later && later != connection_id(&place));
    }
}
