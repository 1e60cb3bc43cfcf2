//! An API server as far as the gateway speaks to one: list, watch with bookmarks and 410, get,
//! create, replace, and the patch of a status with its conflicts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Group and version, kind, and its name in paths.
const KINDS: [(&str, &str, &str); 19] = [
    ("v1", "Service", "services"),
    ("v1", "Secret", "secrets"),
    ("v1", "ConfigMap", "configmaps"),
    ("v1", "Namespace", "namespaces"),
    ("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
    ("networking.k8s.io/v1", "Ingress", "ingresses"),
    ("networking.k8s.io/v1", "IngressClass", "ingressclasses"),
    ("coordination.k8s.io/v1", "Lease", "leases"),
    ("events.k8s.io/v1", "Event", "events"),
    ("gateway.networking.k8s.io/v1", "GatewayClass", "gatewayclasses"),
    ("gateway.networking.k8s.io/v1", "Gateway", "gateways"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes"),
    ("gateway.networking.k8s.io/v1", "GRPCRoute", "grpcroutes"),
    ("gateway.networking.k8s.io/v1", "TLSRoute", "tlsroutes"),
    ("gateway.networking.k8s.io/v1alpha2", "TLSRoute", "tlsroutes"),
    ("sallyport.dev/v1alpha1", "SallyportFilter", "sallyportfilters"),
    ("sallyport.dev/v1alpha1", "SallyportPolicy", "sallyportpolicies"),
    ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", "referencegrants"),
    ("gateway.networking.k8s.io/v1", "BackendTLSPolicy", "backendtlspolicies"),
];

/// Plural, namespace, name.
type Key = (String, String, String);

#[derive(Default)]
struct Cluster {
    version: u64,
    objects: BTreeMap<Key, Value>,
    /// Every change: its version, what it was, and the object.
    log: Vec<(u64, &'static str, String, Value)>,
    /// Changes up to this one are forgotten.
    compacted: u64,
    /// Kinds that may not be read.
    forbidden: BTreeSet<&'static str>,
    /// Kinds that there are not, by group and version and name in paths.
    absent: BTreeSet<(&'static str, &'static str)>,
    /// Status patches that are answered with 409.
    conflicts: usize,
    lists: BTreeMap<String, usize>,
}

struct Shared {
    cluster: Mutex<Cluster>,
    changed: watch::Sender<u64>,
    /// Counts up when all watches are to end.
    ended: watch::Sender<u64>,
}

/// A running API server; ended with this value.
pub(super) struct ApiServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl ApiServer {
    pub(super) fn start() -> Self {
        let shared = Arc::new(Shared {
            cluster: Mutex::new(Cluster { version: 1, ..Cluster::default() }),
            changed: watch::Sender::new(1),
            ended: watch::Sender::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = Self { address, shared, runtime: None };
        server.serve(listener);
        server
    }

    fn serve(&mut self, listener: TcpListener) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        listener.set_nonblocking(true).unwrap();
        let router = Router::new().fallback(answer).with_state(self.shared.clone());
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
        self.runtime = Some(runtime);
    }

    /// Ends the server and all its connections; what it holds stays.
    pub(super) fn stop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    /// Serves again, at the same address.
    pub(super) fn restart(&mut self) {
        let listener = crate::support::eventually("the address to be free", || {
            TcpListener::bind(self.address).ok()
        });
        self.serve(listener);
    }

    pub(super) fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [ {{ name: test, cluster: {{ server: \"http://{}\" }} }} ]\n\
             users: [ {{ name: test, user: {{}} }} ]\n\
             contexts: [ {{ name: test, context: {{ cluster: test, user: test, namespace: system }} }} ]\n",
            self.address
        )
    }

    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.shared.cluster.lock().unwrap()
    }

    /// Makes an object or replaces what it says; its status stays.
    pub(super) fn apply(&self, mut object: Value) {
        let key = key_of(&object);
        let mut cluster = self.cluster();
        let before = cluster.objects.get(&key).cloned();
        let is_new = before.is_none();
        let before = before.unwrap_or_default();
        if object.get("status").is_none() && before.get("status").is_some() {
            object["status"] = before["status"].clone();
        }
        let generation = before["metadata"]["generation"].as_u64().unwrap_or(0);
        let is_edit = before["spec"] != object["spec"];
        object["metadata"]["generation"] = (generation + u64::from(is_edit)).into();
        if object["metadata"].get("creationTimestamp").is_none() {
            let known = before["metadata"]["creationTimestamp"].as_str();
            let made = known.unwrap_or("2026-01-01T00:00:00Z");
            object["metadata"]["creationTimestamp"] = made.into();
        }
        cluster.change(key, if is_new { "ADDED" } else { "MODIFIED" }, object);
        self.shared.changed.send_replace(cluster.version);
    }

    pub(super) fn delete(&self, kind: &str, namespace: &str, name: &str) {
        let key = (plural(kind).to_owned(), namespace.to_owned(), name.to_owned());
        let mut cluster = self.cluster();
        let Some(object) = cluster.objects.get(&key).cloned() else { return };
        cluster.change(key, "DELETED", object);
        self.shared.changed.send_replace(cluster.version);
    }

    pub(super) fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (plural(kind).to_owned(), namespace.to_owned(), name.to_owned());
        self.cluster().objects.get(&key).cloned()
    }

    /// All objects of a kind.
    pub(super) fn all(&self, kind: &str) -> Vec<Value> {
        let of = plural(kind);
        let cluster = self.cluster();
        let objects = cluster.objects.iter().filter(|((plural, ..), _)| plural == of);
        objects.map(|(_, object)| object.clone()).collect()
    }

    /// Forgets all changes so far and ends all watches: whoever watches has to list anew.
    pub(super) fn compact(&self) {
        let mut cluster = self.cluster();
        cluster.version += 1;
        cluster.compacted = cluster.version;
        cluster.log.clear();
        drop(cluster);
        self.end_watches();
    }

    /// Ends all watches, as a server does from time to time.
    pub(super) fn end_watches(&self) {
        self.shared.ended.send_modify(|ended| *ended += 1);
    }

    /// Takes the right to read a kind away, or gives it back.
    pub(super) fn forbid(&self, kind: &str, is_forbidden: bool) {
        let plural = plural(kind);
        match is_forbidden {
            true => self.cluster().forbidden.insert(plural),
            false => self.cluster().forbidden.remove(plural),
        };
        self.end_watches();
    }

    /// Has no kinds of the Gateway API.
    pub(super) fn without_gateway_api(self) -> Self {
        let of_gateway = KINDS.iter().filter(|(group, ..)| group.starts_with("gateway."));
        self.cluster().absent.extend(of_gateway.map(|(group, _, plural)| (*group, *plural)));
        self
    }

    /// Has TLSRoutes in their first version only.
    pub(super) fn with_alpha_tls_routes(self) -> Self {
        self.cluster().absent.insert(("gateway.networking.k8s.io/v1", "tlsroutes"));
        self
    }

    /// Answers this many patches of a status with 409.
    pub(super) fn conflict(&self, count: usize) {
        self.cluster().conflicts = count;
    }

    pub(super) fn conflicts_left(&self) -> usize {
        self.cluster().conflicts
    }

    /// How often a kind was listed.
    pub(super) fn lists(&self, kind: &str) -> usize {
        self.cluster().lists.get(plural(kind)).copied().unwrap_or(0)
    }
}

impl Cluster {
    fn change(&mut self, key: Key, what: &'static str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        match what {
            "DELETED" => drop(self.objects.remove(&key)),
            _ => drop(self.objects.insert(key.clone(), object.clone())),
        }
        self.log.push((self.version, what, key.0, object));
    }
}

fn plural(kind: &str) -> &'static str {
    KINDS.iter().find(|(_, known, _)| *known == kind).expect("a known kind").2
}

fn key_of(object: &Value) -> Key {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    let plural = plural(object["kind"].as_str().unwrap()).to_owned();
    (plural, text(&metadata["namespace"]), text(&metadata["name"]))
}

/// A path in its parts: plural, namespace, name, subresource.
struct Target {
    group: &'static str,
    plural: &'static str,
    namespace: Option<String>,
    name: Option<String>,
    is_status: bool,
}

fn target(path: &str) -> Option<Target> {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let group: Vec<&str> = match parts.first()? {
        &"api" => parts.drain(..2).skip(1).collect(),
        _ => parts.drain(..3).skip(1).collect(),
    };
    let group = group.join("/");
    let namespace = match parts.first() {
        Some(&"namespaces") if parts.len() > 2 => parts.drain(..2).nth(1).map(str::to_owned),
        _ => None,
    };
    let known =
        KINDS.iter().find(|(of, _, plural)| *of == group && parts.first() == Some(plural))?;
    let name = parts.get(1).map(|name| (*name).to_owned());
    let is_status = parts.get(2) == Some(&"status");
    Some(Target { group: known.0, plural: known.2, namespace, name, is_status })
}

fn refused(code: u16, reason: &str) -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": code, "reason": reason, "message": reason, "metadata": {},
    });
    (StatusCode::from_u16(code).unwrap(), axum::Json(status)).into_response()
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    let Some(target) = target(uri.path()) else { return refused(404, "NotFound") };
    {
        let cluster = shared.cluster.lock().unwrap();
        if cluster.absent.contains(&(target.group, target.plural)) {
            return refused(404, "NotFound");
        }
        if cluster.forbidden.contains(target.plural) {
            return refused(403, "Forbidden");
        }
    }
    let query = uri.query().unwrap_or_default().to_owned();
    let asked = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    };
    match (method.as_str(), &target.name) {
        ("GET", None) if asked("watch").is_some_and(|watch| watch != "false") => {
            let since = asked("resourceVersion").and_then(|it| it.parse().ok()).unwrap_or(0);
            watch(&shared, target, since)
        }
        ("GET", None) => list(&shared, &target),
        ("GET", Some(_)) => {
            let cluster = shared.cluster.lock().unwrap();
            match cluster.objects.get(&key(&target)) {
                Some(object) => axum::Json(object.clone()).into_response(),
                None => refused(404, "NotFound"),
            }
        }
        (_, _) => write(&shared, &target, &body),
    }
}

fn key(target: &Target) -> Key {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    (target.plural.to_owned(), text(&target.namespace), text(&target.name))
}

fn list(shared: &Shared, target: &Target) -> Response {
    let mut cluster = shared.cluster.lock().unwrap();
    *cluster.lists.entry(target.plural.to_owned()).or_default() += 1;
    let items = cluster.objects.iter().filter(|((plural, namespace, _), _)| {
        plural == target.plural && target.namespace.as_ref().is_none_or(|of| of == namespace)
    });
    let items: Vec<_> = items.map(|(_, object)| object.clone()).collect();
    let version = cluster.version.to_string();
    let list = json!({
        "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": version }, "items": items,
    });
    axum::Json(list).into_response()
}

/// A stream of changes from `since` on, with a bookmark every now and then.
fn watch(shared: &Arc<Shared>, target: Target, since: u64) -> Response {
    let changed = shared.changed.subscribe();
    let ended = shared.ended.subscribe();
    let first = (shared.clone(), target, since, changed, ended);
    let stream = futures::stream::unfold(
        first,
        |(shared, target, mut since, mut changed, mut ended)| async move {
            loop {
                changed.borrow_and_update();
                let (lines, is_expired) = {
                    let cluster = shared.cluster.lock().unwrap();
                    let lines = changes(&cluster, &target, since);
                    (lines, since < cluster.compacted)
                };
                if is_expired && since != u64::MAX {
                    let status = json!({
                        "type": "ERROR",
                        "object": { "kind": "Status", "apiVersion": "v1", "status": "Failure",
                            "code": 410, "reason": "Expired", "message": "too old resource version",
                            "metadata": {} },
                    });
                    let text = format!("{status}\n");
                    return Some((
                        Ok::<_, std::io::Error>(text),
                        (shared, target, u64::MAX, changed, ended),
                    ));
                }
                if since == u64::MAX {
                    return None;
                }
                if let Some((text, last)) = lines {
                    since = last;
                    return Some((Ok(text), (shared, target, since, changed, ended)));
                }
                tokio::select! {
                    changed = changed.changed() => changed.ok()?,
                    _ = ended.changed() => return None,
                    () = tokio::time::sleep(Duration::from_millis(500)) => {
                        let version = shared.cluster.lock().unwrap().version;
                        let (group, kind, _) =
                            KINDS.iter().find(|(.., plural)| *plural == target.plural).unwrap();
                        let bookmark = json!({
                            "type": "BOOKMARK",
                            "object": { "apiVersion": group, "kind": kind,
                                "metadata": { "resourceVersion": version.to_string() } },
                        });
                        let text = format!("{bookmark}\n");
                        return Some((Ok(text), (shared, target, since.max(version), changed, ended)));
                    }
                }
            }
        },
    );
    ([("content-type", "application/json")], Body::from_stream(stream)).into_response()
}

/// What changed since a version, and the last version of it.
fn changes(cluster: &Cluster, target: &Target, since: u64) -> Option<(String, u64)> {
    let of_target = cluster.log.iter().filter(|(version, _, plural, object)| {
        let namespace = object["metadata"]["namespace"].as_str();
        *version > since
            && plural == target.plural
            && target.namespace.as_ref().is_none_or(|of| Some(&**of) == namespace)
    });
    let mut last = None;
    let mut text = String::new();
    for (version, what, _, object) in of_target {
        text.push_str(&json!({ "type": what, "object": object }).to_string());
        text.push('\n');
        last = Some(*version);
    }
    last.map(|last| (text, last))
}

fn write(shared: &Shared, target: &Target, body: &[u8]) -> Response {
    let Ok(written) = serde_json::from_slice::<Value>(body) else {
        return refused(400, "BadRequest");
    };
    let mut cluster = shared.cluster.lock().unwrap();
    let name = written["metadata"]["name"].as_str().map(str::to_owned);
    let name = target.name.clone().or(name);
    let key = (
        target.plural.to_owned(),
        target.namespace.clone().unwrap_or_default(),
        name.unwrap_or_default(),
    );
    let known = cluster.objects.get(&key).cloned();
    let version = &written["metadata"]["resourceVersion"];
    let is_stale = known.as_ref().is_some_and(|known| {
        !version.is_null() && known["metadata"]["resourceVersion"] != *version
    });
    if is_stale {
        return refused(409, "Conflict");
    }
    let object = match (target.is_status, known) {
        (true, None) => return refused(404, "NotFound"),
        (true, Some(mut known)) => {
            if cluster.conflicts > 0 {
                cluster.conflicts -= 1;
                return refused(409, "Conflict");
            }
            known["status"] = written["status"].clone();
            known
        }
        (false, known) => {
            if target.name.is_none() && known.is_some() {
                return refused(409, "AlreadyExists");
            }
            written
        }
    };
    cluster.change(key.clone(), "MODIFIED", object);
    shared.changed.send_replace(cluster.version);
    axum::Json(cluster.objects[&key].clone()).into_response()
}
