//! The hash map all tables here are made of.
//!
//! It is apart so that the choice of hasher is made, and defended, once. foldhash with a fixed
//! seed takes a few nanoseconds where SipHash takes twenty. What SipHash buys is safety against
//! keys chosen to collide, and that needs an attacker who *inserts*: every key stored in these
//! maps was written by the operator, and a client only looks up. The worst a client can do with
//! a chosen key is to meet one bucket that is already as long as the operator's own keys made it.

pub(crate) type Map<K, V> = hashbrown::HashMap<K, V, foldhash::fast::FixedState>;
