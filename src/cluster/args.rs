//! What can be typed: `mine cluster`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Hand the work of runs to executors; runs until it is stopped
    Scheduler(SchedulerArgs),
    /// Do work for runs on other machines; runs until it is stopped
    Executor(Box<ExecutorArgs>),
}

#[derive(Debug, Args)]
pub struct SchedulerArgs {
    /// Address of this machine to listen on; 0.0.0.0 for all. There is no password: keep it inside a private network
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub bind: String,
    /// Port that runs and executors connect to
    #[arg(long, value_name = "PORT", default_value_t = 50050)]
    pub port: u16,
    /// Name or address under which executors reach this machine [default: localhost, or its name if --bind lets others in]
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Seconds without a sign of life after which the work of an executor is given to others
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(2..=3600))]
    pub executor_timeout: u64,
}

#[derive(Debug, Args)]
pub struct ExecutorArgs {
    /// Host and port of the scheduler; it may be started later
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:50050")]
    pub scheduler: String,
    /// The store of the runs: a folder that all machines share, or s3://bucket/prefix
    #[arg(long, value_name = "DIR|URL")]
    pub store: PathBuf,
    /// The bi-encoder that runs may ask for: a folder, a name on the hub, or `built-in`
    #[arg(long, value_name = "DIR|NAME", default_value = "built-in")]
    pub bi_encoder: String,
    /// The cross-encoder that runs may ask for
    #[arg(long, value_name = "DIR|NAME", default_value = "built-in")]
    pub cross_encoder: String,
    /// Where the models run: auto, cpu, cuda, cuda:N, cuda:all, tch, tch-cuda, tch-cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: crate::device::DeviceChoice,
    /// Worker threads; 0 is one a core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Units of work at the same time [default: 1; 2 on a card, which then never waits for the next]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub slots: Option<u16>,
    /// Address of this machine to listen on; 0.0.0.0 for all. There is no password: keep it inside a private network
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub bind: String,
    /// Name or address under which the scheduler reaches this machine [default: the address from which it connects]
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Port to listen on, and the next one; 0 takes two that are free
    #[arg(long, value_name = "PORT", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..65535))]
    pub port: u16,
    /// Name of this executor in messages and manifests [default: host and port]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Seconds between signs of life
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub heartbeat: u64,
}
