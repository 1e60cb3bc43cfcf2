//! HTTP/1.1 as bytes: what the head of a message may be, where its body ends, and how a body is framed.
//!
//! State machines that are given bytes as they come and know nothing of sockets, runtimes, Pingora or the
//! configuration, so that they are tested by their bytes alone. [`HeadCheck`] takes the head of a request,
//! [`ResponseReader`] what an origin answers; [`Body`] follows a body and [`BodyWriter`] frames one. All of them
//! refuse whatever could be read in two ways (RFC 9112): a gateway and an origin that read one message differently
//! are how requests are smuggled.
//!
//! Maps of fields and the writing of heads are not here: what a field means is decided by whoever has them.
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

mod body;
mod chunks;
mod fields;
pub mod head;
mod reader;
mod response;

pub use self::body::{Body, BodyWriter, Cut, Frame, LAST_CHUNK, Piece, SizeLine};
pub use self::chunks::Chunks;
pub use self::fields::{Field, Fields, fields, written_name};
pub use self::head::{Framing, Head, HeadCheck, HeadLimits, Refusal, Version};
pub use self::reader::{ResponseEvent, ResponseReader};
pub use self::response::{Malformed, ResponseCheck, ResponseHead};
