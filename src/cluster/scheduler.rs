//! `mine cluster scheduler`: Ballista's scheduler, with our nodes and our placement.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use ballista_core::config::TaskSchedulingPolicy;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::{SchedulerConfig, TaskDistributionPolicy};
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};

use crate::cluster::args::SchedulerArgs;
use crate::cluster::node::UnitsCodec;
use crate::cluster::placement::Placement;
use crate::error::hint;
use crate::machine::host;
use crate::progress::Progress;

/// Dead executors are looked for so many times within their timeout.
const LOOKS: u64 = 4;

/// How long an executor that leaves may take for the units that it has.
const FINISHES_WITHIN_SECONDS: u64 = 600;

/// How long a job waits for an executor after the last one is gone; the run that asked for it can be stopped at any time.
const WAITS_FOR_EXECUTORS_SECONDS: u64 = 24 * 3600;

/// Listens until the process is stopped.
pub fn run(args: &SchedulerArgs, progress: &Progress) -> Result<()> {
    let address = address(&args.bind, args.port)?;
    let config = SchedulerConfig {
        external_host: args.host.clone().unwrap_or_else(|| name_of(&address)),
        bind_host: address.ip().to_string(),
        bind_port: args.port,
        scheduling_policy: TaskSchedulingPolicy::PushStaged,
        task_distribution: TaskDistributionPolicy::Custom(Arc::new(Placement::new(progress))),
        executor_termination_grace_period: FINISHES_WITHIN_SECONDS,
        executor_timeout_seconds: args.executor_timeout,
        expire_dead_executor_interval_seconds: (args.executor_timeout / LOOKS).max(1),
        no_executors_grace_period_seconds: WAITS_FOR_EXECUTORS_SECONDS,
        override_physical_codec: Some(UnitsCodec::shared(None)),
        ..SchedulerConfig::default()
    };
    let runtime = tokio::runtime::Runtime::new().context("cannot start the threads of the scheduler")?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await.map_err(|error| {
            hint(
                format!("cannot listen on {address}: {error}"),
                "another scheduler may be running there; choose another --port or --bind",
            )
        })?;
        let address = listener.local_addr().context("the scheduler has no address")?;
        let cluster = BallistaCluster::new_from_config(&config).await.map_err(|error| anyhow!("{error}"))?;
        let scheduler = create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, Arc::new(config)).await;
        let scheduler = scheduler.map_err(|error| anyhow!("{error}"))?;
        progress.say(&format!("scheduler  listens on {address}"));
        start_grpc_service_with_listener(listener, scheduler).await.map_err(|error| anyhow!("{error}"))
    })
}

/// A name under which others reach a process that listens there.
pub fn name_of(address: &SocketAddr) -> String {
    match address.ip() {
        ip if ip.is_loopback() => "localhost".into(),
        ip if ip.is_unspecified() => host(),
        ip => ip.to_string(),
    }
}

/// The address to listen on.
pub fn address(host: &str, port: u16) -> Result<SocketAddr> {
    let found = (host, port).to_socket_addrs().ok().and_then(|mut found| found.next());
    found.ok_or_else(|| crate::error::usage(format!("--bind {host}: not an address of this machine")))
}
