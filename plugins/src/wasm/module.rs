//! Modules: compiled once in the process, however many filters use one.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use sha2::{Digest, Sha256};
use wasmtime::{Engine, ExternType, InstancePre, Linker, Module};

use super::abi::{VERSION_PREFIX, VERSIONS};
use super::state::State;
use super::{hostcalls, wasi};
use crate::filter::Phases;

/// A compiled module, ready to be instantiated.
pub(super) struct Compiled {
    sha256: [u8; 32],
    pub(super) pre: InstancePre<State>,
    /// The phases whose hooks it exports.
    pub(super) phases: Phases,
    /// Whether it can read fields, and properties: what it cannot ask for need not be laid ready.
    pub(super) reads_fields: bool,
    pub(super) reads_properties: bool,
}

/// Why a module cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ModuleError {
    /// It is no WebAssembly, or not of this kind.
    #[error("is no WebAssembly module that can be compiled: {0:#}")]
    Compile(wasmtime::Error),
    /// It is not a proxy-wasm module.
    #[error("is not built for proxy-wasm: it exports no {VERSION_PREFIX}...")]
    NoAbi,
    /// It is built for another version.
    #[error("is built for proxy-wasm ABI {0}")]
    OtherAbi(String),
    /// It imports what there is not.
    #[error("{0:#}")]
    Import(wasmtime::Error),
    /// It exports no function that the host can get memory from.
    #[error("exports neither proxy_on_memory_allocate nor malloc")]
    NoAllocator,
}

impl Compiled {
    /// Compiles `bytes`, unless that was done before for a filter that still lives. Takes about a
    /// second for a megabyte.
    pub(super) fn new(engine: &Engine, bytes: &[u8]) -> Result<Arc<Self>, ModuleError> {
        static COMPILED: Mutex<Vec<Weak<Compiled>>> = Mutex::new(Vec::new());
        let sha256 = <[u8; 32]>::from(Sha256::digest(bytes));
        let mut all = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|compiled| compiled.strong_count() > 0);
        let known = all.iter().filter_map(Weak::upgrade);
        if let Some(compiled) = known.into_iter().find(|compiled| compiled.sha256 == sha256) {
            return Ok(compiled);
        }
        let compiled = Arc::new(compile(engine, bytes, sha256)?);
        all.push(Arc::downgrade(&compiled));
        Ok(compiled)
    }
}

fn compile(engine: &Engine, bytes: &[u8], sha256: [u8; 32]) -> Result<Compiled, ModuleError> {
    let module = Module::from_binary(engine, bytes).map_err(ModuleError::Compile)?;
    check_abi(&module)?;
    let exports = |name| matches!(module.get_export(name), Some(ExternType::Func(_)));
    if !exports("proxy_on_memory_allocate") && !exports("malloc") {
        return Err(ModuleError::NoAllocator);
    }
    let phases = phases(exports);
    let reads = |names: &[&str]| module.imports().any(|import| names.contains(&import.name()));
    let reads_fields = reads(&["proxy_get_header_map_pairs", "proxy_get_header_map_value"]);
    let reads_properties = reads(&["proxy_get_property"]);
    let mut linker = linker(engine).map_err(ModuleError::Import)?.clone();
    wasi::stub(&mut linker, &module).map_err(ModuleError::Import)?;
    hostcalls::define_old(&mut linker, &module).map_err(ModuleError::Import)?;
    let pre = linker.instantiate_pre(&module).map_err(ModuleError::Import)?;
    Ok(Compiled { sha256, pre, phases, reads_fields, reads_properties })
}

fn check_abi(module: &Module) -> Result<(), ModuleError> {
    let mut versions = module.exports().map(|export| export.name());
    if VERSIONS.iter().any(|version| module.get_export(version).is_some()) {
        return Ok(());
    }
    match versions.find_map(|name| name.strip_prefix(VERSION_PREFIX)) {
        Some(version) => Err(ModuleError::OtherAbi(version.replace('_', "."))),
        None => Err(ModuleError::NoAbi),
    }
}

fn phases(exports: impl Fn(&'static str) -> bool) -> Phases {
    let hooks = [
        ("proxy_on_request_headers", Phases::REQUEST_HEADERS),
        ("proxy_on_request_body", Phases::REQUEST_BODY),
        ("proxy_on_response_headers", Phases::RESPONSE_HEADERS),
        ("proxy_on_response_body", Phases::RESPONSE_BODY),
        ("proxy_on_response_trailers", Phases::RESPONSE_TRAILERS),
        ("proxy_on_log", Phases::LOG),
    ];
    let exported = hooks.into_iter().filter(|(name, _)| exports(name));
    exported.fold(Phases::default(), |phases, (_, phase)| phases | phase)
}

/// The functions of the host, the same for every module.
fn linker(engine: &Engine) -> wasmtime::Result<&'static Linker<State>> {
    static LINKER: OnceLock<Linker<State>> = OnceLock::new();
    if let Some(linker) = LINKER.get() {
        return Ok(linker);
    }
    let mut linker = Linker::new(engine);
    hostcalls::define(&mut linker)?;
    wasi::define(&mut linker)?;
    Ok(LINKER.get_or_init(|| linker))
}

impl fmt::Debug for Compiled {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Compiled").field("phases", &self.phases).finish_non_exhaustive()
    }
}
