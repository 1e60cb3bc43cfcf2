//! HTTP/2 towards clients: what they may send, how much, for how long, and how connections end.

#[path = "http2/attacks.rs"]
mod attacks;
#[path = "http2/authority.rs"]
mod authority;
#[path = "http2/client.rs"]
mod client;
#[path = "http2/deadlines.rs"]
mod deadlines;
#[path = "http2/floods.rs"]
mod floods;
#[path = "http2/h2spec.rs"]
mod h2spec;
#[path = "http2/interim.rs"]
mod interim;
#[path = "http2/messages.rs"]
mod messages;
#[path = "http2/streams.rs"]
mod streams;
#[path = "http2/trailers.rs"]
mod trailers;
#[path = "http2/unread.rs"]
mod unread;

pub(crate) use client::{with_h2, with_h2c};
pub(crate) use deadlines::{Dribble, dribble_h2, dribble_http1};
