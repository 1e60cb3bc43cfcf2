//! Filters of this gateway's own kind, attached to rules by `ExtensionRef`.

use std::collections::BTreeSet;

use sallyport_config::delivery::Part;
use sallyport_config::spec::Route;
use serde_json::{Value, json};

use super::Draft;
use super::rule::Unresolved;
use crate::objects::{ExtensionFilter, ExtensionPolicy, ExtensionRef, Key, Kind as _};
use crate::status::{ObjectStatus, StatusOf, condition};

impl Draft<'_> {
    /// The entry of a list of filters that a reference leads to, and the object that it is.
    ///
    /// # Errors
    /// The reference is to a kind that is none of this gateway's; within, that there is no such object.
    pub(super) fn extension(
        &mut self,
        namespace: &str,
        asked: &ExtensionRef,
    ) -> Result<Result<(Value, Box<str>), Unresolved>, String> {
        if asked.group != ExtensionFilter::GROUP || asked.kind != ExtensionFilter::KIND {
            let (group, kind) = (&asked.group, &asked.kind);
            return Err(format!("filters of the kind {kind:?} of {group:?} are not supported"));
        }
        let key = Key::new(namespace, &asked.name);
        let Some(found) = self.objects.filters.get(&key).cloned() else {
            let what = format!("there is no {} {key}", ExtensionFilter::KIND);
            return Ok(Err(("InvalidFilter", what)));
        };
        let mut entry = found.body.0.clone();
        if let Value::Object(keys) = &mut entry {
            // By its own name, so that two of a kind are told apart, and so are their figures.
            keys.insert("name".into(), key.to_string().into());
        }
        self.told_filters.insert(key);
        Ok(Ok((entry, found.origin())))
    }

    /// Notes which objects the filters of a route are.
    pub(super) fn note_filters(&mut self, host: &str, route: &Route) {
        for entry in &route.filters {
            let Some(name) = entry.name().filter(|name| name.contains('/')) else { continue };
            let part = Part::Filter(host.into(), route.name.0.clone(), name.into());
            let origin = match name.split_once('#') {
                Some((policy, _)) => format!("{} {policy}", ExtensionPolicy::KIND),
                None => format!("{} {name}", ExtensionFilter::KIND),
            };
            self.out.origins.insert(part, origin.into());
        }
    }

    /// Tells the filters that rules name that they are used.
    pub(super) fn filter_statuses(&mut self) {
        for key in std::mem::take(&mut self.told_filters) {
            let Some(filter) = self.objects.filters.get(&key) else { continue };
            let accepted = condition("Accepted", true, "Accepted", "", filter.generation);
            self.out.statuses.push(ObjectStatus {
                of: StatusOf::Filter,
                origin: filter.origin(),
                key,
                wanted: json!({ "conditions": [accepted] }),
                made_of: BTreeSet::new(),
            });
        }
    }
}
