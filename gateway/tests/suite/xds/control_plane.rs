//! A control plane in this process: ADS in both variants, resources from YAML, and a record of what
//! it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use envoy_types::pb::google::protobuf::Any;
use futures::{Stream, StreamExt as _};
use prost::Message as _;
use sallyport_xds::ResourceKind;
use tokio::sync::{mpsc, watch};
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use crate::support::eventually;

/// The prefix of the types of messages.
const TYPES: &str = "type.googleapis.com/";

/// Resources by type and name, each with its version.
type World = BTreeMap<String, BTreeMap<String, (u64, Vec<u8>)>>;

/// What a gateway said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) type_url: String,
    pub(crate) nonce: String,
    pub(crate) error: Option<String>,
    pub(crate) node: Option<String>,
    pub(crate) names: Vec<String>,
    pub(crate) known: BTreeMap<String, String>,
}

impl Told {
    /// Whether it answers a response.
    pub(crate) fn is_answer(&self) -> bool {
        !self.nonce.is_empty()
    }

    fn is_of(&self, kind: ResourceKind) -> bool {
        self.type_url == type_url(kind)
    }
}

#[derive(Clone)]
struct Shared {
    world: watch::Sender<World>,
    told: Arc<Mutex<Vec<Told>>>,
    version: Arc<Mutex<u64>>,
}

/// A control plane; what it has outlives its server.
pub(crate) struct ControlPlane {
    pub(crate) address: SocketAddr,
    shared: Shared,
    runtime: Option<tokio::runtime::Runtime>,
    tls: Option<ServerTlsConfig>,
}

fn type_url(kind: ResourceKind) -> String {
    format!("{TYPES}{}", kind.type_name())
}

impl ControlPlane {
    /// Serves on a port of its own.
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    pub(crate) fn start_with(tls: Option<ServerTlsConfig>) -> Self {
        let shared = Shared {
            world: watch::Sender::new(World::new()),
            told: Arc::default(),
            version: Arc::default(),
        };
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut plane = Self { address, shared, runtime: None, tls };
        plane.serve(socket);
        plane
    }

    fn serve(&mut self, socket: std::net::TcpListener) {
        socket.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let service = AggregatedDiscoveryServiceServer::new(self.shared.clone());
        let tls = self.tls.clone();
        runtime.spawn(async move {
            let socket = tokio::net::TcpListener::from_std(socket).unwrap();
            let incoming = futures::stream::unfold(socket, |socket| async move {
                let accepted = socket.accept().await.map(|(stream, _)| stream);
                Some((accepted, socket))
            });
            let mut server = Server::builder();
            if let Some(tls) = tls {
                server = server.tls_config(tls).unwrap();
            }
            server.add_service(service).serve_with_incoming(incoming).await.ok();
        });
        self.runtime = Some(runtime);
    }

    /// Ends all streams and closes the port.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Serves again, at the same address.
    pub(crate) fn come_back(&mut self) {
        let address = self.address;
        let socket = eventually("the port is free again", || {
            let socket =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).ok()?;
            socket.set_reuse_address(true).ok()?;
            socket.bind(&address.into()).ok()?;
            socket.listen(128).ok()?;
            Some(std::net::TcpListener::from(socket))
        });
        self.serve(socket);
    }

    /// Sets the resources of a dump, which it takes as one change.
    pub(crate) fn set(&self, yaml: &str) {
        let mut problems = Vec::new();
        let tree = sallyport_config::parse(0, yaml, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        let file = sallyport_xds::file::read(&tree.expect("it is YAML")).expect("it is a dump");
        let version = self.next_version();
        self.shared.world.send_modify(|world| {
            for kind in ResourceKind::ALL {
                for (name, resource) in file.resources.of(kind) {
                    let of_kind = world.entry(type_url(kind)).or_default();
                    of_kind.insert(name.to_owned(), (version, resource.message.encode_to_vec()));
                }
            }
        });
    }

    /// Sets a resource to these bytes.
    pub(crate) fn set_bytes(&self, kind: ResourceKind, name: &str, bytes: &[u8]) {
        let version = self.next_version();
        self.shared.world.send_modify(|world| {
            let of_kind = world.entry(type_url(kind)).or_default();
            of_kind.insert(name.to_owned(), (version, bytes.to_vec()));
        });
    }

    pub(crate) fn remove(&self, kind: ResourceKind, name: &str) {
        self.next_version();
        self.shared.world.send_modify(|world| {
            world.entry(type_url(kind)).or_default().remove(name);
        });
    }

    fn next_version(&self) -> u64 {
        let mut version = self.shared.version.lock().unwrap();
        *version += 1;
        *version
    }

    /// What gateways said of a kind, in order.
    pub(crate) fn told(&self, kind: ResourceKind) -> Vec<Told> {
        let told = self.shared.told.lock().unwrap();
        told.iter().filter(|told| told.is_of(kind)).cloned().collect()
    }

    /// The rejections of a kind, in order.
    pub(crate) fn rejections(&self, kind: ResourceKind) -> Vec<String> {
        self.told(kind).into_iter().filter_map(|told| told.error).collect()
    }

    /// Waits until a gateway has acknowledged `count` responses of a kind.
    pub(crate) fn acknowledged(&self, kind: ResourceKind, count: usize) {
        eventually("the responses are acknowledged", || {
            let told = self.told(kind);
            let acks = told.iter().filter(|told| told.is_answer() && told.error.is_none());
            (acks.count() >= count).then_some(())
        });
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What one stream has said of one type.
#[derive(Default)]
struct Topic {
    is_wild: bool,
    names: BTreeSet<String>,
    /// By name, the version that was sent.
    sent: BTreeMap<String, u64>,
    /// The nonce that an answer is due to.
    due: Option<String>,
    was_sent: bool,
}

impl Topic {
    fn wants(&self, name: &str) -> bool {
        self.is_wild || self.names.contains(name)
    }
}

fn is_listed(type_url: &str) -> bool {
    [ResourceKind::Cluster, ResourceKind::Listener]
        .iter()
        .any(|kind| type_url == self::type_url(*kind))
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn streamed<T: Send + 'static>(receiver: mpsc::Receiver<Result<T, Status>>) -> Answers<T> {
    futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|item| (item, receiver))
    })
    .boxed()
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Shared {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let (sender, receiver) = mpsc::channel(16);
        let (shared, mut requests) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            let mut world = shared.world.subscribe();
            let mut topics: BTreeMap<String, Topic> = BTreeMap::new();
            let mut nonce = 0_u64;
            loop {
                tokio::select! {
                    request = requests.next() => {
                        let Some(Ok(request)) = request else { return };
                        shared.told.lock().unwrap().push(Told {
                            type_url: request.type_url.clone(),
                            nonce: request.response_nonce.clone(),
                            error: request.error_detail.map(|error| error.message),
                            node: request.node.map(|node| node.id),
                            names: request.resource_names.clone(),
                            known: BTreeMap::new(),
                        });
                        let topic = topics.entry(request.type_url.clone()).or_default();
                        topic.is_wild = is_listed(&request.type_url);
                        let names = request.resource_names.into_iter().collect();
                        if topic.names != names {
                            topic.names = names;
                            topic.was_sent = false;
                        }
                        if topic.due.as_ref() == Some(&request.response_nonce) {
                            topic.due = None;
                        }
                    }
                    changed = world.changed() => if changed.is_err() { return },
                }
                let now = world.borrow_and_update().clone();
                for (type_url, topic) in &mut topics {
                    let all = now.get(type_url).cloned().unwrap_or_default();
                    let wanted: BTreeMap<_, _> =
                        all.into_iter().filter(|(name, _)| topic.wants(name)).collect();
                    let versions: BTreeMap<_, _> = wanted
                        .iter()
                        .map(|(name, (version, _))| (name.clone(), *version))
                        .collect();
                    let is_due = !topic.was_sent || versions != topic.sent;
                    if topic.due.is_some() || !is_due || (wanted.is_empty() && !topic.is_wild) {
                        continue;
                    }
                    nonce += 1;
                    topic.sent = versions;
                    topic.was_sent = true;
                    topic.due = Some(nonce.to_string());
                    let any = |(_, (_, value)): (String, (u64, Vec<u8>))| Any {
                        type_url: type_url.clone(),
                        value,
                    };
                    let response = DiscoveryResponse {
                        version_info: nonce.to_string(),
                        resources: wanted.into_iter().map(any).collect(),
                        type_url: type_url.clone(),
                        nonce: nonce.to_string(),
                        ..DiscoveryResponse::default()
                    };
                    if sender.send(Ok(response)).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(streamed(receiver)))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (sender, receiver) = mpsc::channel(16);
        let (shared, mut requests) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            let mut world = shared.world.subscribe();
            let mut topics: BTreeMap<String, Topic> = BTreeMap::new();
            let mut nonce = 0_u64;
            loop {
                tokio::select! {
                    request = requests.next() => {
                        let Some(Ok(request)) = request else { return };
                        shared.told.lock().unwrap().push(Told {
                            type_url: request.type_url.clone(),
                            nonce: request.response_nonce.clone(),
                            error: request.error_detail.map(|error| error.message),
                            node: request.node.map(|node| node.id),
                            names: request.resource_names_subscribe.clone(),
                            known: request.initial_resource_versions.clone().into_iter().collect(),
                        });
                        let topic = topics.entry(request.type_url.clone()).or_default();
                        topic.is_wild = is_listed(&request.type_url);
                        topic.names.extend(request.resource_names_subscribe);
                        for name in request.resource_names_unsubscribe {
                            topic.names.remove(&name);
                            topic.sent.remove(&name);
                        }
                        for (name, version) in request.initial_resource_versions {
                            topic.sent.insert(name, version.parse().unwrap_or(0));
                        }
                        if topic.due.as_ref() == Some(&request.response_nonce) {
                            topic.due = None;
                        }
                    }
                    changed = world.changed() => if changed.is_err() { return },
                }
                let now = world.borrow_and_update().clone();
                for (type_url, topic) in &mut topics {
                    if topic.due.is_some() {
                        continue;
                    }
                    let none = BTreeMap::new();
                    let all = now.get(type_url).unwrap_or(&none);
                    let removed: Vec<_> = topic
                        .sent
                        .keys()
                        .filter(|name| !all.contains_key(*name))
                        .cloned()
                        .collect();
                    let fresh: Vec<_> = all
                        .iter()
                        .filter(|(name, (version, _))| {
                            topic.wants(name) && topic.sent.get(*name) != Some(version)
                        })
                        .collect();
                    if fresh.is_empty() && removed.is_empty() && (topic.was_sent || !topic.is_wild)
                    {
                        continue;
                    }
                    nonce += 1;
                    topic.was_sent = true;
                    topic.due = Some(nonce.to_string());
                    let resources = fresh.iter().map(|(name, (version, value))| Resource {
                        name: (*name).clone(),
                        version: version.to_string(),
                        resource: Some(Any { type_url: type_url.clone(), value: value.clone() }),
                        ..Resource::default()
                    });
                    let response = DeltaDiscoveryResponse {
                        system_version_info: nonce.to_string(),
                        resources: resources.collect(),
                        type_url: type_url.clone(),
                        removed_resources: removed.clone(),
                        nonce: nonce.to_string(),
                        ..DeltaDiscoveryResponse::default()
                    };
                    topic.sent.extend(
                        fresh.iter().map(|(name, (version, _))| ((*name).clone(), *version)),
                    );
                    topic.sent.retain(|name, _| !removed.contains(name));
                    if sender.send(Ok(response)).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(streamed(receiver)))
    }
}
