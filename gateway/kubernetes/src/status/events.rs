//! Rejections as events of the objects that they are about, where `kubectl describe` shows them.
//!
//! One gateway of a fleet writes, as with statuses. What is said already is not said again while the
//! API server remembers it, whoever has said it: the name of an event is made of what it says.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::objects::Key;

/// How long an event is known: API servers forget them after an hour.
const SAID_AGAIN: Duration = Duration::from_secs(50 * 60);

/// The wait between two events: a cluster of which nothing can be used is told of it slowly.
const PAUSE: Duration = Duration::from_millis(200);

/// The wait before what could not be written is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// The longest note that the API takes, in bytes.
const NOTE_BYTES_MAX: usize = 1_024;

/// The longest name of an object that an event's name begins with.
const NAME_BYTES_MAX: usize = 200;

/// What an object is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Told {
    /// Group and version, and kind, of the object.
    pub(super) kind: (String, &'static str),
    pub(super) key: Key,
    pub(super) uid: Box<str>,
    /// What is wrong with it, and how to mend it.
    pub(super) note: String,
}

/// Writes whatever is told, as long as this gateway leads. `controller` is who says so.
pub(super) async fn run(
    client: Client,
    controller: String,
    mut told: watch::Receiver<Vec<Told>>,
    mut leads: watch::Receiver<bool>,
) {
    let mut said: HashMap<Told, Instant> = HashMap::new();
    loop {
        if leads.wait_for(|leads| *leads).await.is_err() {
            return;
        }
        let all: HashSet<Told> = told.borrow_and_update().iter().cloned().collect();
        said.retain(|told, since| all.contains(told) && since.elapsed() < SAID_AGAIN);
        let mut is_failing = false;
        for one in all.iter().filter(|one| !said.contains_key(*one)).collect::<Vec<_>>() {
            if !*leads.borrow() || told.has_changed().unwrap_or(true) {
                break;
            }
            match write(&client, &controller, one).await {
                Ok(()) => drop(said.insert(one.clone(), Instant::now())),
                Err(error) => {
                    tracing::debug!(object = %one.key, %error, "an event cannot be written");
                    is_failing = true;
                }
            }
            sleep(PAUSE).await;
        }
        tokio::select! {
            changed = told.changed() => {
                if changed.is_err() {
                    return;
                }
                // What is told next is what is true then.
                told.mark_changed();
            }
            () = sleep(if is_failing { RETRY } else { SAID_AGAIN }) => {}
        }
    }
}

/// Makes an event, or counts one more in the one that says the same.
async fn write(client: &Client, controller: &str, told: &Told) -> Result<(), kube::Error> {
    let kind = GroupVersionKind::gvk("events.k8s.io", "v1", "Event");
    let resource = ApiResource::from_gvk_with_plural(&kind, "events");
    let namespace = if told.key.namespace.is_empty() { "default" } else { &told.key.namespace };
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let name = name(told);
    let now = json!(MicroTime(Timestamp::now()));
    if let Some(mut known) = api.get_opt(&name).await? {
        let count = known.data["series"]["count"].as_u64().unwrap_or(1);
        known.data["series"] = json!({ "count": count + 1, "lastObservedTime": now });
        return written(api.replace(&name, &PostParams::default(), &known).await);
    }
    let mut event = DynamicObject::new(&name, &resource).within(namespace);
    event.data = data(told, controller, &now);
    written(api.create(&PostParams::default(), &event).await)
}

/// Whoever was first where two write at once has said the same.
fn written(result: Result<DynamicObject, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        result => result.map(drop),
    }
}

fn name(told: &Told) -> String {
    let mut hasher = DefaultHasher::new();
    told.hash(&mut hasher);
    let of = &told.key.name[..told.key.name.floor_char_boundary(NAME_BYTES_MAX)];
    format!("{of}.{:016x}", hasher.finish())
}

fn data(told: &Told, controller: &str, now: &Value) -> Value {
    let (api_version, kind) = &told.kind;
    let mut regarding = json!({ "apiVersion": api_version, "kind": kind, "name": &*told.key.name, "uid": told.uid });
    if !told.key.namespace.is_empty() {
        regarding["namespace"] = (&*told.key.namespace).into();
    }
    let instance = std::env::var("HOSTNAME").unwrap_or_else(|_| "sallyport".to_owned());
    json!({
        "eventTime": now,
        "type": "Warning",
        "reason": "Rejected",
        "action": "Configure",
        "note": told.note[..told.note.floor_char_boundary(NOTE_BYTES_MAX)],
        "regarding": regarding,
        "reportingController": controller,
        "reportingInstance": instance[..instance.floor_char_boundary(128)],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, note: &str) -> Told {
        let kind = ("gateway.networking.k8s.io/v1".to_owned(), "HTTPRoute");
        Told { kind, key: Key::new("shop", name), uid: "1".into(), note: note.into() }
    }

    #[test]
    fn names_and_notes_are_within_the_bounds_of_the_api() {
        let long = told(&"n".repeat(253), &"ä".repeat(2_000));
        assert!(name(&long).len() <= 253);
        let data = data(&long, "sallyport.dev/gateway", &json!("now"));
        assert!(data["note"].as_str().unwrap().len() <= NOTE_BYTES_MAX);
        assert_eq!(data["regarding"]["namespace"], "shop");
    }

    #[test]
    fn what_says_the_same_has_one_name() {
        assert_eq!(name(&told("x", "a")), name(&told("x", "a")));
        assert_ne!(name(&told("x", "a")), name(&told("x", "b")));
    }
}
