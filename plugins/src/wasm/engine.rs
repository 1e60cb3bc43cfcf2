//! The compiler and the memory that all modules of the process share.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use wasmtime::{
    Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig,
};

/// How often calls into guests are looked at.
const EPOCH: Duration = Duration::from_millis(1);

/// The most memory that `memory` may allow one VM.
pub(super) const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// Entries of a VM's function table: large Go programs have some 20 000.
pub(super) const TABLE_ELEMENTS_MAX: usize = 100_000;

/// VMs at one time: address space is reserved for so many. 64 filters on 32 threads, with two VMs
/// beyond those for each filter, and twice while one configuration takes the place of another.
const VMS_MAX: u32 = 2 * 64 * (32 + 2);

/// Stack of one call into a guest; the threads that call have 2 MiB and more.
const STACK_BYTES_MAX: usize = 512 << 10;

/// The process' engine. `cache` is the folder for compiled code; the first caller's counts.
///
/// # Errors
/// If the engine cannot be made on this machine; every later call says so too.
pub(super) fn engine(cache: Option<&Path>) -> Result<&'static Engine, &'static str> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| {
        let engine = make(cache).map_err(|error| format!("{error:#}"))?;
        tick(engine.clone()).map_err(|error| error.to_string())?;
        Ok(engine)
    });
    engine.as_ref().map_err(String::as_str)
}

fn make(cache: Option<&Path>) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config.epoch_interruption(true).max_wasm_stack(STACK_BYTES_MAX);
    if let Some(folder) = cache {
        match open(folder) {
            Ok(cache) => drop(config.cache(Some(cache))),
            Err(error) => tracing::warn!("compiled modules are not kept: {error:#}"),
        }
    }
    config.allocation_strategy(pool());
    Engine::new(&config).or_else(|error| {
        tracing::warn!("no address space for a pool of WebAssembly memories: {error:#}");
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        Engine::new(&config)
    })
}

fn open(folder: &Path) -> wasmtime::Result<Cache> {
    let mut config = CacheConfig::new();
    config.with_directory(folder);
    Cache::new(config)
}

fn pool() -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(VMS_MAX)
        .total_memories(VMS_MAX)
        .total_tables(VMS_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(MEMORY_BYTES_MAX as usize);
    InstanceAllocationStrategy::Pooling(pool)
}

/// Counts epochs for as long as the process lives.
fn tick(engine: Engine) -> std::io::Result<()> {
    let count = move || {
        loop {
            std::thread::sleep(EPOCH);
            engine.increment_epoch();
        }
    };
    std::thread::Builder::new().name("wasm-epoch".into()).spawn(count).map(drop)
}
