//! A request that its guest holds until a call of its own is answered, or until it says so from
//! another context.

use std::time::Duration;

use http::response;
use tokio::time::{Instant, timeout_at};

use super::abi::Failure;
use super::filter::{WasmFilter, drop_held, release};
use super::inbox::Event;
use super::scene::Phase;
use super::stream::{Extra, Stream, Verdict, said};
use crate::exchange::Exchange;
use crate::filter::{Body, Next};

/// How long a request waits for a VM that is being started in the place of one that failed: longer
/// than nearly every module takes.
const START_WAIT: Duration = Duration::from_secs(3);

/// How often the hook is run anew because the VM was lost meanwhile.
const ANEW_MAX: u32 = 3;

/// A request that waits in one phase.
pub(super) struct Wait<'a> {
    pub(super) filter: &'a WasmFilter,
    pub(super) x: Exchange<'a>,
    pub(super) phase: Phase,
    /// Whether nothing comes after what is held.
    pub(super) end: bool,
}

impl<'a> Wait<'a> {
    /// Waits with a head held.
    pub(super) async fn headers(
        mut self,
        response: Option<&'a mut response::Parts>,
        verdict: Result<Verdict, Failure>,
    ) -> Next {
        self.until_done(response, verdict).await
    }

    /// Waits with a body held.
    pub(super) async fn body(
        mut self,
        mut body: Body<'a>,
        verdict: Result<Verdict, Failure>,
    ) -> Next {
        let next = self.until_done(None, verdict).await;
        match next {
            Next::Continue => release(&mut self.x, self.phase, &mut body),
            Next::Answer(_) => drop_held(&mut self.x),
        }
        next
    }

    /// Waits from `verdict` on, what the guest said first, or why it was not asked.
    async fn until_done(
        &mut self,
        mut response: Option<&'a mut response::Parts>,
        verdict: Result<Verdict, Failure>,
    ) -> Next {
        let mut verdict = verdict;
        let (until, mut anew) = (Instant::now() + self.filter.pause_timeout(), 0);
        loop {
            if matches!(verdict, Err(Failure::Starting)) {
                verdict = self.started(response.as_deref_mut()).await;
            }
            if let Some(next) = self.next(verdict) {
                return next;
            }
            let event = timeout_at(until, self.event()).await.unwrap_or(None);
            verdict = match event {
                None => Err(Failure::Paused),
                Some(Event::Lost) if anew == ANEW_MAX => Err(Failure::Paused),
                Some(Event::Lost) => {
                    anew += 1;
                    self.turn(response.as_deref_mut(), |turn, end| turn.hook(end))
                }
                Some(Event::Reply(call, result)) => {
                    self.turn(response.as_deref_mut(), |turn, _| turn.reply(call, result))
                }
                Some(Event::Control(control)) => {
                    Ok(said(control).unwrap_or(Verdict::Pause { calls: false, wakes: false }))
                }
            };
        }
    }

    /// Runs the hook as soon as there is a VM.
    async fn started(
        &mut self,
        mut response: Option<&mut response::Parts>,
    ) -> Result<Verdict, Failure> {
        let (until, slot) = (Instant::now() + START_WAIT, self.filter.slot());
        while timeout_at(until, slot.ready()).await.is_ok() {
            match self.turn(response.as_deref_mut(), |turn, end| turn.hook(end)) {
                Err(Failure::Starting) => {}
                done => return done,
            }
        }
        Err(Failure::Starting)
    }

    async fn event(&mut self) -> Option<Event> {
        let inbox = self.x.kept::<Stream>()?.inbox.clone()?;
        Some(inbox.next().await)
    }

    fn turn(
        &mut self,
        response: Option<&mut response::Parts>,
        call: impl FnOnce(super::stream::Turn<'_>, bool) -> Result<Verdict, Failure>,
    ) -> Result<Verdict, Failure> {
        let extra = Extra { response, ..Extra::default() };
        call(self.filter.turn(&mut self.x, self.phase, extra), self.end)
    }

    /// `None` where it waits on. A guest that holds it without anything to wait for fails it at the
    /// end of the time.
    fn next(&mut self, verdict: Result<Verdict, Failure>) -> Option<Next> {
        let next = match verdict {
            Ok(Verdict::Pause { .. }) => return None,
            Ok(Verdict::Go) => Next::Continue,
            Ok(Verdict::Answer(answer)) => Next::Answer(answer),
            Err(failure) => {
                self.filter.failed(&mut self.x, failure).map_or(Next::Continue, Next::Answer)
            }
        };
        if let Some(stream) = self.x.kept::<Stream>() {
            stream.close_inbox();
        }
        Some(next)
    }
}
