//! A guest's memory, as functions of the host read and write it.

use wasmtime::Caller;

use super::abi::{Fault, Status};
use super::state::State;

/// A guest that calls the host.
pub(super) type Guest<'a> = Caller<'a, State>;

/// A place in a guest's memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) at: u32,
    pub(super) size: u32,
}

/// Two places in a guest's memory where a result's address and size go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    pub(super) at: u32,
    pub(super) size: u32,
}

impl Span {
    /// The bytes there.
    ///
    /// # Errors
    /// [`Status::BadMemory`].
    pub(super) fn of(self, memory: &[u8]) -> Result<&[u8], Status> {
        let at = self.at as usize;
        memory.get(at..at + self.size as usize).ok_or(Status::BadMemory)
    }
}

/// The guest's memory beside what the host keeps for it.
///
/// # Errors
/// [`Status::BadMemory`] while it has none.
pub(super) fn split<'g>(guest: &'g mut Guest<'_>) -> Result<(&'g mut [u8], &'g mut State), Status> {
    let memory = guest.data().memory.ok_or(Status::BadMemory)?;
    Ok(memory.data_and_store_mut(guest))
}

/// A copy of the bytes at a place, for what outlives the call or needs the guest meanwhile.
///
/// # Errors
/// [`Status::BadMemory`].
pub(super) fn copy(guest: &mut Guest<'_>, span: Span) -> Result<Vec<u8>, Status> {
    let (memory, _) = split(guest)?;
    Ok(span.of(memory)?.to_vec())
}

/// Writes `bytes` at a place.
///
/// # Errors
/// [`Status::BadMemory`].
pub(super) fn write(memory: &mut [u8], at: u32, bytes: &[u8]) -> Result<(), Status> {
    let at = at as usize;
    let room = memory.get_mut(at..at + bytes.len()).ok_or(Status::BadMemory)?;
    room.copy_from_slice(bytes);
    Ok(())
}

/// Writes a number at a place.
///
/// # Errors
/// [`Status::BadMemory`].
pub(super) fn write_number(guest: &mut Guest<'_>, at: u32, number: u32) -> Result<(), Status> {
    let (memory, _) = split(guest)?;
    write(memory, at, &number.to_le_bytes())
}

/// Lets the guest make room for `size` bytes and tells it there; returns the place.
///
/// # Errors
/// [`Status::BadMemory`], [`Status::Internal`] where the guest has no room, and what the guest ends
/// with.
pub(super) fn room(guest: &mut Guest<'_>, size: usize, out: Out) -> Result<u32, Fault> {
    let size = u32::try_from(size).map_err(|_| Status::Internal)?;
    let allocate = guest.data().allocate.clone().ok_or(Status::Internal)?;
    let at = allocate.call(&mut *guest, size)?;
    if at == 0 {
        return Err(Status::Internal.into());
    }
    let (memory, _) = split(guest)?;
    write(memory, out.at, &at.to_le_bytes())?;
    write(memory, out.size, &size.to_le_bytes())?;
    Ok(at)
}

/// Gives the guest `bytes`. Nothing is given as no address, for which no room is asked.
///
/// # Errors
/// As [`room`].
pub(super) fn give(guest: &mut Guest<'_>, bytes: &[u8], out: Out) -> Result<(), Fault> {
    if bytes.is_empty() {
        write_number(guest, out.at, 0)?;
        return Ok(write_number(guest, out.size, 0)?);
    }
    let at = room(guest, bytes.len(), out)?;
    let (memory, _) = split(guest)?;
    Ok(write(memory, at, bytes)?)
}
