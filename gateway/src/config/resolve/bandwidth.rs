//! `bandwidth` of upstreams and routes.

use sallyport_config::spec;
use sallyport_config::{Place, Sink};

use super::resilience::{by_header, by_hint, weights};
use super::{Places, Resolver};
use crate::config::admission::TenantBy;
use crate::config::bandwidth::{Bandwidth, ClassBy};
use crate::config::model::{Action, Config};

const WITHOUT_QUEUE: &str = "is `tenant`, and the upstream has no `queue` that tells tenants apart";

/// The bandwidth of an upstream.
pub(super) fn of_upstream(
    spec: &spec::Bandwidth,
    has_queue: bool,
    place: &Place<'_>,
    sink: &mut Sink,
) -> Bandwidth {
    if spec.by == spec::ClassBy::Tenant && !has_queue {
        let fix = "write `by: { header: NAME }` or another, or add a `queue`";
        Place::Key(place, "by").refuse::<()>(sink, WITHOUT_QUEUE, fix);
    }
    read(spec, place, sink)
}

/// The bandwidth of a route. Whether its upstreams have tenants is seen when all are known.
pub(super) fn of_route(
    spec: &spec::Bandwidth,
    forwards: bool,
    place: &Place<'_>,
    sink: &mut Sink,
) -> Bandwidth {
    if !forwards {
        let what = "has no effect without `forward`";
        place.refuse::<()>(sink, what, "remove it: only what origins answer is held back");
    }
    read(spec, place, sink)
}

fn read(spec: &spec::Bandwidth, place: &Place<'_>, sink: &mut Sink) -> Bandwidth {
    let by = match &spec.by {
        spec::ClassBy::Source => ClassBy::Own(TenantBy::Source),
        spec::ClassBy::Route => ClassBy::Own(TenantBy::Route),
        spec::ClassBy::Tls => ClassBy::Own(TenantBy::Tls),
        spec::ClassBy::Header(name) => ClassBy::Own(by_header(name)),
        spec::ClassBy::Hint(hint) => ClassBy::Own(by_hint(*hint)),
        spec::ClassBy::Tenant => ClassBy::Tenant,
    };
    let useless = match by {
        ClassBy::Own(TenantBy::Source) => Some("`weights` has no effect on classes by `source`"),
        ClassBy::Tenant => Some("`weights` has no effect on classes by `tenant`"),
        ClassBy::Own(_) => None,
    };
    if let Some(what) = useless.filter(|_| spec.weights.is_some()) {
        let fix = match by {
            ClassBy::Tenant => "write them in the upstream's `queue`, as `weights: { gold: 4 }`",
            ClassBy::Own(_) => "write `by: { header: NAME }`, `by: tls` or `by: route`",
        };
        place.refuse::<()>(sink, what, fix);
    }
    let bytes_per_s = spec.rate.bytes();
    Bandwidth {
        bytes_per_s,
        burst_bytes: spec.burst.map_or(Bandwidth::burst_of(bytes_per_s), |burst| burst.0),
        by,
        weights: weights(spec.weights.as_ref(), place, sink),
    }
}

impl Resolver<'_, '_, '_> {
    /// Refuses routes whose classes are tenants of an upstream that has none.
    pub(super) fn refuse_tenants_of_nobody(&mut self, config: &Config, places: &Places) {
        for (host, spot) in config.virtual_hosts.iter().zip(&places.virtual_hosts) {
            for (index, route) in host.routes.iter().enumerate() {
                let by_tenant = route.bandwidth.as_ref().is_some_and(|it| it.by == ClassBy::Tenant);
                let Action::Forward(forward) = &route.action else { continue };
                let mut upstreams =
                    forward.targets.iter().map(|target| &config.upstreams[target.upstream]);
                if by_tenant
                    && let Some(upstream) =
                        upstreams.find(|upstream| upstream.resilience.queue.is_none())
                {
                    let at = format!("{spot}.routes[{index}].bandwidth.by");
                    let fix = format!(
                        "write `by: {{ header: NAME }}` or another, or add a `queue` to {:?}",
                        upstream.name
                    );
                    self.refuse(spot.file, at, WITHOUT_QUEUE.to_owned(), fix);
                }
            }
        }
    }
}
