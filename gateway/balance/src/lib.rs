//! Which endpoint of an upstream a request goes to.
//!
//! This crate owns the load-balancing algorithms: smooth weighted round robin, least request, random, ring
//! hash and Maglev. They are apart from the gateway because each is arithmetic over a list of endpoints that
//! can be tested and measured alone. It deliberately knows nothing of configuration files, of connections or
//! of how health is found out: what is known of the endpoints at the moment of choosing comes in through a
//! [`View`], and what goes out is an index. The one module that names Pingora, `pingora`, is behind the
//! feature of that name.
//!
//! Beside them stands what else is arithmetic about requests to endpoints: a [`FairQueue`] for those that wait, a
//! [`RetryBudget`], the time to wait before a retry, and [`outlier`] detection.
//!
//! A [`Balancer`] never changes after it is built, apart from the cursor of round robin; a changed list of
//! endpoints means a new one. It is shared between workers without a lock.
//!
//! ```
//! use sallyport_balance::{Balancer, Endpoint, MAGLEV_TABLE_SIZE, Policy, View, hash_key};
//!
//! /// Endpoints this request has tried already.
//! struct Tried(Vec<usize>);
//!
//! impl View for Tried {
//!     fn usable(&self, endpoint: usize) -> bool {
//!         !self.0.contains(&endpoint)
//!     }
//! }
//!
//! let endpoints = ["10.0.0.1:80", "10.0.0.2:80"]
//!     .map(|address| Endpoint { address: address.parse().expect("a literal address"), weight: 1 });
//! let policy = Policy::Maglev { table_size: MAGLEV_TABLE_SIZE };
//! let balancer = Balancer::new(policy, &endpoints)?;
//!
//! let key = hash_key(b"user-17");
//! let first = balancer.select(key, &()).expect("both are usable");
//! let retry = balancer.select(key, &Tried(vec![first])).expect("one is left");
//! assert_ne!(first, retry);
//! assert_eq!(balancer.select(key, &Tried(vec![first, retry])), None);
//! # Ok::<(), sallyport_balance::BuildError>(())
//! ```

mod address;
mod backoff;
mod balancer;
mod cycle;
mod endpoint;
mod fair_queue;
mod hash;
mod least_request;
mod maglev;
pub mod outlier;
#[cfg(feature = "pingora")]
pub mod pingora;
mod random;
mod retry_budget;
mod ring_hash;
mod round_robin;
mod shaper;
mod view;
mod weighted;

pub use address::{Address, ParseAddressError};
pub use backoff::{full_jitter, slow_start_share};
pub use balancer::{Balancer, Policy};
pub use endpoint::{BuildError, ENDPOINTS_MAX, Endpoint};
pub use fair_queue::{FairQueue, Pushed, Ticket};
pub use hash::hash_key;
pub use maglev::{MAGLEV_TABLE_SIZE, MAGLEV_TABLE_SIZE_MAX, Maglev};
pub use retry_budget::{Allowance, BUDGET_WINDOW_S, RetryBudget};
pub use shaper::{Rate, Shaper};
pub use view::View;
