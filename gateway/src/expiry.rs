//! Certificates that expire soon, told in the log while there is time to renew them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::MissedTickBehavior;

use crate::live::Live;
use crate::snapshot::Snapshot;

/// Days before its end at which a certificate is told of: three weeks leave time for whoever renews
/// by hand, one for whoever has to ask somebody.
const TOLD_DAYS: [u64; 2] = [7, 21];

const DAY: Duration = Duration::from_secs(86_400);

/// Certificates that a reload brings are looked at within this time.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// A certificate as it is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expiring {
    listener: Arc<str>,
    name: String,
    serial: Box<str>,
    at: SystemTime,
}

/// Which certificates were told of, and at how many days before their end.
#[derive(Debug, Default)]
struct Told(HashSet<(Arc<str>, Box<str>, u64)>);

/// Looks at the certificates in force for as long as the process runs.
pub async fn watch(live: Arc<Live>) {
    let mut told = Told::default();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let certificates = certificates(&live.current());
        for (certificate, days) in told.news(&certificates, SystemTime::now()) {
            let Expiring { listener, name, at, .. } = certificate;
            let at = sallyport_tls::utc(at);
            tracing::warn!(%listener, %name, %at, "a certificate expires in {days} days");
        }
    }
}

fn certificates(snapshot: &Snapshot) -> Vec<Expiring> {
    let mut found = Vec::new();
    let listeners = snapshot.listeners.iter().enumerate();
    let served = listeners.filter_map(|(index, it)| Some((it.name.clone(), snapshot.tls(index)?)));
    let admin = snapshot.admin_tls().map(|tls| ("admin".into(), &**tls));
    for (listener, tls) in served.chain(admin) {
        for (_, pair) in tls.certificates() {
            let name = pair.names.first().map(ToString::to_string).unwrap_or_default();
            let (listener, serial) = (listener.clone(), pair.serial.clone());
            found.push(Expiring { listener, name, serial, at: pair.not_after });
        }
    }
    found
}

impl Told {
    /// Those of `certificates` that are to be told of at `now`, with the days that are left.
    fn news(&mut self, certificates: &[Expiring], now: SystemTime) -> Vec<(Expiring, u64)> {
        let mut news = Vec::new();
        for certificate in certificates {
            let left = certificate.at.duration_since(now).unwrap_or_default();
            let Some(days) = TOLD_DAYS.into_iter().find(|days| left <= DAY * *days as u32) else {
                continue;
            };
            let Expiring { listener, serial, .. } = certificate;
            if self.0.insert((listener.clone(), serial.clone(), days)) {
                news.push((certificate.clone(), left.as_secs() / DAY.as_secs()));
            }
        }
        self.0.retain(|(listener, serial, _)| {
            certificates.iter().any(|it| it.listener == *listener && it.serial == *serial)
        });
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_of_three_weeks_and_one_before_its_end() {
        let now = SystemTime::now();
        let certificate = Expiring {
            listener: "web".into(),
            name: "a.example".into(),
            serial: "01".into(),
            at: now + DAY * 30,
        };
        let all = [certificate.clone()];
        let mut told = Told::default();
        let mut days = |after: u32| {
            told.news(&all, now + DAY * after).into_iter().map(|(_, days)| days).collect::<Vec<_>>()
        };
        assert_eq!(days(8), [0; 0]);
        assert_eq!(days(9), [21]);
        assert_eq!(days(10), [0; 0]);
        assert_eq!(days(23), [7]);
        assert_eq!(days(29), [0; 0]);
        assert_eq!(days(31), [0; 0]);
        // A restart is told at once, and so is a new certificate.
        assert_eq!(Told::default().news(&all, now + DAY * 31).len(), 1);
        let renewed = [Expiring { serial: "02".into(), ..certificate }];
        assert_eq!(told.news(&renewed, now + DAY * 28).len(), 1);
        assert_eq!(told.0.len(), 1);
    }
}
