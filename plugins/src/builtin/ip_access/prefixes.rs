//! The longest prefix that holds an address: prefixes are laid out as ranges that do not overlap when
//! the configuration is read, so that finding one is a binary search.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Whether a client is let in. The order decides between two equal prefixes: the later one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// It is.
    Allow,
    /// It is not.
    Deny,
}

/// Prefixes of both families.
#[derive(Debug)]
pub(super) struct Prefixes {
    v4: Ranges,
    v6: Ranges,
}

impl Prefixes {
    /// Sorts them, which for n takes O(n log n).
    pub(super) fn new(prefixes: impl IntoIterator<Item = (IpNet, Verdict)>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (prefix, verdict) in prefixes {
            match canonical(prefix) {
                IpNet::V4(prefix) => v4.push(Range {
                    first: prefix.network().to_bits().into(),
                    last: prefix.broadcast().to_bits().into(),
                    verdict,
                }),
                IpNet::V6(prefix) => v6.push(Range {
                    first: prefix.network().to_bits(),
                    last: prefix.broadcast().to_bits(),
                    verdict,
                }),
            }
        }
        Self { v4: Ranges::new(v4), v6: Ranges::new(v6) }
    }

    /// What the longest prefix that holds `address` says, in O(log n). An IPv4 address written as one of
    /// IPv6 is the IPv4 address.
    pub(super) fn find(&self, address: IpAddr) -> Option<Verdict> {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.find(address.to_bits().into()),
            IpAddr::V6(address) => self.v6.find(address.to_bits()),
        }
    }
}

/// A prefix of IPv4 addresses that are written as those of IPv6 is the IPv4 prefix.
fn canonical(prefix: IpNet) -> IpNet {
    let IpNet::V6(v6) = prefix else { return prefix };
    let mapped = v6.network().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    mapped.and_then(|(v4, length)| Ipv4Net::new(v4, length).ok()).map_or(prefix, IpNet::V4)
}

#[derive(Clone, Copy, Debug)]
struct Range {
    first: u128,
    last: u128,
    verdict: Verdict,
}

/// Where what is said changes, in order.
#[derive(Debug, Default)]
struct Ranges {
    starts: Vec<u128>,
    /// What is said from each of `starts` on.
    verdicts: Vec<Option<Verdict>>,
}

impl Ranges {
    /// `prefixes` either contain one another or have nothing in common.
    fn new(mut prefixes: Vec<Range>) -> Self {
        // The outer ones first, and of two equal ones the one that wins last.
        prefixes.sort_by_key(|range| (range.first, u128::MAX - range.last, range.verdict));
        let mut ranges = Self::default();
        let mut open: Vec<Range> = Vec::new();
        for prefix in prefixes {
            ranges.close(&mut open, Some(prefix.first));
            ranges.say(prefix.first, Some(prefix.verdict));
            open.push(prefix);
        }
        ranges.close(&mut open, None);
        ranges
    }

    /// Ends those that end before `next`, or all.
    fn close(&mut self, open: &mut Vec<Range>, next: Option<u128>) {
        while let Some(inner) = open.pop_if(|inner| next.is_none_or(|next| inner.last < next)) {
            if let Some(after) = inner.last.checked_add(1) {
                self.say(after, open.last().map(|outer| outer.verdict));
            }
        }
    }

    fn say(&mut self, start: u128, verdict: Option<Verdict>) {
        if self.starts.last() == Some(&start) {
            self.verdicts.pop();
            self.starts.pop();
        }
        self.starts.push(start);
        self.verdicts.push(verdict);
    }

    fn find(&self, address: u128) -> Option<Verdict> {
        let after = self.starts.partition_point(|start| *start <= address);
        self.verdicts[after.checked_sub(1)?]
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use ipnet::{IpNet, Ipv4Net};

    use super::{Prefixes, Verdict};

    fn prefixes(lists: &[(&str, Verdict)]) -> Prefixes {
        Prefixes::new(lists.iter().map(|(prefix, verdict)| (prefix.parse().unwrap(), *verdict)))
    }

    #[test]
    fn the_longest_prefix_decides() {
        use Verdict::{Allow, Deny};
        let prefixes = prefixes(&[
            ("10.0.0.0/8", Allow),
            ("10.1.0.0/16", Deny),
            ("10.1.2.0/24", Allow),
            ("10.1.2.255/32", Deny),
            ("10.255.255.255/32", Deny),
            ("192.0.2.0/24", Allow),
            ("192.0.2.0/24", Deny),
            ("255.255.255.255/32", Deny),
            ("2001:db8::/32", Allow),
            ("2001:db8:1::/48", Deny),
            ("::ffff:198.51.100.0/120", Deny),
        ]);
        for (address, expected) in [
            ("9.255.255.255", None),
            ("10.0.0.0", Some(Allow)),
            ("10.1.0.0", Some(Deny)),
            ("10.1.2.3", Some(Allow)),
            ("10.1.2.255", Some(Deny)),
            ("10.1.3.0", Some(Deny)),
            ("10.2.0.0", Some(Allow)),
            ("10.255.255.255", Some(Deny)),
            ("11.0.0.0", None),
            ("192.0.2.7", Some(Deny)),
            ("192.0.3.0", None),
            ("198.51.100.9", Some(Deny)),
            ("255.255.255.254", None),
            ("255.255.255.255", Some(Deny)),
            ("::ffff:10.1.2.3", Some(Allow)),
            ("2001:db8::1", Some(Allow)),
            ("2001:db8:1:ffff::1", Some(Deny)),
            ("2001:db8:2::", Some(Allow)),
            ("2001:db9::", None),
            ("::1", None),
        ] {
            assert_eq!(prefixes.find(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn everything_is_a_prefix_too() {
        let prefixes = prefixes(&[("::/0", Verdict::Deny), ("::1/128", Verdict::Allow)]);
        let find = |address: &str| prefixes.find(address.parse().unwrap());
        assert_eq!(find("::1"), Some(Verdict::Allow));
        assert_eq!(find("::2"), Some(Verdict::Deny));
        assert_eq!(find("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), Some(Verdict::Deny));
        assert_eq!(find("192.0.2.1"), None);
    }

    /// Against the definition, over prefixes that nest in each other often.
    #[test]
    fn finds_what_looking_at_each_prefix_finds() {
        let mut random = fastrand::Rng::with_seed(7);
        let nets: Vec<_> = (0..500)
            .map(|_| {
                let address = Ipv4Addr::from_bits(random.u32(0..1 << 12) << 20);
                let net = Ipv4Net::new(address, random.u8(4..=14)).unwrap().trunc();
                (net, if random.bool() { Verdict::Allow } else { Verdict::Deny })
            })
            .collect();
        let prefixes = Prefixes::new(nets.iter().map(|(net, said)| (IpNet::V4(*net), *said)));
        for _ in 0..10_000 {
            let address = Ipv4Addr::from_bits(random.u32(..));
            let holding = nets.iter().filter(|(net, _)| net.contains(&address));
            let longest = holding.max_by_key(|(net, said)| (net.prefix_len(), *said));
            let expected = longest.map(|(_, said)| *said);
            assert_eq!(prefixes.find(IpAddr::V4(address)), expected, "{address}");
        }
    }
}
