//! HTTP/1.1 as bytes: what a request head may be, and where a chunked body ends.
//!
//! State machines that are given bytes as they come and know nothing of sockets, runtimes, Pingora or the
//! configuration, so that they are tested by their bytes alone. [`HeadCheck`] takes a head; [`Chunks`] follows
//! the body after it. Both refuse whatever could be read in two ways (RFC 9112): a gateway and an origin that
//! read one message differently are how requests are smuggled.
//!
//! Reading responses and writing messages are not here: Pingora does both.
//!
//! ```
//! use sallyport_http1::{Chunks, Framing, HeadCheck, HeadLimits, Refusal};
//!
//! let limits = HeadLimits { bytes: 1 << 16, fields: 100 };
//! let request = b"POST /cart HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
//! let head = HeadCheck::default().advance(request, limits)?.expect("the head is whole");
//! assert_eq!(head.framing, Framing::Chunked);
//!
//! let mut body = Chunks::default();
//! assert_eq!(body.advance(&request[head.bytes..]), Ok(15));
//! assert!(body.is_done());
//! # Ok::<(), Refusal>(())
//! ```

mod chunks;
pub mod head;

pub use self::chunks::Chunks;
pub use self::head::{Framing, Head, HeadCheck, HeadLimits, Refusal};
