//! The `mine` binary: parse, run, exit code.

#![expect(clippy::print_stderr, reason = "errors that end the program")]

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use dupmine::progress::Cancellation;
use dupmine::{cli, error};

/// Hidden states are large short-lived buffers; the system allocator returns them to the kernel after every batch,
/// which costs a sixth of the embedding time in page faults.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|info| say(&format!("error: internal error, please report it: {info}"))));
    let cancellation = Arc::new(Cancellation::default());
    let asked = cancellation.clone();
    let stop = move || {
        if let Some(under_way) = asked.ask() {
            return say(&format!("stopping after {under_way}; Ctrl-C again stops at once"));
        }
        // work checks the flag many times a second; other work is cut off, and files are complete or absent anyway
        std::thread::sleep(Duration::from_millis(900));
        say(&error::render(&asked.interrupted().into()));
        std::process::exit(130);
    };
    #[cfg(unix)]
    stop_with_parent(stop.clone());
    if let Err(error) = ctrlc::set_handler(stop) {
        eprintln!("warning: Ctrl-C will not stop cleanly: {error}");
    }
    match catch_unwind(AssertUnwindSafe(|| cli::run(cli::parse()?, cancellation))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        // the hook has said what happened
        Err(_) => ExitCode::FAILURE,
        Ok(Err(error)) => {
            eprintln!("{}", error::render(&error));
            ExitCode::from(error::exit_code(&error))
        }
    }
}

/// A line on stderr, if somebody still reads it.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Stops when the process that started this one is gone, if that process put its number into `MINE_STOP_WITH_PARENT`. The
/// Python package does: a notebook that is killed leaves no run behind.
#[cfg(unix)]
fn stop_with_parent(stop: impl FnOnce() + Send + 'static) {
    use std::os::unix::process::parent_id;

    let parent = std::env::var("MINE_STOP_WITH_PARENT").ok().and_then(|number| number.parse::<u32>().ok());
    if let Some(parent) = parent {
        std::thread::spawn(move || {
            while parent_id() == parent {
                std::thread::sleep(Duration::from_secs(1));
            }
            stop();
        });
    }
}
