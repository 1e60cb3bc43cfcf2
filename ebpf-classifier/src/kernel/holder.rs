//! Somebody else's program where ours should be: what to tell an operator about it.

use std::fmt;

use aya::programs::loaded_programs;

use super::interface::{self, Holder};
use super::link::Attachment;

/// The name that libxdp gives to the program that calls several others.
const DISPATCHER: &str = "xdp_dispatcher";

/// An XDP program of somebody else's on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreigner {
    interface: Box<str>,
    mode: Attachment,
    program: u32,
    /// Its name and tag, which only `CAP_SYS_ADMIN` is told.
    name: Option<(String, u64)>,
}

impl Foreigner {
    /// The program on the interface; `None` if there is none, or the kernel does not say.
    pub(super) fn find(name: &str, ifindex: u32) -> Option<Self> {
        let holder = interface::holder(ifindex).ok().flatten()?;
        let mut programs = loaded_programs().map_while(Result::ok);
        let found = programs.find(|program| program.id() == holder.program);
        let called = found
            .map(|found| (found.name_as_str().unwrap_or("without a name").to_owned(), found.tag()));
        let Holder { mode, program } = holder;
        Some(Self { interface: name.into(), mode, program, name: called })
    }
}

impl fmt::Display for Foreigner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, mode, program, name } = self;
        write!(out, "interface {interface} has another XDP program in {mode} mode, id {program}")?;
        match name {
            Some((name, tag)) => write!(out, " (`{name}`, tag {:016x})", tag)?,
            None => write!(out, " (`bpftool prog show id {program}` names it)")?,
        }
        out.write_str(", and only one can be there: ")?;
        if name.as_ref().is_some_and(|(name, _)| name == DISPATCHER) {
            return write!(
                out,
                "it is libxdp's dispatcher, which this program does not join: libxdp fixes the number \
                 of its programs when it loads it; `xdp-loader unload {interface} --all` takes it off \
                 with them; or leave {interface} out of `interfaces`"
            );
        }
        let off = match mode {
            Attachment::Native => "xdpdrv",
            Attachment::Generic => "xdpgeneric",
        };
        write!(
            out,
            "take it off with `ip link set dev {interface} {off} off`, or, where a link holds it, by \
             ending its owner (`bpftool link show`); or leave {interface} out of `interfaces`"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_to_proceed() {
        let foreigner = |name: Option<&str>| Foreigner {
            interface: "eth0".into(),
            mode: Attachment::Generic,
            program: 42,
            name: name.map(|name| (name.to_owned(), 0x0102)),
        };
        let unnamed = foreigner(None).to_string();
        assert!(unnamed.contains("id 42 (`bpftool prog show id 42` names it)"), "{unnamed}");
        assert!(unnamed.contains("`ip link set dev eth0 xdpgeneric off`"), "{unnamed}");
        let named = foreigner(Some("fw")).to_string();
        assert!(named.contains("(`fw`, tag 0000000000000102)"), "{named}");
        let dispatcher = foreigner(Some(DISPATCHER)).to_string();
        assert!(
            dispatcher.contains("dispatcher, which this program does not join"),
            "{dispatcher}"
        );
        assert!(dispatcher.contains("`xdp-loader unload eth0 --all`"), "{dispatcher}");
    }
}
