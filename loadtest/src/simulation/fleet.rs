//! Gateways, what each of them knows of the endpoints, and where it sends a request.
//!
//! A [`Version`] is one state of knowledge: a list of endpoints, or a full list of which some are passed over.
//! The balancers of the hashing policies hold nothing that changes, so gateways on one version share
//! one; the others have a cursor or counts, and every gateway gets its own.

use super::{Case, Notice, Plan};
use anyhow::Result;
use sallyport_balance::{Address, Balancer, Endpoint, Policy, View, hash_key};
use std::net::Ipv4Addr;
use std::rc::Rc;

/// The endpoints that are out, by their number.
pub(super) type Out = Vec<bool>;

/// One state of knowledge about the endpoints.
#[derive(Debug)]
pub(super) struct Version {
    policy: Policy,
    notice: Notice,
    endpoints: Vec<Endpoint>,
    /// For each of the list, its number in the fleet.
    numbers: Vec<u16>,
    /// For each of the list, whether it is passed over.
    passed_over: Vec<bool>,
    shared: Option<Rc<Balancer>>,
}

/// One gateway on some version.
#[derive(Debug)]
pub(super) struct Gateway {
    version: Rc<Version>,
    balancer: Rc<Balancer>,
    /// Requests of this gateway to each endpoint that are under way, by the endpoint's number.
    in_flight: Vec<u32>,
}

/// What a balancer asks about: its endpoints by their place in the version's list.
struct Sight<'gateway> {
    version: &'gateway Version,
    in_flight: &'gateway [u32],
}

impl View for Sight<'_> {
    fn usable(&self, endpoint: usize) -> bool {
        !self.version.passed_over[endpoint]
    }

    fn in_flight(&self, endpoint: usize) -> u32 {
        self.in_flight[usize::from(self.version.numbers[endpoint])]
    }
}

impl Version {
    /// What is known once it is noticed that these of `fleet` are out.
    pub(super) fn new(plan: &Plan, case: Case, fleet: &[Endpoint], out: &Out) -> Result<Self> {
        let policy = plan.policy(case.policy);
        let listed = |number: &usize| case.notice == Notice::Health || !out[*number];
        let numbers: Vec<usize> = (0..fleet.len()).filter(listed).collect();
        let endpoints: Vec<Endpoint> =
            numbers.iter().map(|&number| fleet[number].clone()).collect();
        let passed_over = numbers.iter().map(|&number| out[number]).collect();
        let build = || Balancer::new(policy, &endpoints).map(Rc::new);
        let shared = if case.hashes() { Some(build()?) } else { None };
        let numbers = numbers.into_iter().map(|number| number as u16).collect();
        Ok(Self { policy, notice: case.notice, endpoints, numbers, passed_over, shared })
    }

    /// Where each of `keys` belongs as far as this version goes: numbers of endpoints.
    pub(super) fn homes(self: &Rc<Self>, keys: &[u64]) -> Result<Vec<u16>> {
        let gateway = Gateway::on(self.clone())?;
        Ok(keys.iter().filter_map(|&key| gateway.choose(key)).collect())
    }

    fn balancer(&self) -> Result<Rc<Balancer>> {
        match &self.shared {
            Some(shared) => Ok(shared.clone()),
            None => Ok(Rc::new(Balancer::new(self.policy, &self.endpoints)?)),
        }
    }
}

impl Gateway {
    /// A gateway that starts with this version.
    pub(super) fn on(version: Rc<Version>) -> Result<Self> {
        let numbers = version.numbers.iter().max().map_or(0, |&most| usize::from(most) + 1);
        Ok(Self { balancer: version.balancer()?, version, in_flight: vec![0; numbers] })
    }

    /// Goes over to `version`, if it is another.
    pub(super) fn notice(&mut self, version: &Rc<Version>) -> Result<()> {
        if Rc::ptr_eq(version, &self.version) {
            return Ok(());
        }
        let keeps_tables = version.notice == Notice::Health;
        let balancer = if keeps_tables { self.balancer.clone() } else { version.balancer()? };
        let last = version.numbers.iter().max().map_or(0, |&most| usize::from(most) + 1);
        self.in_flight.resize(self.in_flight.len().max(last), 0);
        (self.version, self.balancer) = (version.clone(), balancer);
        Ok(())
    }

    /// Sends a request with this key; the number of the endpoint it went to.
    pub(super) fn send(&mut self, key: u64) -> Option<u16> {
        let number = self.choose(key)?;
        self.in_flight[usize::from(number)] += 1;
        Some(number)
    }

    /// Every request of the tick has been answered.
    pub(super) fn finish_all(&mut self) {
        self.in_flight.fill(0);
    }

    fn choose(&self, key: u64) -> Option<u16> {
        let sight = Sight { version: &self.version, in_flight: &self.in_flight };
        let place = self.balancer.select(key, &sight)?;
        Some(self.version.numbers[place])
    }
}

/// So many endpoints; `weight` says how heavy each is.
pub(super) fn endpoints(count: usize, weight: impl Fn(usize) -> u16) -> Vec<Endpoint> {
    let address = |number: usize| {
        let [.., high, low] = (number as u32).to_be_bytes();
        Address::from((Ipv4Addr::new(10, 0, high, low), 8080))
    };
    (0..count).map(|number| Endpoint { address: address(number), weight: weight(number) }).collect()
}

/// The keys of so many users.
pub(super) fn keys(users: usize) -> Vec<u64> {
    (0..users).map(|user| hash_key(format!("user-{user}").as_bytes())).collect()
}

/// Rounded to what is worth keeping in a file.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
