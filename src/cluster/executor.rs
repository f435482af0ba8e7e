//! `mine cluster executor`: Ballista's executor, with a worker that does our units.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use ballista_core::config::TaskSchedulingPolicy;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_executor::health::ExecutorHealth;

use crate::cluster::args::ExecutorArgs;
use crate::cluster::executors::{self, RENEWED_EVERY};
use crate::cluster::node::UnitsCodec;
use crate::cluster::scheduler::{address, name_of};
use crate::device::{DeviceKind, Devices};
use crate::error::{hint, usage_with_hint};
use crate::machine::unique;
use crate::mining::plan::build;
use crate::mining::units::Offer;
use crate::mining::worker::Worker;
use crate::models::checkpoint::built_in;
use crate::models::hub;
use crate::models::network::precision::Precision;
use crate::progress::Progress;
use crate::store::files::Files;
use crate::store::place;
use crate::store::root;

/// Stands for another build in the tests of refusals.
const PRETENDED_BUILD: &str = "MINE_PRETENDED_BUILD";

/// How often it is looked whether the process is to end.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// After so many the scheduler takes the executor for dead, or is gone itself.
const MISSED_HEARTBEATS: u32 = 8;

/// The last results are on their way to the scheduler for so long.
const REPORTING: Duration = Duration::from_secs(1);

/// Does units until the process is stopped.
pub fn run(args: &ExecutorArgs, progress: &Progress) -> Result<()> {
    let (scheduler_host, scheduler_port) = host_and_port(&args.scheduler)?;
    let bind = address(&args.bind, args.port)?;
    let (port, grpc_port) = ports(bind, args.port)?;
    let files = place::open(&args.store)?;
    let devices = args.device.open(progress)?;
    let bi_encoder = hub::open_or(&args.bi_encoder, built_in::BI_ENCODER, progress)?;
    let cross_encoder = hub::open_or(&args.cross_encoder, built_in::CROSS_ENCODER, progress)?;
    let is_gpu = devices.kind == DeviceKind::Gpu;
    let slots = args.slots.map_or(if is_gpu { 2 } else { 1 }, usize::from);
    let host = args.host.clone().unwrap_or_else(|| name_of(&bind));
    let offer = Offer {
        executor: args.name.clone().unwrap_or_else(|| format!("{host}:{port}")),
        instance: unique(),
        store: root::id(&*files)?,
        build: std::env::var(PRETENDED_BUILD).unwrap_or_else(|_| build()),
        device: devices.name.clone(),
        precisions: precisions(&devices),
        bi_encoder: bi_encoder.fingerprint()?,
        cross_encoder: cross_encoder.fingerprint()?,
        is_gpu,
        slots,
    };
    let models = (bi_encoder, cross_encoder);
    let worker = Arc::new(Worker::new(offer.executor.clone(), files.clone(), devices, models, progress));
    let health = ExecutorHealth::new();
    let shuffles = tempfile::tempdir().context("cannot create a temporary folder")?;
    let config = ExecutorProcessConfig {
        // the scheduler reads from it what this executor can do
        executor_id: serde_json::to_string(&offer)?,
        bind_host: bind.ip().to_string(),
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
        override_physical_codec: Some(UnitsCodec::shared(Some(worker.clone()))),
        health: health.clone(),
        ..ExecutorProcessConfig::default()
    };
    progress.say(&format!(
        "executor   {} on {}, {slots} at a time, store {}, scheduler {}",
        offer.executor,
        offer.device,
        args.store.display(),
        args.scheduler
    ));
    let patience = progress.finish_before_stopping("the units under way");
    executors::forget_earlier(&*files, &offer)?;
    let is_over = Arc::new(AtomicBool::new(false));
    let noted = Noted { files: files.clone(), offer, health: health.clone(), worker: worker.clone() };
    let renewing = std::thread::spawn({
        let is_over = is_over.clone();
        move || noted.renew_until(&is_over)
    });
    let runtime = tokio::runtime::Runtime::new().context("cannot start the threads of the executor")?;
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = start_executor_process(Arc::new(config)) => Some(ended),
            () = asked_to_end(progress, &worker) => None,
            () = cut_off(&health, &worker, Duration::from_secs(args.heartbeat)) => Some(Ok(())),
        }
    });
    is_over.store(true, Ordering::Relaxed);
    let _ = renewing.join();
    runtime.shutdown_background();
    drop((shuffles, patience));
    match ended {
        None => Ok(()),
        Some(_) if progress.check().is_err() => Ok(()),
        Some(Err(error)) => Err(anyhow!("{error}").context("the executor cannot work")),
        Some(Ok(())) => {
            progress.say("executor   the scheduler is gone: restarts and waits for it");
            restart()
        }
    }
}

/// Returns when the user wants the process to end and its units are done.
async fn asked_to_end(progress: &Progress, worker: &Worker) {
    while progress.check().is_ok() || worker.active() > 0 {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    tokio::time::sleep(REPORTING).await;
}

/// Returns when the scheduler has not heard of this executor for some heartbeats and no unit is under way. Ballista ends by
/// itself then, but not if it had work at that time.
async fn cut_off(health: &ExecutorHealth, worker: &Worker, heartbeat: Duration) {
    let (mut was_ready, mut heard) = (false, Instant::now());
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if health.is_ready() {
            (was_ready, heard) = (true, Instant::now());
        }
        if was_ready && worker.active() == 0 && heard.elapsed() > MISSED_HEARTBEATS * heartbeat {
            return;
        }
    }
}

/// What the note of this executor is made from.
struct Noted {
    files: Arc<dyn Files>,
    offer: Offer,
    health: ExecutorHealth,
    worker: Arc<Worker>,
}

impl Noted {
    /// Renews the note while the scheduler hears of this executor, and removes it at the end. If that fails, runs do not count
    /// this executor, and nothing else happens.
    fn renew_until(&self, is_over: &AtomicBool) {
        let (mut renewals, mut renewed) = (0, None::<Instant>);
        while !is_over.load(Ordering::Relaxed) {
            if self.health.is_ready() && renewed.is_none_or(|at| at.elapsed() >= RENEWED_EVERY) {
                let _ = executors::renew(&*self.files, &self.offer, (renewals, self.worker.active()));
                (renewals, renewed) = (renewals + 1, Some(Instant::now()));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let _ = executors::leave(&*self.files, &self.offer);
    }
}

/// Replaces this process by one with the same arguments: Ballista's executor can be started once a process.
fn restart() -> Result<()> {
    std::thread::sleep(Duration::from_secs(1));
    let program = std::env::current_exe().context("the program is gone")?;
    let mut command = std::process::Command::new(program);
    command.args(std::env::args_os().skip(1));
    #[cfg(unix)]
    return Err(anyhow!(std::os::unix::process::CommandExt::exec(&mut command)).context("cannot restart"));
    #[cfg(not(unix))]
    return Err(anyhow!("the scheduler is gone"));
}

fn host_and_port(text: &str) -> Result<(String, u16)> {
    let wrong = || usage_with_hint(format!("--scheduler {text}: not host and port"), "for example localhost:50050");
    let (host, port) = text.trim_start_matches("df://").rsplit_once(':').ok_or_else(wrong)?;
    Ok((host.into(), port.parse().map_err(|_| wrong())?))
}

/// The port for results and that for tasks.
fn ports(bind: SocketAddr, port: u16) -> Result<(u16, u16)> {
    let free = |port: u16| {
        let address = SocketAddr::new(bind.ip(), port);
        TcpListener::bind(address).map_err(|error| {
            hint(format!("cannot listen on {address}: {error}"), "choose another --port, or leave it out")
        })
    };
    // both are held until both are known, so that they differ
    let (first, second) = (free(port)?, free(if port > 0 { port + 1 } else { 0 })?);
    Ok((first.local_addr()?.port(), second.local_addr()?.port()))
}

/// Formats that devices compute in.
fn precisions(devices: &Devices) -> Vec<Precision> {
    let all = [Precision::F32, Precision::Bf16, Precision::F16, Precision::Int8];
    all.into_iter().filter(|precision| precision.check(devices).is_ok()).collect()
}
