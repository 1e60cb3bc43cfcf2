//! `virtual_hosts`, but for their routes.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use sallyport_config::spec;
use sallyport_config::{Place, Sink};
use sallyport_plugin::Entry as Filter;
use sallyport_route::Domain;

use super::reached::Reached;
use super::{Places, Resolver, Spot, tls};
use crate::config::model::{Listener, VirtualHost};

/// The label of virtual host and route that requests are counted under which none takes.
const NONE: &str = "none";

impl Resolver<'_, '_, '_> {
    pub(super) fn all_hosts(
        &mut self,
        specs: &[(Spot, &spec::VirtualHost)],
        shared_filters: &HashSet<&str>,
        readable_domains: &mut Vec<Vec<usize>>,
    ) -> Vec<VirtualHost> {
        let count =
            |each: fn(&spec::VirtualHost) -> usize| specs.iter().map(|(_, spec)| each(spec)).sum();
        let (routes, domains): (usize, usize) =
            (count(|spec| spec.routes.len()), count(|spec| spec.domains.len()));
        self.refuse_over("virtual_hosts", "virtual_hosts", specs.len(), self.limits.virtual_hosts);
        self.refuse_over("virtual_hosts", "routes", routes, self.limits.routes);
        self.refuse_over("virtual_hosts", "domains", domains, self.limits.domains);
        let mut names = HashMap::new();
        let mut hosts = Vec::with_capacity(specs.len());
        for (spot, spec) in specs {
            let at = |spot: Spot| (spot.file, format!("{spot}.name"));
            let what = || format!("duplicate virtual host {:?}", &*spec.name);
            self.refuse_repeated(&mut names, &*spec.name, *spot, at, what);
            let (host, readable) = spot.at(|place| self.host(spec, place, shared_filters));
            hosts.push(host);
            readable_domains.push(readable);
        }
        hosts
    }

    fn host(
        &mut self,
        spec: &spec::VirtualHost,
        place: &Place<'_>,
        shared_filters: &HashSet<&str>,
    ) -> (VirtualHost, Vec<usize>) {
        let at = |key| Place::Key(place, key);
        let (readable, domains) = domains(&spec.domains, &at("domains"), self.problems);
        let scope = format!("virtual_host {:?}", &*spec.name);
        let filters = self.filter_list(&scope, &spec.filters, place);
        self.refuse_off(&filters, place, &|name| shared_filters.contains(name));
        let error_pages = self.error_pages(spec.error_pages.as_ref(), place);
        let clients = spec.client_certificates.as_ref().and_then(|spec| {
            let place = at("client_certificates");
            tls::client_certificates(spec, &place, self.filters, self.problems)
        });
        let sample = self.sample(spec.tracing.as_ref(), place);
        let of_host: HashSet<&str> = filters.iter().map(|entry| &**entry.name()).collect();
        let known = |name: &str| shared_filters.contains(name) || of_host.contains(name);
        let mut names = HashMap::new();
        let mut routes = Vec::with_capacity(spec.routes.len());
        let mut reached = Reached::default();
        let list = at("routes");
        for (index, route) in spec.routes.iter().enumerate() {
            let at = |index| (list.file(), format!("{list}[{index}].name"));
            let what = || format!("duplicate route {:?}", &*route.name);
            self.refuse_repeated(&mut names, &*route.name, index, at, what);
            let place = Place::Item(&list, index);
            if &*spec.name == NONE && &*route.name == NONE {
                let what = format!("is {NONE:?} in a virtual host {NONE:?}");
                let fix =
                    "choose another name: these are the labels of requests that no route takes";
                Place::Key(&place, "name").refuse::<()>(self.problems, what, fix);
            }
            let host = (&*spec.name, &*domains);
            routes.extend(self.route(route, &place, host, &known, &mut reached));
        }
        let name = (*spec.name).into();
        drop(of_host);
        (VirtualHost { name, domains, filters, error_pages, clients, sample, routes }, readable)
    }

    /// Refuses to turn off what no less specific place has turned on: that is a slip of the name.
    pub(super) fn refuse_off(
        &mut self,
        entries: &[Filter],
        around: &Place<'_>,
        known: &dyn Fn(&str) -> bool,
    ) {
        for entry in entries {
            if let Filter::Off(name) = entry
                && !known(name)
            {
                let what = format!("turns off {name:?}, which no less specific place sets up");
                let fix = "correct the name or remove the entry";
                Place::Key(around, "filters").refuse::<()>(self.problems, what, fix);
            }
        }
    }

    /// A domain leads to one virtual host on each listener; two listeners may route it differently.
    /// `places` are those of the virtual hosts, each with its file. Where no listener could be
    /// read, all virtual hosts are taken to be served by one; one that no listener serves is looked
    /// at alone.
    pub(super) fn domains(
        &mut self,
        listeners: &[Listener],
        hosts: &[VirtualHost],
        places: &Places,
    ) {
        let all = || (0..hosts.len()).collect::<Vec<_>>();
        let mut served: Vec<_> = listeners
            .iter()
            .map(|listener| listener.virtual_hosts.clone().unwrap_or_else(all))
            .collect();
        // Listeners that serve the same would only repeat what is found.
        served.sort();
        served.dedup();
        if served.is_empty() {
            served.push(all());
        }
        let covered: HashSet<usize> = served.iter().flatten().copied().collect();
        served
            .extend((0..hosts.len()).filter(|host| !covered.contains(host)).map(|host| vec![host]));
        let at = |(host, index): (usize, usize)| {
            let spot = places.virtual_hosts[host];
            (spot.file, format!("{spot}.domains[{index}]"))
        };
        let mut told = HashSet::new();
        for hosts_served in served {
            let mut seen: HashMap<&Domain, (usize, usize)> = HashMap::new();
            for host in hosts_served {
                let written = hosts[host].domains.iter().zip(&places.domains[host]);
                for (domain, index) in written {
                    match seen.entry(domain) {
                        Entry::Vacant(entry) => {
                            entry.insert((host, *index));
                        }
                        Entry::Occupied(first) if told.insert((host, *index)) => {
                            let (file, place) = at((host, *index));
                            let first = self.named(at(*first.get()), file);
                            let fix = format!(
                                "it is taken by {first}: choose another, merge the two, or let \
                                 each be served by a listener of its own (`virtual_hosts`)"
                            );
                            self.refuse(file, place, format!("duplicate domain \"{domain}\""), fix);
                        }
                        Entry::Occupied(_) => {}
                    }
                }
            }
        }
    }
}

/// The domains that could be read, and their indices.
fn domains(
    specs: &[spec::scalar::Domain],
    place: &Place<'_>,
    sink: &mut Sink,
) -> (Vec<usize>, Vec<Domain>) {
    const FIX: &str = "write a domain, *.suffix, prefix.* or \"*\"";
    if specs.is_empty() {
        place.refuse::<()>(sink, "is empty", "name the domains it answers for, or \"*\" for all");
    }
    let domains = specs.iter().enumerate().filter_map(|(index, domain)| {
        Some((index, Place::Item(place, index).parsed(sink, domain, FIX, str::parse)?))
    });
    domains.unzip()
}
