//! Certificates that are issued and renewed in the background.
//!
//! One task looks at what the configuration in force asks for, has it issued where it is missing or
//! old, and writes it to the account's folder. The files there are watched as all others are, so
//! that a new certificate comes into force by a reload, on every gateway that shares the folder.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sallyport_stats::{Issuance, Registry};
use sallyport_tls::{AcmeAccount, Pair, RenewalAdvice};

use crate::config::Certificate;
use crate::live::Live;
use crate::snapshot::Snapshot;

/// How often the configuration in force is looked at: what is looked at is in memory.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the authority is asked when to renew, where it does not say how often itself.
const ADVICE_EVERY: Duration = Duration::from_secs(6 * 3600);
/// Bounds of what it says: RFC 9773 (4.3) recommends a minute and a day.
const ADVICE_EVERY_MIN: Duration = Duration::from_secs(60);
const ADVICE_EVERY_MAX: Duration = Duration::from_secs(24 * 3600);

/// The wait after the first failure; it doubles with each. Authorities allow five failures an hour
/// for a name, and a mistake in DNS takes people minutes to mend.
const BACK_OFF: Duration = Duration::from_secs(10);
const BACK_OFF_MAX: Duration = Duration::from_secs(3600);

/// How long a certificate that was issued may take to come into force.
const SETTLED: Duration = Duration::from_secs(30);

/// A certificate that an authority is to issue.
#[derive(Clone, Debug)]
struct Wanted {
    account: Arc<AcmeAccount>,
    domains: Vec<String>,
    /// The one there is.
    pair: Option<Arc<Pair>>,
}

/// What was tried for one certificate.
#[derive(Clone, Debug, Default)]
struct Tried {
    /// In a row, until now.
    failures: u32,
    issued: u64,
    failed: u64,
    /// Why it failed the last time, until it succeeds.
    error: Option<String>,
    not_before: Option<Instant>,
    /// When the authority is asked when to renew.
    ask_at: Option<Instant>,
    advised: Option<Advised>,
}

/// What the authority said when it was last asked, and what follows of it.
#[derive(Clone, Debug)]
struct Advised {
    advice: RenewalAdvice,
    /// A moment in the window, drawn once for it, so that gateways and certificates are spread.
    at: SystemTime,
}

/// A certificate that an authority issues, as people are shown it.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The account with the authority.
    pub account: Box<str>,
    /// What it is for.
    pub domains: Vec<String>,
    /// Until when the one there is holds; `None` where one of the gateway's own stands in.
    pub not_after: Option<SystemTime>,
    /// When it is going to be renewed.
    pub renewal: Option<SystemTime>,
    /// How often in a row it was not issued.
    pub failures: u32,
    /// Why, the last time.
    pub error: Option<String>,
    /// How long nothing is tried.
    pub next_try: Duration,
}

/// What became of each certificate.
#[derive(Debug, Default)]
pub struct Issuances(Mutex<Vec<Issued>>);

impl Issuances {
    /// Of every certificate that the configuration in force asks an authority for.
    #[must_use]
    pub fn all(&self) -> Vec<Issued> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn publish(&self, all: &[Wanted], tried: &HashMap<PathBuf, Tried>, registry: &Registry) {
        let of = |wanted: &Wanted| tried.get(&wanted.account.file(&wanted.domains)).cloned();
        let each: Vec<_> = all.iter().map(|it| (it, of(it).unwrap_or_default())).collect();
        registry.issuances(each.iter().map(|(wanted, tried)| figures(wanted, tried)).collect());
        let issued = each.iter().map(|(wanted, tried)| Issued::of(wanted, tried)).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = issued;
    }
}

impl Issued {
    fn of(wanted: &Wanted, tried: &Tried) -> Self {
        let pair = wanted.pair.as_ref();
        let left = |at: Instant| at.saturating_duration_since(Instant::now());
        Self {
            account: wanted.account.name.clone(),
            domains: wanted.domains.clone(),
            not_after: pair.map(|pair| pair.not_after),
            renewal: pair.map(|pair| tried.renew_at(pair)),
            failures: tried.failures,
            error: tried.error.clone(),
            next_try: tried.not_before.map_or(Duration::ZERO, left),
        }
    }
}

fn figures(wanted: &Wanted, tried: &Tried) -> Issuance {
    let unix_s = |at: SystemTime| at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Issuance {
        account: wanted.account.name.to_string(),
        domain: wanted.domains.first().cloned().unwrap_or_default(),
        issued: tried.issued,
        failed: tried.failed,
        failing: tried.failures,
        renewal_unix_s: wanted.pair.as_ref().map(|pair| unix_s(tried.renew_at(pair))),
    }
}

/// Keeps the certificates of the configuration in force issued, for as long as the process runs.
pub async fn run(live: Arc<Live>, issuances: Arc<Issuances>, registry: Arc<Registry>) {
    let mut tried: HashMap<PathBuf, Tried> = HashMap::new();
    loop {
        let all = wanted(&live.current());
        tried.retain(|file, _| all.iter().any(|it| it.account.file(&it.domains) == *file));
        issuances.publish(&all, &tried, &registry);
        for wanted in &all {
            let of = tried.entry(wanted.account.file(&wanted.domains)).or_default();
            look_after(wanted, of).await;
            // One that waits for its authority does not keep what became of the others to itself.
            issuances.publish(&all, &tried, &registry);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn wanted(snapshot: &Snapshot) -> Vec<Wanted> {
    let tls = (0..snapshot.listeners.len()).filter_map(|index| snapshot.tls(index));
    let certificates = tls.flat_map(|tls| tls.certificates());
    let wanted = certificates.filter_map(|(certificate, _)| match certificate {
        Certificate::Acme { account, domains, pair } => {
            Some(Wanted { account: account.clone(), domains: domains.clone(), pair: pair.clone() })
        }
        _ => None,
    });
    wanted.collect()
}

async fn look_after(wanted: &Wanted, tried: &mut Tried) {
    let now = Instant::now();
    if tried.not_before.is_some_and(|not_before| now < not_before) {
        return;
    }
    if let Some(pair) = &wanted.pair {
        if tried.ask_at.is_none_or(|at| now >= at) {
            ask_for_advice(wanted, pair, tried).await;
        }
        if SystemTime::now() < tried.renew_at(pair) {
            return;
        }
    }
    let domains = wanted.domains.join(",");
    let account = &wanted.account.name;
    match issue(wanted, tried.advised.is_some()).await {
        Ok(true) => {
            tracing::info!(%account, %domains, "a certificate was issued");
            let (issued, failed) = (tried.issued + 1, tried.failed);
            let not_before = Some(Instant::now() + SETTLED);
            // An authority that wants even the new one renewed must not be asked on and on.
            let ask_at = tried.advised.as_ref().map(|_| Instant::now() + ADVICE_EVERY);
            *tried = Tried { issued, failed, not_before, ask_at, ..Tried::default() };
        }
        // Another gateway does it, and what it gets is for all.
        Ok(false) => tried.not_before = Some(Instant::now() + BACK_OFF),
        Err(error) => {
            tried.failures += 1;
            tried.failed += 1;
            tried.error = Some(error.to_string());
            let wait = back_off(tried.failures, fastrand::f64());
            tried.not_before = Some(Instant::now() + wait);
            let again_in_s = wait.as_secs();
            tracing::error!(%account, %domains, %error, again_in_s, "no certificate was issued");
        }
    }
}

/// Asks the authority when to renew `pair`. What it said before holds while it cannot be asked.
async fn ask_for_advice(wanted: &Wanted, pair: &Pair, tried: &mut Tried) {
    let mut every = ADVICE_EVERY;
    match wanted.account.renewal_advice(pair).await {
        Ok(Some(advice)) => {
            every = advice.ask_again.clamp(ADVICE_EVERY_MIN, ADVICE_EVERY_MAX);
            tried.heed(advice, fastrand::f64(), &wanted.account.name, &wanted.domains);
        }
        Ok(None) => tried.advised = None,
        Err(error) => {
            let (account, domains) = (&wanted.account.name, wanted.domains.join(","));
            tracing::debug!(%account, %domains, %error, "the authority does not say when to renew");
        }
    }
    tried.ask_at = Some(Instant::now() + every);
}

impl Tried {
    /// Draws a moment in the window of `advice` by `draw`, which is below 1, unless that is the
    /// window known already.
    fn heed(&mut self, advice: RenewalAdvice, draw: f64, account: &str, domains: &[String]) {
        let window = |advice: &RenewalAdvice| (advice.from, advice.until);
        if let Some(known) = &self.advised
            && window(&known.advice) == window(&advice)
        {
            return;
        }
        let width = advice.until.duration_since(advice.from).unwrap_or_default();
        let at = advice.from + width.mul_f64(draw);
        let (domains, why) = (domains.join(","), advice.explanation.as_deref().unwrap_or("-"));
        let at_unix_s = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        tracing::info!(%account, %domains, at_unix_s, %why, "the authority says when to renew");
        self.advised = Some(Advised { advice, at });
    }

    /// When `pair` is to be renewed: when the authority advises to, else at two thirds of its life.
    /// Nobody's advice has it served until it expires: a tenth of its life is for mishaps.
    fn renew_at(&self, pair: &Pair) -> SystemTime {
        let life = pair.not_after.duration_since(pair.not_before).unwrap_or_default();
        let latest = pair.not_before + life * 9 / 10;
        let usual = pair.not_before + life * 2 / 3;
        self.advised.as_ref().map_or(usual, |advised| advised.at.min(latest))
    }
}

/// Issues what is wanted, by `replaces` as a replacement of what there is. Returns whether it was this
/// gateway's turn.
async fn issue(wanted: &Wanted, replaces: bool) -> Result<bool, sallyport_tls::AcmeError> {
    let Some(_lock) = wanted.account.lock()? else { return Ok(false) };
    let replaced = wanted.pair.as_deref().filter(|_| replaces);
    wanted.account.issue(&wanted.domains, replaced).await?;
    Ok(true)
}

/// The wait after `failures` in a row. `draw`, below 1, spreads gateways that failed together.
fn back_off(failures: u32, draw: f64) -> Duration {
    let doubled = BACK_OFF.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(BACK_OFF_MAX).mul_f64(0.75 + draw / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_an_hour_and_are_spread() {
        let seconds = |failures, draw| back_off(failures, draw).as_secs_f64();
        assert_eq!((seconds(1, 0.0), seconds(1, 0.5), seconds(3, 0.5)), (7.5, 10.0, 40.0));
        assert_eq!((seconds(20, 0.5), seconds(u32::MAX, 0.5)), (3600.0, 3600.0));
    }

    /// A certificate that is new and lives for 90 days.
    fn pair(now: SystemTime) -> Pair {
        let provider = sallyport_tls::provider();
        let made = sallyport_tls::self_signed(&["a.example".into()], now, &provider).unwrap();
        Pair { not_before: now, not_after: now + 90 * DAY, ..made }
    }

    const DAY: Duration = Duration::from_secs(86_400);

    fn advice(from: SystemTime, until: SystemTime) -> RenewalAdvice {
        RenewalAdvice { from, until, ask_again: ADVICE_EVERY, explanation: None }
    }

    #[test]
    fn renewal_is_at_two_thirds_of_a_life_or_when_the_authority_advises_to() {
        let now = SystemTime::now();
        let pair = pair(now);
        let advised = |from: u32, until: u32, draw| {
            let mut tried = Tried::default();
            tried.heed(advice(now + from * DAY, now + until * DAY), draw, "le", &[]);
            tried.renew_at(&pair)
        };
        assert_eq!(Tried::default().renew_at(&pair), now + 60 * DAY);
        assert_eq!(advised(10, 12, 0.0), now + 10 * DAY);
        assert_eq!(advised(10, 12, 0.5), now + 11 * DAY);
        assert_eq!(advised(70, 72, 0.5), now + 71 * DAY);
        // Not so late that a mishap leaves nothing to serve.
        assert_eq!(advised(89, 91, 0.5), now + 81 * DAY);
    }

    #[test]
    fn a_moment_is_drawn_once_for_a_window() {
        let now = SystemTime::now();
        let pair = pair(now);
        let mut tried = Tried::default();
        for draw in [0.25, 0.75] {
            tried.heed(advice(now, now + 4 * DAY), draw, "le", &[]);
            assert_eq!(tried.renew_at(&pair), now + DAY);
        }
        tried.heed(advice(now, now + 8 * DAY), 0.5, "le", &[]);
        assert_eq!(tried.renew_at(&pair), now + 4 * DAY);
    }
}
