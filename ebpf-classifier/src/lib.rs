//! Sallyport's classifier, from user space.
//!
//! [`pinned`] reads and writes the maps that a running classifier has pinned; it is all that the
//! gateway uses. The rest, behind the feature `loader`, loads the XDP program and keeps it: a
//! configuration ([`config`]) becomes tables ([`tables`]), which are put in force at one instant
//! ([`apply`]) by what holds the program and its links ([`kernel`]); [`control`] follows the file.

#[cfg(feature = "loader")]
pub mod apply;
#[cfg(feature = "loader")]
pub mod backoff;
#[cfg(feature = "loader")]
pub mod cli;
#[cfg(feature = "loader")]
pub mod config;
#[cfg(feature = "loader")]
pub mod control;
#[cfg(feature = "loader")]
pub mod kernel;
#[cfg(feature = "loader")]
pub mod metrics;
#[cfg(feature = "loader")]
pub mod names;
#[cfg(feature = "loader")]
mod parallel;
pub mod pinned;
#[cfg(feature = "loader")]
pub mod prefixes;
#[cfg(feature = "loader")]
pub mod tables;
