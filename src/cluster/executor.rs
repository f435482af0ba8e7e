//! `mine cluster executor`: Ballista's executor, with a worker that does our units.

use std::net::TcpListener;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use ballista_core::config::TaskSchedulingPolicy;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};

use crate::cluster::args::ExecutorArgs;
use crate::cluster::executors::{self, RENEWED_EVERY};
use crate::cluster::node::UnitsCodec;
use crate::cluster::scheduler::address;
use crate::device::{DeviceKind, Devices};
use crate::error::usage_with_hint;
use crate::mining::plan::build;
use crate::mining::units::Offer;
use crate::mining::worker::Worker;
use crate::models::checkpoint::built_in;
use crate::models::hub;
use crate::models::network::precision::Precision;
use crate::progress::Progress;
use crate::store::files::Files;
use crate::store::place;

/// Stands for another build in the tests of refusals.
const PRETENDED_BUILD: &str = "MINE_PRETENDED_BUILD";

/// Does units until the process is stopped.
pub fn run(args: &ExecutorArgs, progress: &Progress) -> Result<()> {
    let (scheduler_host, scheduler_port) = host_and_port(&args.scheduler)?;
    address(&args.bind, args.port)?;
    let (port, grpc_port) = ports(args)?;
    let files = place::open(&args.store)?;
    let devices = args.device.open(progress)?;
    let bi_encoder = hub::open_or(&args.bi_encoder, built_in::BI_ENCODER, progress)?;
    let cross_encoder = hub::open_or(&args.cross_encoder, built_in::CROSS_ENCODER, progress)?;
    let is_gpu = devices.kind == DeviceKind::Gpu;
    let slots = args.slots.map_or(if is_gpu { 2 } else { 1 }, usize::from);
    let host = args.host.clone().unwrap_or_else(|| args.bind.clone());
    let offer = Offer {
        executor: args.name.clone().unwrap_or_else(|| format!("{host}:{port}")),
        build: std::env::var(PRETENDED_BUILD).unwrap_or_else(|_| build()),
        device: devices.name.clone(),
        precisions: precisions(&devices),
        bi_encoder: bi_encoder.fingerprint()?,
        cross_encoder: cross_encoder.fingerprint()?,
        is_gpu,
        slots,
    };
    let worker = Worker::new(offer.executor.clone(), files.clone(), devices, (bi_encoder, cross_encoder), progress);
    let shuffles = tempfile::tempdir().context("cannot create a temporary folder")?;
    let config = ExecutorProcessConfig {
        // the scheduler reads from it what this executor can do
        executor_id: serde_json::to_string(&offer)?,
        bind_host: args.bind.clone(),
        external_host: args.host.clone(),
        port,
        grpc_port,
        scheduler_host,
        scheduler_port,
        // as long as it takes: the scheduler may be started later
        scheduler_connect_timeout_seconds: u16::MAX,
        vcores: slots,
        task_scheduling_policy: TaskSchedulingPolicy::PushStaged,
        work_dir: Some(shuffles.path().display().to_string()),
        // units do not use Ballista's memory
        memory_pool_size: Some(0),
        executor_heartbeat_interval_seconds: args.heartbeat,
        override_physical_codec: Some(UnitsCodec::shared(Some(Arc::new(worker)))),
        ..ExecutorProcessConfig::default()
    };
    progress.say(&format!(
        "executor   {} on {}, {slots} at a time, store {}, scheduler {}",
        offer.executor,
        offer.device,
        args.store.display(),
        args.scheduler
    ));
    let _patience = progress.finish_before_stopping("the units under way");
    executors::renew(&*files, &offer)?;
    let renewing = (files.clone(), offer.clone());
    std::thread::spawn(move || keep_renewing(&renewing.0, &renewing.1));
    let runtime = tokio::runtime::Runtime::new().context("cannot start the threads of the executor")?;
    let ended = runtime.block_on(start_executor_process(Arc::new(config)));
    executors::leave(&*files, &offer)?;
    progress.check()?;
    // the scheduler is gone, or was away for too long: begin anew, and wait for it
    match ended {
        Ok(()) => progress.say("executor   lost its scheduler and begins anew"),
        Err(error) => progress.warn(format!("the executor begins anew: {error}")),
    }
    drop(shuffles);
    begin_anew()
}

/// Renews the note as long as the process lives. One that cannot be written only keeps runs from counting this executor.
fn keep_renewing(files: &Arc<dyn Files>, offer: &Offer) {
    loop {
        std::thread::sleep(RENEWED_EVERY);
        let _ = executors::renew(&**files, offer);
    }
}

/// Replaces this process by one with the same arguments: Ballista's executor can be started once a process.
fn begin_anew() -> Result<()> {
    std::thread::sleep(std::time::Duration::from_secs(1));
    let program = std::env::current_exe().context("the program is gone")?;
    let mut command = std::process::Command::new(program);
    command.args(std::env::args_os().skip(1));
    #[cfg(unix)]
    return Err(anyhow!(std::os::unix::process::CommandExt::exec(&mut command)).context("cannot begin anew"));
    #[cfg(not(unix))]
    return Err(anyhow!("the scheduler is gone"));
}

fn host_and_port(text: &str) -> Result<(String, u16)> {
    let wrong = || usage_with_hint(format!("--scheduler {text}: not host and port"), "for example localhost:50050");
    let (host, port) = text.trim_start_matches("df://").rsplit_once(':').ok_or_else(wrong)?;
    Ok((host.into(), port.parse().map_err(|_| wrong())?))
}

/// The port for results and that for tasks.
fn ports(args: &ExecutorArgs) -> Result<(u16, u16)> {
    if args.port > 0 {
        return Ok((args.port, args.port + 1));
    }
    // both are held until both are known, so that they differ
    let free = || TcpListener::bind((args.bind.as_str(), 0)).context("no port is free");
    let (first, second) = (free()?, free()?);
    Ok((first.local_addr()?.port(), second.local_addr()?.port()))
}

/// Formats that devices compute in.
fn precisions(devices: &Devices) -> Vec<Precision> {
    let all = [Precision::F32, Precision::Bf16, Precision::F16, Precision::Int8];
    all.into_iter().filter(|precision| precision.check(devices).is_ok()).collect()
}
