//! Follows the objects of a cluster: lists them, watches from there, and lists anew where that is
//! lost.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt as _;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use sallyport_config::spec::Kubernetes;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use crate::objects::{
    BackendTlsPolicy, ConfigMap, EndpointSlice, ExtensionFilter, ExtensionPolicy, Gateway,
    GatewayClass, Grpc, Http, Ingress, IngressClass, Key, Kind, Namespace, Object, ReferenceGrant,
    Secret, Service, Tls, TlsAlpha,
};
use crate::store::{Held, Objects, Touched};

/// Objects that one answer of a list holds at most: it bounds what is in memory while they are
/// read.
const PAGE: u32 = 500;

/// How long a watch that failed is silent before the API server is asked whether it answers again.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// How long an answer to that may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// One namespace's objects of one kind, and the version that is asked for.
pub(crate) type Watched = (&'static str, Option<String>, &'static str);

/// Puts what was seen into the store, and says what of it that touches.
pub(crate) type Change = Box<dyn FnOnce(&mut Objects) -> Vec<Touched> + Send>;

/// What a watch has to say.
pub(crate) enum Update {
    /// That something has changed.
    Changed(Change),
    /// That all is known, or that there is nothing to know.
    Synced(Watched),
    /// That it is in touch.
    InTouch(Watched),
    /// That it is not, and why.
    Failed(Watched, String),
}

/// The kinds that are read, each by how many watches.
pub(crate) fn start(
    client: &Client,
    config: &Kubernetes,
    updates: &Sender<Update>,
) -> Vec<Watched> {
    let mut started = Vec::new();
    let mut start = Start { client, config, updates, started: &mut started };
    start.kind::<Service>();
    start.kind::<EndpointSlice>();
    start.kind::<Secret>();
    start.kind::<ConfigMap>();
    start.kind::<IngressClass>();
    start.kind::<Ingress>();
    start.kind::<Namespace>();
    start.kind::<GatewayClass>();
    start.kind::<Gateway>();
    start.kind::<Http>();
    start.kind::<Grpc>();
    start.kind::<Tls>();
    start.kind::<TlsAlpha>();
    start.kind::<ExtensionFilter>();
    start.kind::<ExtensionPolicy>();
    start.kind::<ReferenceGrant>();
    start.kind::<BackendTlsPolicy>();
    started
}

struct Start<'s> {
    client: &'s Client,
    config: &'s Kubernetes,
    updates: &'s Sender<Update>,
    started: &'s mut Vec<Watched>,
}

impl Start<'_> {
    fn kind<T: Held>(&mut self) {
        let resource = resource::<T>();
        match self.config.namespaces.as_ref().filter(|_| T::NAMESPACED) {
            None => self.watch::<T>(Api::all_with(self.client.clone(), &resource), None),
            Some(namespaces) => {
                for namespace in namespaces {
                    let api = Api::namespaced_with(self.client.clone(), namespace, &resource);
                    self.watch::<T>(api, Some(namespace.to_string()));
                }
            }
        }
    }

    fn watch<T: Held>(&mut self, api: Api<DynamicObject>, namespace: Option<String>) {
        let watched = (T::KIND, namespace, T::VERSION);
        self.started.push(watched.clone());
        tokio::spawn(follow::<T>(api, watched, self.updates.clone()));
    }
}

/// How the API names a kind.
pub(crate) fn resource<T: Kind>() -> ApiResource {
    let kind = GroupVersionKind::gvk(T::GROUP, T::VERSION, T::KIND);
    ApiResource::from_gvk_with_plural(&kind, T::PLURAL)
}

async fn follow<T: Held>(api: Api<DynamicObject>, watched: Watched, updates: Sender<Update>) {
    let config = watcher::Config::default().page_size(PAGE);
    let config = match T::FIELDS {
        Some(fields) => config.fields(fields),
        None => config,
    };
    let mut events = Box::pin(watch(api.clone(), config).default_backoff());
    let (mut listed, mut is_failing) = (BTreeSet::new(), false);
    loop {
        // A watch that was taken up again says nothing before something changes: it is asked for.
        let event = match is_failing {
            true => timeout(ASK_AGAIN, events.next()).await,
            false => Ok(events.next().await),
        };
        let Ok(event) = event else {
            if answers(&api).await {
                is_failing = false;
                if updates.send(Update::InTouch(watched.clone())).await.is_err() {
                    return;
                }
            }
            continue;
        };
        let update = match event {
            None => return,
            Some(Err(error)) if T::OPTIONAL && is_absent(&error) => {
                Some(Update::Synced(watched.clone()))
            }
            Some(Err(error)) => {
                is_failing = true;
                Some(Update::Failed(watched.clone(), told(&error)))
            }
            Some(Ok(event)) => {
                let is_done = matches!(event, Event::InitDone);
                let change = take::<T>(event, &watched, &mut listed);
                if let Some(change) = change
                    && updates.send(change).await.is_err()
                {
                    return;
                }
                is_done.then(|| Update::Synced(watched.clone()))
            }
        };
        if let Some(update) = update {
            is_failing &= !matches!(update, Update::Synced(_));
            if updates.send(update).await.is_err() {
                return;
            }
        }
    }
}

/// Whether the API server answers for a kind at all.
async fn answers(api: &Api<DynamicObject>) -> bool {
    let one = ListParams::default().limit(1);
    matches!(timeout(ANSWERED_WITHIN, api.list(&one)).await, Ok(Ok(_)))
}

fn take<T: Held>(
    event: Event<DynamicObject>,
    (_, namespace, _): &Watched,
    listed: &mut BTreeSet<Key>,
) -> Option<Update> {
    let apply = |object: DynamicObject| -> Update {
        let key = Key::of(&object);
        match Object::<T>::read(object) {
            Ok(object) => Update::Changed(Box::new(move |objects| vec![objects.apply(object)])),
            Err(why) => {
                Update::Changed(Box::new(move |objects| vec![objects.refuse::<T>(key, why)]))
            }
        }
    };
    match event {
        Event::Init => {
            listed.clear();
            None
        }
        Event::InitApply(object) => {
            listed.insert(Key::of(&object));
            Some(apply(object))
        }
        Event::InitDone => {
            let (listed, namespace) = (std::mem::take(listed), namespace.clone());
            Some(Update::Changed(Box::new(move |objects| {
                let is_gone = |key: &&Key| {
                    let is_ours = namespace.as_ref().is_none_or(|of| **of == *key.namespace);
                    is_ours && !listed.contains(*key)
                };
                let gone: Vec<_> = T::table(objects).keys().filter(is_gone).cloned().collect();
                gone.iter().map(|key| objects.delete::<T>(key)).collect()
            })))
        }
        Event::Apply(object) => Some(apply(object)),
        Event::Delete(object) => {
            let key = Key::of(&object);
            Some(Update::Changed(Box::new(move |objects| vec![objects.delete::<T>(&key)])))
        }
    }
}

/// Whether a cluster has no such kind, or nothing of it for this gateway.
fn is_absent(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status)) => status.code == 404 || status.code == 403,
        _ => false,
    }
}

/// An error with its causes, in one line.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text.replace('\n', " ").chars().take(500).collect()
}

/// The wait before connecting is tried again.
pub(crate) const RECONNECT: Duration = Duration::from_secs(2);
