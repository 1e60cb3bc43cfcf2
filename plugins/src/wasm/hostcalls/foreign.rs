//! Foreign functions: those of Envoy's that make sense here.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use wasmtime::Linker;

use super::MODULE;
use crate::wasm::abi::{Fault, Status, answer};
use crate::wasm::guest::{Guest, Out, Span, copy, give};
use crate::wasm::properties;
use crate::wasm::state::State;

/// What `compress` takes and `uncompress` makes: as much as a body may be held.
const BYTES_MAX: usize = 4 << 20;

pub(super) fn define(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "proxy_call_foreign_function",
        |mut guest: Guest<'_>,
         at: u32,
         size: u32,
         data: u32,
         data_size: u32,
         out: u32,
         length: u32| {
            let (name, data) = (Span { at, size }, Span { at: data, size: data_size });
            answer(call(&mut guest, name, data, Out { at: out, size: length }))
        },
    )?;
    Ok(())
}

fn call(guest: &mut Guest<'_>, name: Span, data: Span, out: Out) -> Result<(), Fault> {
    let name = copy(guest, name)?;
    if data.size as usize > BYTES_MAX {
        return Err(Status::BadArgument.into());
    }
    let data = copy(guest, data)?;
    let result = match name.as_slice() {
        b"compress" => compress(&data)?,
        b"uncompress" => uncompress(&data)?,
        b"set_envoy_filter_state" => set_filter_state(guest.data_mut(), &data)?,
        // The route is chosen once.
        b"clear_route_cache" => Vec::new(),
        _ => return Err(Status::NotFound.into()),
    };
    give(guest, &result, out)
}

/// RFC 1950, as zlib's own function of this name.
fn compress(data: &[u8]) -> Result<Vec<u8>, Status> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).and_then(|()| encoder.finish()).map_err(|_| Status::Internal)
}

fn uncompress(data: &[u8]) -> Result<Vec<u8>, Status> {
    let mut whole = Vec::new();
    let mut decoder = ZlibDecoder::new(data).take(BYTES_MAX as u64 + 1);
    decoder.read_to_end(&mut whole).map_err(|_| Status::Serialization)?;
    if whole.len() > BYTES_MAX { Err(Status::Internal) } else { Ok(whole) }
}

/// The arguments are a message of Protocol Buffers: a path (1), a value (2) and how long it lives (3),
/// which here is always the request.
fn set_filter_state(state: &mut State, message: &[u8]) -> Result<Vec<u8>, Status> {
    let (mut path, mut value): (&[u8], &[u8]) = (&[], &[]);
    let mut rest = message;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        match tag & 7 {
            0 => drop(varint(&mut rest)?),
            2 => {
                let length =
                    usize::try_from(varint(&mut rest)?).map_err(|_| Status::Serialization)?;
                let (text, after) = rest.split_at_checked(length).ok_or(Status::Serialization)?;
                rest = after;
                match tag >> 3 {
                    1 => path = text,
                    2 => value = text,
                    _ => {}
                }
            }
            _ => return Err(Status::Serialization),
        }
    }
    if path.is_empty() {
        return Err(Status::BadArgument);
    }
    properties::set(state, &[b"filter_state\0", path].concat(), value)?;
    Ok(Vec::new())
}

fn varint(rest: &mut &[u8]) -> Result<u64, Status> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().ok_or(Status::Serialization)?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Status::Serialization)
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, Status, compress, uncompress, varint};

    #[test]
    fn what_is_compressed_is_uncompressed() {
        let data = b"sally port ".repeat(100);
        let small = compress(&data).unwrap();
        assert!(small.len() < data.len() / 4);
        assert_eq!(uncompress(&small).unwrap(), data);
        assert_eq!(uncompress(b"no zlib"), Err(Status::Serialization));
        assert_eq!(uncompress(&small[..small.len() / 2]), Err(Status::Serialization));
    }

    #[test]
    fn a_small_message_does_not_become_a_large_one() {
        let bomb = compress(&vec![0; BYTES_MAX + 1]).unwrap();
        assert_eq!(uncompress(&bomb), Err(Status::Internal));
    }

    #[test]
    fn numbers_have_an_end() {
        assert_eq!(varint(&mut [0x96, 0x01].as_slice()), Ok(150));
        assert_eq!(varint(&mut [0xff; 11].as_slice()), Err(Status::Serialization));
        assert_eq!(varint(&mut [0x80].as_slice()), Err(Status::Serialization));
    }
}
