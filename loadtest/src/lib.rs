//! Load tests and the proxies that Sallyport is compared with.
//!
//! The crate owns the measuring: it starts an origin and several proxies on one machine, loads them
//! in turns, and reads what each spent from the kernel's own accounts. It stands apart from the
//! gateway so that nothing here can lean on the gateway's internals; Sallyport is started like every
//! other proxy, as a binary with a file. It deliberately draws no conclusions about machines other
//! than the one it runs on: the figures to trust are the ratios inside one run.
//!
//! Reading order: [`mod@bench`] sets the scene, [`site`] and [`proxies`] say what is served and by
//! whom; [`requests`], [`plugins`], [`pushing`], [`idle`] and [`mod@compare`] are the experiments;
//! [`figures`] and [`report`] turn samples into tables, [`verdict`] says whether they count.

pub mod bench;
pub mod bulk;
pub mod certificate;
pub mod client;
pub mod compare;
pub mod congestion;
pub mod contestant;
pub mod cpu;
pub mod echo;
pub mod fairness;
pub mod figures;
pub mod h2load;
pub mod handshakes;
pub mod idle;
pub mod instructions;
pub mod interrupt;
pub mod load;
pub mod machine;
pub mod memory;
pub mod mouse;
pub mod nginx;
pub mod open;
pub mod origin;
pub mod plot;
pub mod plugins;
pub mod process;
pub mod proxies;
pub mod pushing;
pub mod report;
pub mod requests;
pub mod scenarios;
pub mod simulation;
pub mod site;
pub mod verdict;
pub mod wrk_load;
