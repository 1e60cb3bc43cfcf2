//! `upstreams`, and what all of them must be together.

use std::collections::HashMap;

use sallyport_balance::{Address, Policy};
use sallyport_config::Place;
use sallyport_config::spec;

use super::{Resolver, Spot, upstream};
use crate::config::model::Upstream;
use crate::config::origins::Location;

impl Resolver<'_, '_, '_> {
    pub(super) fn all_upstreams(&mut self, specs: &[(Spot, &spec::Upstream)]) -> Vec<Upstream> {
        self.refuse_over("upstreams", "upstreams", specs.len(), self.limits.upstreams);
        let mut names = HashMap::new();
        let mut slots = 0;
        let mut upstreams = Vec::with_capacity(specs.len());
        for (spot, spec) in specs {
            let at = |spot: Spot| (spot.file, format!("{spot}.name"));
            let what = || format!("duplicate upstream {:?}", &*spec.name);
            self.refuse_repeated(&mut names, &*spec.name, *spot, at, what);
            let upstream = spot.at(|place| self.upstream(spec, place));
            slots += hash_table_slots(&upstream);
            upstreams.push(upstream);
        }
        if slots > self.limits.hash_table_slots {
            let most = self.limits.hash_table_slots;
            self.refuse(
                0,
                "upstreams".into(),
                format!("{slots} slots of hashing tables, over the limit of {most}"),
                "use smaller tables or raise `limits.hash_table_slots`",
            );
        }
        upstreams
    }

    fn upstream(&mut self, spec: &spec::Upstream, place: &Place<'_>) -> Upstream {
        let list = Place::Key(place, "endpoints");
        let (count, most) = (spec.endpoints.as_ref().map_or(0, Vec::len), self.limits.endpoints);
        if count as u64 > most {
            let what = format!("{count} endpoints, over the limit of {most}");
            let fix = "split the upstream or raise `limits.endpoints`";
            list.refuse::<()>(self.problems, what, fix);
        }
        let is_whole = |key| !self.is_replaced(&Place::Key(place, key));
        let whole = upstream::Whole {
            balancing: is_whole("load_balancing"),
            protocol: is_whole("protocol"),
        };
        let upstream = upstream::upstream(spec, place, &whole, self.filters, self.problems);
        let mut addresses = HashMap::new();
        for (index, endpoint) in upstream.endpoints.iter().enumerate() {
            let at = |index| (list.file(), format!("{list}[{index}].address"));
            let what = || format!("duplicate address {}", endpoint.location);
            self.refuse_repeated(&mut addresses, &endpoint.location, index, at, what);
            // A certificate is for a name, and a Unix socket has none.
            let is_socket = matches!(endpoint.location, Location::At(Address::Unix(_)));
            if let Some(tls) = &upstream.transport.tls
                && tls.server_name.is_none()
                && is_socket
            {
                let what = "is a Unix socket, which has no name that a certificate could be for";
                let fix = "add `server_name: app.internal` to `tls`";
                let (file, at) = at(index);
                self.refuse(file, at, what.to_owned(), fix);
            }
        }
        upstream
    }
}

/// Whether there may be more endpoints than are written.
fn is_found(upstream: &Upstream) -> bool {
    let is_name = |location: &Location| matches!(location, Location::Name(_));
    upstream.discovery.is_some()
        || upstream.endpoints.iter().any(|endpoint| is_name(&endpoint.location))
}

/// What an upstream's table adds to the total; one endpoint needs none.
fn hash_table_slots(upstream: &Upstream) -> u64 {
    match upstream.policy {
        Policy::Maglev { table_size } if upstream.endpoints.len() > 1 || is_found(upstream) => {
            table_size.into()
        }
        // A point of the ring is a hash and an index: 16 bytes to a table's 2.
        Policy::RingHash => 160 * 8 * upstream.endpoints.len() as u64,
        _ => 0,
    }
}
