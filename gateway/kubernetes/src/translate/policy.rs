//! Policies of this gateway's own kind: what they ask of the objects that they are attached to.
//!
//! What two policies ask of one object is the older one's. A key that has no effect on an object is
//! refused there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sallyport_config::delivery::Part;
use sallyport_config::spec::{
    ClientCertificates, FilterEntry, ObjectPolicy as Policy, PolicyTarget, Retry, Upstream,
};
use serde_json::{Value, json};

use super::Draft;
use super::grants::GROUP;
use crate::objects::{
    ExtensionPolicy, Gateway, Grpc, Http, Key, Kind as _, Object, PolicyTargetRef, Service,
};
use crate::status::{ObjectStatus, StatusOf, condition};

/// An object that a policy is attached to.
type Target = (&'static str, Key);

/// A policy that holds, and the object that it is.
#[derive(Clone, Debug)]
pub(super) struct Attached {
    policy: Arc<Policy>,
    key: Key,
}

/// The policies that hold, by the object that they are attached to.
pub(super) type Policies = BTreeMap<Target, Vec<Attached>>;

/// Why a policy does not hold: a reason and a message.
type Refused = (&'static str, String);

impl Attached {
    pub(super) fn origin(&self) -> Box<str> {
        format!("{} {}", ExtensionPolicy::KIND, self.key).into()
    }

    /// Its filters, each under a name that says whose it is.
    fn filters(&self) -> impl Iterator<Item = FilterEntry> {
        self.policy.filters.iter().enumerate().filter_map(|(index, entry)| {
            let mut entry = serde_json::to_value(entry).ok()?;
            entry["name"] = format!("{}#{index}", self.key).into();
            serde_json::from_value(entry).ok()
        })
    }
}

impl Draft<'_> {
    /// Finds out which policies hold, and tells each what became of it.
    pub(super) fn policies(&mut self) {
        let mut all: Vec<_> = self.objects.policies.values().cloned().collect();
        all.sort_by(|one, other| one.age().cmp(&other.age()));
        let mut taken: BTreeMap<(Target, &'static str), Key> = BTreeMap::new();
        for object in all {
            let refused = match read(&object) {
                Ok((policy, targets)) => {
                    let policy = Arc::new(policy);
                    let attach = |target: &PolicyTargetRef| {
                        self.attach(&object, &policy, target, &mut taken).err()
                    };
                    targets.iter().filter_map(attach).next()
                }
                Err(refused) => Some(refused),
            };
            self.tell_policy(&object, refused);
        }
    }

    fn attach(
        &mut self,
        object: &Object<ExtensionPolicy>,
        policy: &Arc<Policy>,
        reference: &PolicyTargetRef,
        taken: &mut BTreeMap<(Target, &'static str), Key>,
    ) -> Result<(), Refused> {
        let key = Key::new(&object.key.namespace, &reference.name);
        let (kind, of, is_there) = match (&*reference.group, &*reference.kind) {
            ("", Service::KIND) => {
                (Service::KIND, PolicyTarget::Service, self.objects.services.contains_key(&key))
            }
            (GROUP, Http::KIND) => {
                (Http::KIND, PolicyTarget::Route, self.objects.http_routes.contains_key(&key))
            }
            (GROUP, Grpc::KIND) => {
                (Grpc::KIND, PolicyTarget::Route, self.objects.grpc_routes.contains_key(&key))
            }
            (GROUP, Gateway::KIND) => {
                (Gateway::KIND, PolicyTarget::Gateway, self.objects.gateways.contains_key(&key))
            }
            (group, kind) => {
                return Err((
                    "Invalid",
                    format!("policies are not attached to {kind} of {group:?}"),
                ));
            }
        };
        if !is_there {
            return Err(("TargetNotFound", format!("there is no {kind} {key}")));
        }
        let written = policy.written();
        if let Some((name, _)) = written.iter().find(|(_, targets)| !targets.contains(&of)) {
            return Err(("Invalid", format!("`{name}` has no effect on a {kind}")));
        }
        let target = (kind, key);
        for (name, _) in &written {
            if let Some(owner) = taken.get(&(target.clone(), *name)) {
                let what = format!("SallyportPolicy {owner} says `{name}` of {kind} {}", target.1);
                return Err(("Conflicted", what));
            }
        }
        for (name, _) in &written {
            taken.insert((target.clone(), *name), object.key.clone());
        }
        let attached = Attached { policy: policy.clone(), key: object.key.clone() };
        self.attached.entry(target).or_default().push(attached);
        Ok(())
    }

    fn tell_policy(&mut self, object: &Object<ExtensionPolicy>, refused: Option<Refused>) {
        let (holds, reason, what) = match &refused {
            None => (true, "Accepted", ""),
            Some((reason, what)) => (false, *reason, &**what),
        };
        if !holds {
            self.problem(object.origin(), what, "correct the policy or its `targetRefs`");
        }
        let accepted = condition("Accepted", holds, reason, what, object.generation);
        self.out.statuses.push(ObjectStatus {
            of: StatusOf::Policy,
            key: object.key.clone(),
            origin: object.origin(),
            wanted: json!({ "conditions": [accepted] }),
            made_of: BTreeSet::new(),
        });
    }

    fn attached_to(&self, kind: &'static str, key: &Key) -> &[Attached] {
        self.attached.get(&(kind, key.clone())).map_or(&[], |attached| &**attached)
    }

    /// Gives an upstream what policies ask of its Service.
    pub(super) fn ask_of_upstream(&mut self, service: &Key, upstream: &mut Upstream) {
        let attached = self.attached_to(Service::KIND, service).to_vec();
        for Attached { policy, .. } in &attached {
            let from = &**policy;
            if let Some(it) = &from.load_balancing {
                upstream.load_balancing = it.clone();
            }
            if let Some(it) = &from.timeouts {
                upstream.timeouts = it.clone();
            }
            let own = &mut *upstream;
            own.health_check = own.health_check.take().or_else(|| from.health_check.clone());
            own.outlier_detection =
                own.outlier_detection.take().or_else(|| from.outlier_detection.clone());
            own.slow_start = own.slow_start.take().or(from.slow_start);
            own.limits = own.limits.take().or_else(|| from.limits.clone());
            own.queue = own.queue.take().or_else(|| from.queue.clone());
            own.bandwidth = own.bandwidth.take().or_else(|| from.bandwidth.clone());
        }
        if let Some(first) = attached.first() {
            let part = Part::Upstream(upstream.name.0.clone());
            self.out.origins.insert(part, first.origin());
        }
    }

    /// The filters and the retry that policies ask of a route, and the policies themselves.
    pub(super) fn asked_of_route(
        &self,
        kind: &'static str,
        key: &Key,
    ) -> (Vec<FilterEntry>, Option<Retry>, BTreeSet<Box<str>>) {
        let attached = self.attached_to(kind, key);
        let filters = attached.iter().flat_map(Attached::filters).collect();
        let retry = attached.iter().find_map(|it| it.policy.retry.clone());
        (filters, retry, attached.iter().map(Attached::origin).collect())
    }

    /// The filters of a Gateway's listeners, and what they ask of clients.
    pub(super) fn asked_of_gateway(
        &self,
        key: &Key,
    ) -> (Vec<FilterEntry>, Option<ClientCertificates>) {
        let attached = self.attached_to(Gateway::KIND, key);
        let filters = attached.iter().flat_map(Attached::filters).collect();
        (filters, attached.iter().find_map(|it| it.policy.client_certificates.clone()))
    }
}

/// What a policy says, and of what.
fn read(object: &Object<ExtensionPolicy>) -> Result<(Policy, Vec<PolicyTargetRef>), Refused> {
    let mut said = object.body.0.clone();
    let targets = said.as_object_mut().and_then(|keys| keys.remove("targetRefs"));
    let targets: Vec<PolicyTargetRef> = serde_json::from_value(targets.unwrap_or(Value::Null))
        .map_err(|error| ("Invalid", format!("`targetRefs` cannot be read: {error}")))?;
    let policy: Policy =
        serde_json::from_value(said).map_err(|error| ("Invalid", error.to_string()))?;
    if policy.written().is_empty() {
        return Err(("Invalid", "says nothing".to_owned()));
    }
    Ok((policy, targets))
}
