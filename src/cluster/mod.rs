//! More than one machine: a Ballista scheduler hands the units of a run to executors.
//!
//! ```text
//! mine --cluster ──units as a physical plan──► scheduler ──a unit a task──► executors
//!      │  ▲                                                                    │
//!      └──┴──────────── inputs, results and notes as files of the store ───────┘
//! ```
//!
//! Ballista only schedules. What units need and what comes of them are files of the store, so a lost executor or scheduler
//! costs the units under way. Without the feature `cluster` the commands are there and say how to build a program that has
//! it.

pub mod args;
#[cfg(feature = "cluster")]
mod client;
#[cfg(feature = "cluster")]
mod executor;
#[cfg(feature = "cluster")]
mod executors;
#[cfg(feature = "cluster")]
mod node;
#[cfg(feature = "cluster")]
mod placement;
#[cfg(feature = "cluster")]
mod scheduler;

#[cfg(feature = "cluster")]
pub use client::connect;
#[cfg(feature = "cluster")]
pub use executor::run as run_executor;
#[cfg(feature = "cluster")]
pub use scheduler::run as run_scheduler;

#[cfg(not(feature = "cluster"))]
mod absent;
#[cfg(not(feature = "cluster"))]
pub use absent::{connect, run_executor, run_scheduler};
