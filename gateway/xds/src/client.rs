//! The client of a control plane: ADS on one stream, of the state of the world or of what changed.
//!
//! What comes is checked by translating it. A resource that cannot be used is not taken, and the
//! answer says why with its place; the others of the response are. What is in force follows when
//! everything that a resource names is there (`client/state.rs`), and an update is acknowledged
//! once the gateway says that it is in force. Endpoints go straight to their upstreams.

mod connect;
mod delivery;
mod figures;
mod protocol;
mod session;
mod state;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sallyport_config::delivery::{Outcome, Outlet};
use sallyport_config::spec::Xds;
use tokio::sync::watch;

pub use self::figures::Figures;
use self::session::Session;

/// The wait after the first failure; it doubles with each further one.
const RETRY_FIRST: Duration = Duration::from_millis(250);

/// The longest wait after a failure: who mends a control plane does not wait for minutes.
const RETRY_MAX: Duration = Duration::from_secs(15);

/// Follows the control plane that `config` names for as long as it runs.
pub async fn run(
    config: Xds,
    outlet: Arc<dyn Outlet>,
    mut outcomes: watch::Receiver<Outcome>,
    figures: Figures,
) {
    let mut session = Session::new(config, outlet.clone(), figures);
    let mut failures = 0;
    loop {
        let why = session.serve(&mut outcomes).await;
        failures = if session.was_answered() { 1 } else { failures + 1 };
        tracing::debug!(why, failures, "the stream with the control plane has ended");
        outlet.set_state(Err(why));
        let until = Instant::now() + back_off(failures);
        session.wait(until, &mut outcomes).await;
    }
}

/// The wait after this many failures in a row, jittered so that a fleet does not come back in step.
fn back_off(failures: u32) -> Duration {
    let doubled = RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10));
    doubled.min(RETRY_MAX).mul_f64(0.5 + 0.5 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any thread may go on with a client.
    #[test]
    fn a_client_can_be_spawned() {
        fn spawned<F: Future<Output = ()> + Send + 'static>(
            _: fn(Xds, Arc<dyn Outlet>, watch::Receiver<Outcome>, Figures) -> F,
        ) {
        }
        spawned(run);
    }

    #[test]
    fn failures_are_backed_off_within_bounds() {
        for failures in 0..100 {
            let wait = back_off(failures);
            assert!(wait >= RETRY_FIRST / 2 && wait <= RETRY_MAX, "{failures}: {wait:?}");
        }
    }
}
