//! Addresses and networks.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

use super::Scalar;
use crate::tree::{Place, Sink};

/// An IPv4 address.
const IPV4: &str =
    "(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])[.]){3}(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])";

/// What an IPv6 address is made of.
const IPV6: &str = "[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*";

/// A port.
const PORT: &str = "(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5]?[0-9]{1,4})";

/// An IP address and a port to listen on; port 0 takes a free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address(pub SocketAddr);

/// An IP address and a port to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RemoteAddress(pub SocketAddr);

/// A prefix of IP addresses, or one address; with the address as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(pub IpNet);

/// An IP address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpAddress(pub IpAddr);

crate::scalar!(Address);
crate::scalar!(IpAddress);
crate::scalar!(RemoteAddress);
crate::scalar!(Network);

impl Scalar for Address {
    fn name() -> String {
        "Address".to_owned()
    }

    fn pattern() -> String {
        format!("^(?:{IPV4}|\\[{IPV6}(?:%[0-9]+)?\\]):{PORT}$")
    }

    fn example() -> String {
        "127.0.0.1:8080".to_owned()
    }

    fn fix() -> String {
        "write IP:PORT, such as 127.0.0.1:8080 or [::1]:8080".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| "is not an IP address and port".to_owned())
    }
}

impl Scalar for RemoteAddress {
    fn name() -> String {
        "RemoteAddress".to_owned()
    }

    fn pattern() -> String {
        format!("^(?!.*:0+$)(?:{IPV4}|\\[{IPV6}(?:%[0-9]+)?\\]):{PORT}$")
    }

    fn example() -> String {
        "192.0.2.1:8080".to_owned()
    }

    fn fix() -> String {
        Address::fix()
    }

    fn parse(text: &str) -> Result<Self, String> {
        match Address::parse(text)?.0 {
            address if address.port() == 0 => {
                Err("has port 0, which nothing listens on".to_owned())
            }
            address => Ok(Self(address)),
        }
    }
}

impl Scalar for IpAddress {
    fn name() -> String {
        "IpAddress".to_owned()
    }

    fn pattern() -> String {
        format!("^(?:{IPV4}|{IPV6})$")
    }

    fn example() -> String {
        "192.0.2.1".to_owned()
    }

    fn fix() -> String {
        "write an IP address, such as 192.0.2.1 or 2001:db8::1".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| "is not an IP address".to_owned())
    }
}

impl Network {
    /// The network that is meant, with a warning where an address within it is written, which may be a
    /// slip of either.
    pub fn resolve(self, place: &Place<'_>, sink: &mut Sink) -> IpNet {
        let Self(written) = self;
        let (network, one) = (written.trunc(), written.addr());
        if one != network.addr() {
            let what = format!("{written} is the network {network}");
            let fix = format!("write {network} for all of it, or {one} for the one address");
            place.warn(sink, what, fix);
        }
        network
    }
}

/// A network of IPv4 addresses that are written as those of IPv6 (`::ffff:10.0.0.0/104`) as that of IPv4:
/// clients are told by their IPv4 addresses.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    mapped.and_then(|(v4, length)| Ipv4Net::new(v4, length).ok()).map_or(network, IpNet::V4)
}

impl Scalar for Network {
    fn name() -> String {
        "Network".to_owned()
    }

    fn pattern() -> String {
        let v4 = format!("{IPV4}(?:/(?:3[0-2]|[12]?[0-9]))?");
        let v6 = format!("{IPV6}(?:/(?:12[0-8]|1[01][0-9]|[1-9]?[0-9]))?");
        format!("^(?:{v4}|{v6})$")
    }

    fn example() -> String {
        "10.0.0.0/8".to_owned()
    }

    fn fix() -> String {
        "write a prefix such as 10.0.0.0/8 or an address".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let network = text.parse::<IpNet>().or_else(|error| {
            text.parse::<IpAddr>().map(IpNet::from).map_err(|_| error.to_string())
        });
        network.map(canonical).map(Self)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl fmt::Display for IpAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl fmt::Display for RemoteAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}
