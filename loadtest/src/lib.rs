//! Load tests and the proxies that Sallyport is compared with.
//!
//! The crate owns the measuring: it starts an origin and several proxies on one machine, loads them
//! in turns, and reads what each spent from the kernel's own accounts. It stands apart from the
//! gateway so that nothing here can lean on the gateway's internals; Sallyport is started like every
//! other proxy, as a binary with a file. It deliberately draws no conclusions about machines other
//! than the one it runs on: the figures to trust are the ratios inside one run.
//!
//! Reading order: [`mod@bench`] sets the scene, [`requests`], [`plugins`] and [`idle`] are the experiments,
//! [`figures`] and [`report`] turn samples into tables, [`verdict`] says whether they count.

pub mod bench;
pub mod client;
pub mod congestion;
pub mod contestant;
pub mod cpu;
pub mod envoy;
pub mod figures;
pub mod idle;
pub mod interrupt;
pub mod load;
pub mod machine;
pub mod memory;
pub mod nginx;
pub mod plugins;
pub mod process;
pub mod report;
pub mod requests;
pub mod sallyport;
pub mod verdict;
