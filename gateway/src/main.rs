//! The `sallyport` binary: the command line with the filters that ship with it.

use std::process::ExitCode;

use sallyport_plugin::Kinds;

// Every request allocates a few dozen small pieces; mimalloc measured fastest for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sallyport::cli::main(Kinds::builtin())
}
