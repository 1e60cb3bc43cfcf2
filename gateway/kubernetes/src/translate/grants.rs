//! References from one namespace to another, which the other one has to grant.

use super::Draft;

/// Where a reference begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct From<'f> {
    pub(super) group: &'f str,
    pub(super) kind: &'f str,
    pub(super) namespace: &'f str,
}

/// The group of the Gateway API.
pub(super) const GROUP: &str = "gateway.networking.k8s.io";

impl Draft<'_> {
    /// Whether an object may name another one.
    pub(super) fn is_granted(
        &self,
        from: From<'_>,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> bool {
        if from.namespace == namespace {
            return true;
        }
        let mut grants =
            self.objects.grants.values().filter(|grant| *grant.key.namespace == *namespace);
        grants.any(|grant| {
            let is_from = grant.body.from.iter().any(|it| {
                it.group == from.group && it.kind == from.kind && it.namespace == from.namespace
            });
            is_from
                && grant.body.to.iter().any(|it| {
                    let is_named = it.name.as_deref().is_none_or(|it| it.is_empty() || it == name);
                    it.group.is_empty() && it.kind == kind && is_named
                })
        })
    }
}
