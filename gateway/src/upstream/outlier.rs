//! What the end of an attempt says of its endpoint, and whether the endpoint is left out for it.
//!
//! The arithmetic is [`sallyport_balance::outlier`]'s; here it meets the set: how many are left out already, what the
//! others' rates are, and the log. Where nothing is configured, only connections that cannot be made and connections
//! that break unanswered count.

use std::time::Instant;

use sallyport_balance::outlier::{ejectable, is_below_mean};
use sallyport_stats::EjectionReason;

use super::endpoint::Term;
use super::set::EndpointSet;
use crate::config::OutlierDetection;

/// What an attempt came to, as far as its endpoint goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was answered, and not with 5xx.
    Success,
    /// It was answered with 5xx or late, or its connection failed.
    Error,
    /// It ended before the endpoint could have answered, for no fault of its own.
    Nothing,
}

impl EndpointSet {
    /// Notes what an attempt at the endpoint with this index came to.
    pub(super) fn note(&self, index: usize, outcome: Outcome, now: Instant) {
        let endpoint = self.endpoint(index);
        if outcome == Outcome::Success && endpoint.succeeded() {
            self.is_back(index);
        }
        let Some(detection) = self.outlier_detection() else { return };
        if outcome == Outcome::Nothing {
            return;
        }
        if detection.success_rate.is_some() {
            endpoint.results.rate(endpoint.ms(now), outcome == Outcome::Success);
        }
        if outcome == Outcome::Error {
            if let Some(reason) = endpoint.ejected_for() {
                // A trial that failed; what was under way before changes nothing.
                self.eject(index, reason, now);
            } else if endpoint.results.failed() >= detection.consecutive_errors {
                self.eject(index, EjectionReason::ConsecutiveErrors, now);
            }
            if let Some(percent) = detection.success_rate {
                self.eject_below_mean(percent, now);
            }
        }
    }

    /// Leaves the endpoint with this index out, if one more may be.
    pub(super) fn eject(&self, index: usize, reason: EjectionReason, now: Instant) {
        let others = self.members().iter().enumerate().filter(|(other, _)| *other != index);
        let ejected = others.filter(|(_, member)| member.endpoint.is_set_aside()).count();
        let detection = self.outlier_detection();
        let most = detection.map(|it| ejectable(self.members().len(), it.max_ejected));
        if most.is_some_and(|most| ejected >= most) {
            return;
        }
        let endpoint = self.endpoint(index);
        let was_out = endpoint.is_set_aside();
        if endpoint.eject(reason, term(detection), now) {
            self.account().note_ejection();
            if !was_out {
                let (upstream, endpoint) = (self.account().name(), &endpoint.address);
                let why = in_words(reason);
                tracing::warn!(upstream, %endpoint, why, "endpoint set aside");
            }
        }
    }

    /// The endpoint with this index was left out and is in use again.
    pub(super) fn is_back(&self, index: usize) {
        let endpoint = self.endpoint(index);
        endpoint.begin_slow_start();
        let (upstream, endpoint) = (self.account().name(), &endpoint.address);
        tracing::info!(upstream, %endpoint, "endpoint is back in use");
    }

    /// Once a second at most, since it asks every endpoint.
    fn eject_below_mean(&self, percent: u8, now: Instant) {
        if !self.account().may_compare_rates(now) {
            return;
        }
        let rates: Vec<_> = self
            .members()
            .iter()
            .enumerate()
            .filter(|(_, member)| !member.endpoint.is_set_aside())
            .filter_map(|(index, member)| {
                let endpoint = &member.endpoint;
                Some((index, endpoint.results.success_rate(endpoint.ms(now))?))
            })
            .collect();
        let all: Vec<_> = rates.iter().map(|(_, rate)| *rate).collect();
        for (index, rate) in rates {
            if is_below_mean(rate, &all, percent) {
                self.eject(index, EjectionReason::SuccessRate, now);
            }
        }
    }
}

fn term(detection: Option<&OutlierDetection>) -> Term {
    detection.map_or_else(Term::default, |detection| Term {
        base_ms: detection.base_ejection.as_millis() as u64,
        grows: true,
    })
}

fn in_words(reason: EjectionReason) -> &'static str {
    match reason {
        EjectionReason::Connect => "connections cannot be made",
        EjectionReason::Reset => "new connections break before anything is answered",
        EjectionReason::ConsecutiveErrors => "it fails several times in a row",
        EjectionReason::SuccessRate => "it fails more often than the others",
    }
}
