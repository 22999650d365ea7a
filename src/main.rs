//! The executable: starts the runtime and runs the command line.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("the system has threads for a runtime");
    let code = runtime.block_on(wicara::cli::run());
    // Does not wait for blocking threads: the look-up of a host name may take half a minute.
    runtime.shutdown_background();
    code
}
