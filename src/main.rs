//! The `mine` binary: parse, run, exit code.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use dupmine::{cli, error};

/// Hidden states are large short-lived buffers; the system allocator returns them to the kernel after every batch,
/// which costs a sixth of the embedding time in page faults.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|info| eprintln!("error: internal error, please report it: {info}")));
    let cancelled = Arc::new(AtomicBool::new(false));
    let flag = cancelled.clone();
    let handler = move || {
        flag.store(true, Ordering::Relaxed);
        // work looks at the flag many times a second; what does not is cut off, and files are complete or absent anyway
        std::thread::sleep(Duration::from_millis(900));
        eprintln!("{}", error::render(&error::Interrupted.into()));
        std::process::exit(130);
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        eprintln!("warning: Ctrl-C will not stop cleanly: {error}");
    }
    match cli::run(cli::Cli::parse(), cancelled) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error::render(&error));
            ExitCode::from(error::exit_code(&error))
        }
    }
}
