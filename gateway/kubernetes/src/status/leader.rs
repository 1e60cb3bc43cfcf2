//! Which gateway of a fleet writes statuses: the one that holds a Lease.
//!
//! Time is this process's own: a Lease is over when it was not renewed for as long as it lasts
//! since this process saw it change. Clocks that disagree do no harm. Nothing but the writing of
//! statuses waits for this.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// The name of the Lease.
const NAME: &str = "sallyport-status";

/// How long a Lease lasts without being renewed.
const LASTS: Duration = Duration::from_secs(15);

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(4);

/// Starts to run for it; the receiver says whether this process leads.
pub(super) fn start(client: Client) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(run(client, sender));
    receiver
}

async fn run(client: Client, leads: watch::Sender<bool>) {
    let api: Api<Lease> = Api::default_namespaced(client);
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "sallyport".to_owned());
    let me = format!("{host}-{}-{:x}", std::process::id(), Timestamp::now().as_nanosecond());
    let mut seen: Option<(LeaseSpec, Instant)> = None;
    let mut renewed = Instant::now();
    loop {
        match look(&api, &me, &mut seen).await {
            Ok(true) => {
                renewed = Instant::now();
                leads.send_replace(true);
            }
            Ok(false) => drop(leads.send_replace(false)),
            Err(error) => {
                tracing::debug!(%error, "the Lease of those who write status cannot be had");
                if renewed.elapsed() > LASTS {
                    leads.send_replace(false);
                }
            }
        }
        if leads.is_closed() {
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Renews or takes the Lease if it is ours or nobody's; returns whether it is ours then.
async fn look(
    api: &Api<Lease>,
    me: &str,
    seen: &mut Option<(LeaseSpec, Instant)>,
) -> Result<bool, kube::Error> {
    let Some(mut lease) = api.get_opt(NAME).await? else {
        let metadata = ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() };
        let lease = Lease { metadata, spec: Some(held_by(me, 0)) };
        return won(api.create(&PostParams::default(), &lease).await);
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let is_ours = spec.holder_identity.as_deref() == Some(me);
    let since = match seen {
        Some((known, since)) if *known == spec => *since,
        _ => {
            let now = Instant::now();
            *seen = Some((spec.clone(), now));
            now
        }
    };
    let lasts = spec.lease_duration_seconds.and_then(|it| u64::try_from(it).ok());
    let is_held = spec.holder_identity.as_deref().is_some_and(|holder| !holder.is_empty());
    if !is_ours && is_held && since.elapsed() < lasts.map_or(LASTS, Duration::from_secs) {
        return Ok(false);
    }
    let changes = spec.lease_transitions.unwrap_or(0) + i32::from(!is_ours);
    lease.spec = Some(held_by(me, changes));
    won(api.replace(NAME, &PostParams::default(), &lease).await)
}

/// Whether a write was ours to make: somebody else was first where it conflicts.
fn won(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

fn held_by(me: &str, transitions: i32) -> LeaseSpec {
    let now = MicroTime(Timestamp::now());
    LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: Some(LASTS.as_secs() as i32),
        acquire_time: Some(now.clone()),
        renew_time: Some(now),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    }
}
