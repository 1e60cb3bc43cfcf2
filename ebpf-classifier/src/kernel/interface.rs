//! What the kernel says of an interface: its index, and the XDP program on it.
//!
//! A few bytes of rtnetlink, read by hand: it is the only place that says in which mode a program
//! is attached, and it needs no privilege.

use std::io;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, netdevice};

use super::link::Attachment;

const RTM_GETLINK: u16 = 18;
const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;
/// `XDP_ATTACHED_SKB` and `XDP_ATTACHED_MULTI`.
const ATTACHED_SKB: u8 = 2;
const ATTACHED_MULTI: u8 = 4;
/// Both the header of a message and that of a link are as long.
const HEADER_BYTES: usize = 16;

/// The index of the interface `name`; `None` if there is none.
///
/// # Errors
/// What the kernel says.
pub fn index(name: &str) -> io::Result<Option<u32>> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
    match netdevice::name_to_index(socket, name) {
        Ok(index) => Ok(Some(index)),
        Err(rustix::io::Errno::NODEV) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// How it is attached.
    pub mode: Attachment,
    /// The kernel's number for it; 0 where the kernel does not say.
    pub program: u32,
}

/// The XDP program on the interface; `None` if there is none.
///
/// # Errors
/// What the kernel says.
pub fn holder(ifindex: u32) -> io::Result<Option<Holder>> {
    let link = link(ifindex)?;
    let xdp = attribute(link.get(2 * HEADER_BYTES..).unwrap_or_default(), IFLA_XDP);
    let xdp = xdp.unwrap_or_default();
    let (mode, kind) = match attribute(xdp, IFLA_XDP_ATTACHED).and_then(<[u8]>::first) {
        None | Some(0) => return Ok(None),
        Some(&ATTACHED_SKB) => (Attachment::Generic, IFLA_XDP_SKB_PROG_ID),
        // Beside a program in the card, one in the driver.
        Some(&ATTACHED_MULTI) => (Attachment::Native, IFLA_XDP_DRV_PROG_ID),
        Some(_) => (Attachment::Native, IFLA_XDP_PROG_ID),
    };
    let program = attribute(xdp, kind).and_then(|id| Some(u32::from_ne_bytes(id.try_into().ok()?)));
    Ok(Some(Holder { mode, program: program.unwrap_or_default() }))
}

/// Whether the interface is an end of a veth pair.
///
/// # Errors
/// What the kernel says.
pub fn is_veth(ifindex: u32) -> io::Result<bool> {
    let link = link(ifindex)?;
    let info = attribute(link.get(2 * HEADER_BYTES..).unwrap_or_default(), IFLA_LINKINFO);
    let kind = attribute(info.unwrap_or_default(), IFLA_INFO_KIND).unwrap_or_default();
    Ok(kind.strip_suffix(b"\0").unwrap_or(kind) == b"veth")
}

/// Whether frames of the interface begin with an Ethernet header. Those of tun, `WireGuard` and IP
/// tunnels do not.
///
/// # Errors
/// What the kernel says.
pub fn has_ethernet(ifindex: u32) -> io::Result<bool> {
    let link = link(ifindex)?;
    Ok(matches!(u16_at(&link, HEADER_BYTES + 2), Some(ARPHRD_ETHER | ARPHRD_LOOPBACK)))
}

/// What rtnetlink says of the interface.
fn link(ifindex: u32) -> io::Result<Vec<u8>> {
    // Netlink's protocol 0 is rtnetlink.
    let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    rustix::net::send(&socket, &request(ifindex), SendFlags::empty())?;
    // A link with many virtual functions is some kilobytes long.
    let mut answer = vec![0; 64 << 10];
    let (bytes, _) = rustix::net::recv(&socket, answer.as_mut_slice(), RecvFlags::empty())?;
    answer.truncate(bytes);
    if u16_at(&answer, 4) != Some(RTM_NEWLINK) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(answer)
}

fn request(ifindex: u32) -> [u8; 2 * HEADER_BYTES] {
    let mut request = [0; 2 * HEADER_BYTES];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(field) = request.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    };
    put(0, &(2 * HEADER_BYTES as u32).to_ne_bytes());
    put(4, &RTM_GETLINK.to_ne_bytes());
    put(6, &NLM_F_REQUEST.to_ne_bytes());
    put(HEADER_BYTES + 4, &ifindex.to_ne_bytes());
    request
}

/// The value of the first attribute of this kind.
fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let bytes = usize::from(u16_at(attributes, 0)?).max(4);
        // The two highest bits say how the value is written.
        if u16_at(attributes, 2)? & 0x3fff == kind {
            return attributes.get(4..bytes);
        }
        attributes = attributes.get(bytes.next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_interfaces_by_name() {
        assert!(index("lo").unwrap().is_some_and(|index| index > 0));
        assert_eq!(index("no-such-thing").unwrap(), None);
        assert_eq!(holder(index("lo").unwrap().unwrap()).unwrap(), None);
        assert!(holder(u32::MAX >> 1).is_err());
        assert!(!is_veth(index("lo").unwrap().unwrap()).unwrap());
        assert!(has_ethernet(index("lo").unwrap().unwrap()).unwrap());
    }

    #[test]
    fn attributes_that_lie_about_their_length_end_the_search() {
        let mut bytes = [0; 12];
        bytes[0] = 200;
        assert_eq!(attribute(&bytes, 5), None);
        assert_eq!(attribute(&[0; 12], 5), None);
        bytes[..8].copy_from_slice(&[5, 0, 5, 0, 7, 0, 0, 0]);
        assert_eq!(attribute(&bytes, 5), Some([7].as_slice()));
    }
}
