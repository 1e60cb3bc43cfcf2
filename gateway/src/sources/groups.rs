//! Endpoints that sources tell beside their fragments: they change often, and no table is compiled
//! for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sallyport_balance::Address;
use sallyport_config::spec;
use tokio::sync::watch;

use crate::config::{Endpoint, Location, Name};

/// What is known of a group: nothing before its source spoke of it.
type Content = Option<Arc<[Endpoint]>>;

/// All groups of all sources.
#[derive(Clone, Debug, Default)]
pub struct Groups(Arc<Mutex<HashMap<Key, watch::Sender<Content>>>>);

type Key = (&'static str, Arc<str>);

/// One upstream's view of a group.
#[derive(Debug)]
pub struct Group {
    name: Arc<str>,
    content: watch::Receiver<Content>,
}

impl Groups {
    /// Follows a group, whether its source has spoken of it or not.
    #[must_use]
    pub fn follow(&self, source: &'static str, name: &Arc<str>) -> Group {
        let mut groups = self.groups();
        let group =
            groups.entry((source, name.clone())).or_insert_with(|| watch::Sender::new(None));
        let mut content = group.subscribe();
        content.mark_changed();
        Group { name: name.clone(), content }
    }

    /// The endpoints of a group, once its source has spoken of it.
    #[must_use]
    pub fn known(&self, source: &'static str, name: &Arc<str>) -> Option<Arc<[Endpoint]>> {
        self.groups().get(&(source, name.clone()))?.borrow().clone()
    }

    /// Replaces the endpoints of a group. One that is gone has none for those who still follow it.
    pub(super) fn set(
        &self,
        source: &'static str,
        name: &str,
        endpoints: Option<Vec<spec::Endpoint>>,
    ) {
        let mut groups = self.groups();
        let key = (source, Arc::from(name));
        let Some(endpoints) = endpoints else {
            if let Some(group) = groups.get(&key) {
                group.send_replace(Some(Arc::default()));
                if group.receiver_count() == 0 {
                    groups.remove(&key);
                }
            }
            return;
        };
        let endpoints: Arc<[Endpoint]> = endpoints.iter().filter_map(endpoint).collect();
        let group = groups.entry(key).or_insert_with(|| watch::Sender::new(None));
        group.send_if_modified(|content| {
            let changes = content.as_ref() != Some(&endpoints);
            *content = Some(endpoints);
            changes
        });
    }

    /// Takes what an earlier process knew.
    pub(super) fn restore(&self, source: &'static str, groups: Vec<SavedGroup>) {
        for SavedGroup { name, endpoints } in groups {
            self.set(source, &name, Some(endpoints));
        }
    }

    /// All groups of one source, to be kept.
    pub(super) fn saved(&self, source: &'static str) -> Vec<SavedGroup> {
        let groups = self.groups();
        let of_source = groups.iter().filter(|((of, _), _)| *of == source);
        let saved = of_source.filter_map(|((_, name), group)| {
            let endpoints = group.borrow().clone()?;
            let endpoints = endpoints.iter().map(|endpoint| spec::Endpoint {
                address: endpoint.location.to_string().as_str().into(),
                weight: spec::scalar::Int(endpoint.weight.into()),
                priority: spec::scalar::Int(endpoint.priority.into()),
            });
            Some(SavedGroup { name: (**name).into(), endpoints: endpoints.collect() })
        });
        let mut saved: Vec<_> = saved.collect();
        saved.sort_by(|one, other| one.name.cmp(&other.name));
        saved
    }

    fn groups(&self) -> MutexGuard<'_, HashMap<Key, watch::Sender<Content>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A group as it is kept on disk.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct SavedGroup {
    name: Box<str>,
    endpoints: Vec<spec::Endpoint>,
}

fn endpoint(spec: &spec::Endpoint) -> Option<Endpoint> {
    let text = &*spec.address.0;
    let location = match text.parse::<Address>() {
        Ok(address) => Location::At(address),
        Err(_) => {
            let (host, port) = text.rsplit_once(':')?;
            let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
            Location::Name(Name { host: host.into(), port: port.parse().ok()? })
        }
    };
    let (weight, priority) = (spec.weight.0 as u16, spec.priority.0 as u8);
    Some(Endpoint { location, weight, priority })
}

impl Group {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The endpoints, as soon as they were not returned before.
    pub async fn next(&mut self) -> Vec<Endpoint> {
        loop {
            if self.content.changed().await.is_err() {
                // Nobody tells of it any more.
                std::future::pending::<()>().await;
            }
            if let Some(endpoints) = &*self.content.borrow_and_update() {
                return endpoints.to_vec();
            }
        }
    }
}
