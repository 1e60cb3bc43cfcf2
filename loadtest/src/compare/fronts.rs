//! The rows that reach a proxy by HTTP/2 or TLS: each in turn at saturation.
//!
//! Towards the origin all of them speak HTTP/1.1 in clear text, so that a row measures one side.

use super::entry::Entry;
use super::field::Entrant;
use super::rounds;
use super::rows::Row;
use super::turns::Plan;
use crate::bench::{PATH, Proxy, Scene};
use crate::certificate::Certificate;
use crate::contestant::Contestant;
use crate::cpu::Account;
use crate::h2load::H2load;
use crate::handshakes::Handshakes;
use crate::load::Load;
use crate::origin::Stage;
use crate::site::{Front, Site};
use anyhow::{Result, ensure};
use serde::Serialize;
use std::time::Duration;

const ROUTES: usize = 100;
const BODY_BYTES: usize = 1024;
/// Connections of HTTP/2, and requests under way on each: what a few browsers have.
const HTTP2_CONNECTIONS: usize = 8;
const HTTP2_STREAMS: usize = 8;
const WARM_UP_S: u64 = 1;

/// One turn of one proxy.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Counted from 0.
    pub round: usize,
    /// Requests, or handshakes with one request each, that were answered.
    pub requests: u64,
    /// Those that were not.
    pub failed: u64,
    /// CPU time of the proxy over requests answered.
    pub cpu_us_per_request: f64,
    /// Requests answered over time.
    pub requests_per_s: f64,
    /// Share of the turn that the proxy ran.
    pub utilisation: f64,
    /// Share of the turn that others ran on the proxy's CPU.
    pub disturbance: f64,
}

/// What makes the load of a row.
enum Client {
    /// Requests over connections that are kept, by HTTP/2.
    Http2(H2load),
    /// The same by HTTP/1.1.
    Http1(Load),
    /// A handshake for each request.
    Handshakes(Box<Handshakes>),
}

/// What one burst was answered with.
struct Answered {
    requests: u64,
    failed: u64,
    duration_s: f64,
}

impl Client {
    fn of(row: Row, certificate: &Certificate, cpu: usize, connections: usize) -> Result<Self> {
        let path = PATH.to_owned();
        let handshakes = |resumes| Handshakes::new(certificate, resumes, PATH.to_owned());
        Ok(match row {
            Row::TlsHandshakes => Self::Handshakes(Box::new(handshakes(false)?)),
            Row::TlsResumed => Self::Handshakes(Box::new(handshakes(true)?)),
            Row::TlsRequests => {
                Self::Http1(Load { cpu, connections, path, script: None, close: false, tls: true })
            }
            _ => Self::Http2(H2load {
                cpu,
                connections: HTTP2_CONNECTIONS,
                streams: HTTP2_STREAMS,
                tls: row == Row::H2Tls,
                path,
            }),
        })
    }

    fn run(&self, scene: &Scene, proxy: &Proxy, seconds: u64) -> Result<Answered> {
        let (target, dir, interrupt) = (proxy.front(), scene.dir(), &scene.interrupt);
        match self {
            Self::Http2(load) => {
                let outcome = load.run(target, seconds, dir, interrupt)?;
                let least = outcome.requests * BODY_BYTES as u64;
                let bytes = outcome.body_bytes;
                ensure!(bytes >= least, "{bytes} bytes of bodies came of {least}");
                let (requests, failed) = (outcome.requests, outcome.failed);
                Ok(Answered { requests, failed, duration_s: outcome.duration_s })
            }
            Self::Http1(load) => {
                let outcome = load.run(target, seconds, dir, interrupt)?;
                let (requests, failed) = (outcome.requests, outcome.errors.total());
                Ok(Answered { requests, failed, duration_s: outcome.duration_s })
            }
            Self::Handshakes(load) => {
                let outcome = load.run(target, Duration::from_secs(seconds), interrupt)?;
                let (requests, failed) = (outcome.requests, outcome.failed);
                Ok(Answered { requests, failed, duration_s: outcome.duration_s })
            }
        }
    }

    fn sample(
        &self,
        scene: &Scene,
        proxy: &mut Proxy,
        plan: &Plan,
        round: usize,
    ) -> Result<Sample> {
        let id = proxy.process.id();
        let before = Account::read(id, scene.cpus.proxy)?;
        let answered = self.run(scene, proxy, plan.seconds)?;
        proxy.process.check_alive()?;
        let spent = Account::read(id, scene.cpus.proxy)?.since(&before);
        let cpu_us_per_request = spent.process_ns as f64 / 1e3 / answered.requests as f64;
        eprintln!("round {}: {}: {cpu_us_per_request:.1} us", round + 1, proxy.name);
        Ok(Sample {
            round,
            requests: answered.requests,
            failed: answered.failed,
            cpu_us_per_request,
            requests_per_s: answered.requests as f64 / answered.duration_s,
            utilisation: spent.utilisation(),
            disturbance: spent.disturbance(),
        })
    }
}

/// Runs one row. A proxy that cannot take part or fails has its reason in its entry.
///
/// # Errors
/// The origin failed, or the run was interrupted.
pub fn run(
    scene: &mut Scene,
    row: Row,
    entrants: &[Entrant],
    plan: &Plan,
) -> Result<Vec<Entry<Sample>>> {
    scene.restage(&Stage::one(BODY_BYTES))?;
    let certificate = Certificate::generate()?;
    let client = Client::of(row, &certificate, scene.cpus.load, plan.connections)?;
    let http2 = matches!(row, Row::H2 | Row::H2Tls);
    let front = Front { http2, tls: (row != Row::H2).then_some(certificate) };
    let site = Site::new(ROUTES, scene.origin.upstreams.clone());
    let site = Site { front: Some(front), ..site };
    let warm = |scene: &Scene, contestant: &Contestant| {
        let proxy = scene.serve(contestant, &site)?;
        let answered = client.run(scene, &proxy, WARM_UP_S)?;
        ensure!(answered.requests > 0, "{}: nothing was answered", proxy.name);
        Ok(proxy)
    };
    rounds::run(scene, entrants, plan.rounds, warm, |scene, proxy, round| {
        client.sample(scene, proxy, plan, round)
    })
}
