//! Frames between an old and a new process: a length, a message in JSON, and with the first byte of
//! some a descriptor.
//!
//! JSON, since the two are different versions: what one does not know is passed over by the other.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use super::state::StatePart;

/// The largest message: a reason is a few lines.
const MESSAGE_BYTES_MAX: u32 = 64 << 10;

/// How long the rest of a frame may take that has begun. Whoever sends it may have to wait for a CPU.
const FRAME_PATIENCE: Duration = Duration::from_secs(30);

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Frame {
    /// A listening socket comes with it.
    Socket(SocketName),
    /// A part of what the new process goes on from.
    State(StatePart),
    /// Those were all.
    End,
    /// The new process serves.
    Ready,
    /// It does not, for this reason.
    Failed(String),
    /// What this version does not know.
    #[serde(skip)]
    Unknown,
}

/// Which listening socket it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketName {
    /// The listener's name; `admin` with `is_admin` is the admin listener.
    pub listener: String,
    /// Whether it is the admin listener's.
    pub is_admin: bool,
    /// The address as the file has it, where the port may be 0.
    pub configured: String,
    /// The address that it is bound to.
    pub bound: String,
}

/// Sends `frame`, and `descriptor` with it.
pub(super) fn send(
    mut stream: &UnixStream,
    frame: &Frame,
    descriptor: Option<&OwnedFd>,
) -> io::Result<()> {
    let message = serde_json::to_vec(frame)?;
    let length = u32::try_from(message.len()).map_err(io::Error::other)?.to_be_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<_> = descriptor.iter().map(|descriptor| descriptor.as_fd()).collect();
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    // A peer that is gone is an error, and no signal.
    let flags = SendFlags::NOSIGNAL;
    let sent = sendmsg(stream, &[IoSlice::new(&length)], &mut ancillary, flags)?;
    stream.write_all(&length[sent..])?;
    stream.write_all(&message)
}

/// The next frame and the descriptor that came with it; `None` at the end of the stream.
///
/// # Errors
/// As reading; a timeout before the first byte of a frame leaves the stream as it was.
pub(super) fn receive(stream: &UnixStream) -> io::Result<Option<(Frame, Option<OwnedFd>)>> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut length)];
    let read = recvmsg(stream, into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes;
    if read == 0 {
        return Ok(None);
    }
    let mut descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let descriptor = descriptors.next();
    read_rest(stream, &mut length[read..])?;
    let length = u32::from_be_bytes(length);
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
    }
    let mut message = vec![0; length as usize];
    read_rest(stream, &mut message)?;
    let message: serde_json::Value = serde_json::from_slice(&message)?;
    Ok(Some((Frame::deserialize(message).unwrap_or(Frame::Unknown), descriptor)))
}

/// Fills `rest` with what follows in a frame, whatever the read timeout of the stream: to give up in
/// the middle of one would be to take its rest for another.
fn read_rest(mut stream: &UnixStream, rest: &mut [u8]) -> io::Result<()> {
    let deadline = Instant::now() + FRAME_PATIENCE;
    let mut filled = 0;
    while filled < rest.len() {
        match stream.read(&mut rest[filled..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn name(listener: &str) -> SocketName {
        SocketName {
            listener: listener.into(),
            is_admin: false,
            configured: "127.0.0.1:0".into(),
            bound: "127.0.0.1:1".into(),
        }
    }

    #[test]
    fn each_descriptor_comes_with_its_frame() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let sockets: Vec<_> = (0..100).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<_> = sockets.iter().map(|it| it.local_addr().unwrap()).collect();
        let sender = std::thread::spawn(move || {
            for (index, socket) in sockets.into_iter().enumerate() {
                let frame = Frame::Socket(name(&index.to_string()));
                send(&ours, &frame, Some(&socket.into())).unwrap();
            }
            send(&ours, &Frame::End, None).unwrap();
        });
        for (index, address) in addresses.iter().enumerate() {
            let (frame, descriptor) = receive(&theirs).unwrap().unwrap();
            assert_eq!(frame, Frame::Socket(name(&index.to_string())));
            let socket = TcpListener::from(descriptor.unwrap());
            assert_eq!(socket.local_addr().unwrap(), *address);
        }
        assert!(matches!(receive(&theirs).unwrap().unwrap(), (Frame::End, None)));
        sender.join().unwrap();
        assert!(receive(&theirs).unwrap().is_none());
    }

    #[test]
    fn a_frame_may_pause_longer_than_its_reader_looks_at_other_things() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let look_every = Duration::from_millis(1);
        theirs.set_read_timeout(Some(look_every)).unwrap();
        let error = receive(&theirs).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "nothing has begun");
        let message = serde_json::to_vec(&Frame::Ready).unwrap();
        let bytes = [&(message.len() as u32).to_be_bytes()[..], &message].concat();
        let sender = std::thread::spawn(move || {
            for byte in bytes {
                std::thread::sleep(look_every * 3);
                ours.write_all(&[byte]).unwrap();
            }
        });
        let frame = loop {
            match receive(&theirs) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => break other.unwrap().unwrap().0,
            }
        };
        assert_eq!(frame, Frame::Ready);
        sender.join().unwrap();
    }

    #[test]
    fn what_only_another_version_knows_is_passed_over() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let messages: [&[u8]; 3] =
            [br#"{"later":{"a":1}}"#, br#"{"state":{"later":[]}}"#, br#""later""#];
        for message in messages {
            ours.write_all(&(message.len() as u32).to_be_bytes()).unwrap();
            ours.write_all(message).unwrap();
            assert!(matches!(receive(&theirs).unwrap().unwrap(), (Frame::Unknown, None)));
        }
        send(&ours, &Frame::Ready, None).unwrap();
        assert_eq!(receive(&theirs).unwrap().unwrap().0, Frame::Ready);
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for bytes in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\x05hello", b"\0\0\0\x05he", b"\0"] {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            ours.write_all(bytes).unwrap();
            drop(ours);
            assert!(receive(&theirs).is_err(), "{bytes:?}");
        }
    }
}
