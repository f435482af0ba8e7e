//! The side of a run: submits units to the scheduler, and takes their results from the store.
//!
//! Results and progress come from the notes of executors in the store, not from Ballista: so neither a lost executor nor a
//! scheduler that was started again loses one.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use ballista_core::config::BALLISTA_JOB_NAME;
use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::protobuf::execute_query_params::Query;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    CancelJobParams, ExecuteQueryParams, GetJobStatusParams, KeyValuePair, execute_query_result, job_status,
};
use ballista_core::version::insert_version_header;
use datafusion::prelude::SessionConfig;
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::PhysicalPlanNode;
use tokio::runtime::Runtime;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::cluster::executors::{Fitting, Roster};
use crate::cluster::node::{UnitsCodec, UnitsExec, quoted};
use crate::device::DeviceKind;
use crate::error::{hint, usage_with_hint};
use crate::executor::tuning::Tuning;
use crate::machine::host;
use crate::mining::units::{Cluster, Done, Needs, Receive, Received, Unit};
use crate::progress::{Progress, Task, readable};
use crate::store::files::{Files, join, read_json};
use crate::store::place;

/// How often notes are looked for, in a folder and on object storage, where each look is a request.
const LOOK_IN_FOLDER: Duration = Duration::from_millis(50);
const LOOK_ON_OBJECTS: Duration = Duration::from_millis(500);

/// How often the scheduler is asked, and the executors' notes are read.
const ASK_EVERY: Duration = Duration::from_millis(500);
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// The run ends if the scheduler does not answer, or no executor can do its work, for so long.
const PATIENCE: Duration = Duration::from_secs(180);

/// If executors are there but none works for so long, the units are submitted again: a report of an executor to the scheduler
/// may be lost.
const STALLED: Duration = Duration::from_secs(60);

/// Units of a job: its description must fit into one message.
const UNITS_OF_A_JOB: usize = 2048;

/// The file beside the units that has the id of the job.
const JOB: &str = "job";

/// A unit whose result was damaged so often fails.
const MOST_DAMAGED: usize = 3;

/// A scheduler, and the store through which executors answer.
struct Client {
    runtime: Runtime,
    scheduler: String,
    endpoint: Endpoint,
    files: Arc<dyn Files>,
    executors: Roster,
    /// Executors that were reported as unusable.
    reported: Mutex<HashSet<String>>,
}

/// Connects to the scheduler at `df://host:port`, whose executors use the store.
pub fn connect(url: &str, store: &Path) -> Result<Box<dyn Cluster>> {
    let wrong =
        || usage_with_hint(format!("--cluster {url}: not the address of a scheduler"), "expected df://host:port");
    let address = url.strip_prefix("df://").ok_or_else(wrong)?;
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| wrong())?;
    let endpoint = endpoint.connect_timeout(Duration::from_secs(5)).timeout(Duration::from_secs(20)).tcp_nodelay(true);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let files = place::open(store)?;
    let client = Client {
        runtime: runtime.context("cannot start the threads of the cluster")?,
        scheduler: address.into(),
        endpoint,
        executors: Roster::new(files.clone()),
        files,
        reported: Mutex::default(),
    };
    client.grpc().map_err(|error| {
        hint(
            format!("--cluster {url}: the scheduler does not answer: {error:#}"),
            "start one: mine cluster scheduler; with --bind 0.0.0.0 it answers other machines",
        )
    })?;
    Ok(Box::new(client))
}

/// A unit without a result.
struct Waiting {
    /// Its numbers: two units with the same content are one.
    at: Vec<usize>,
    /// How often its result was damaged.
    damaged: usize,
}

/// Units without a result, by id.
type Open = BTreeMap<String, Waiting>;

/// How the wait for a job ended.
enum Ended {
    /// The scheduler has said so, or does not know the job.
    Over,
    /// The scheduler may still hold slots for it.
    Unknown,
    Failed(String),
}

impl Cluster for Client {
    fn run(&self, units: &[Unit], (progress, task): (&Progress, &Task), receive: &mut Receive) -> Result<()> {
        let Some(first) = units.first() else { return Ok(()) };
        // Ctrl-C must find the time to cancel the job
        let _patience = progress.finish_before_stopping("cancelling the job on the cluster");
        let mut open = Open::new();
        for (at, unit) in units.iter().enumerate() {
            open.entry(unit.id()?).or_insert(Waiting { at: Vec::new(), damaged: 0 }).at.push(at);
        }
        self.cancel_earlier(&first.folder)?;
        self.collect(&first.folder, &mut open, receive)?;
        let mut silence = Silence::default();
        while !open.is_empty() {
            // in their order: an executor keeps what follows each other units share
            let mut job: Vec<usize> = open.values().filter_map(|waiting| waiting.at.first().copied()).collect();
            job.sort_unstable();
            let job: Vec<&Unit> = job.iter().take(UNITS_OF_A_JOB).map(|&at| &units[at]).collect();
            let ended = match self.submit(&job) {
                Ok(Ok(job)) => {
                    silence = Silence::default();
                    self.files.write(&join(&first.folder, JOB), job.as_bytes())?;
                    let ended = self.poll(&job, first, &mut open, (progress, task), receive);
                    if matches!(ended, Ok(Ended::Unknown) | Err(_)) {
                        self.cancel(&job);
                    }
                    ended?
                }
                Ok(Err(rejected)) => Ended::Failed(rejected),
                Err(error) => {
                    silence.lasts(&self.scheduler, &error, progress)?;
                    self.collect(&first.folder, &mut open, receive)?;
                    Ended::Over
                }
            };
            if let Ended::Failed(why) = ended {
                return Err(hint(why, CONTINUES));
            }
            task.check()?;
            if !open.is_empty() {
                std::thread::sleep(ASK_EVERY);
            }
        }
        Ok(())
    }

    fn capacity(&self, needs: &Needs) -> (usize, Tuning) {
        let usable = self.executors.fitting(needs).unwrap_or_default().usable;
        let slots = usable.iter().map(|offer| offer.slots).sum::<usize>().max(1);
        let on_cards = !usable.is_empty() && usable.iter().all(|offer| offer.is_gpu);
        (slots, Tuning::of(if on_cards { DeviceKind::Gpu } else { DeviceKind::Cpu }))
    }
}

const CONTINUES: &str = "the same command continues with what is missing";

/// Since when the scheduler has not answered.
#[derive(Default)]
struct Silence(Option<Instant>);

impl Silence {
    /// Another question without an answer: warns at the first, fails when patience ends.
    fn lasts(&mut self, scheduler: &str, error: &anyhow::Error, progress: &Progress) -> Result<()> {
        let since = *self.0.get_or_insert_with(|| {
            progress.warn(format!("the scheduler at {scheduler} does not answer: waiting for it"));
            Instant::now()
        });
        if since.elapsed() < PATIENCE {
            return Ok(());
        }
        Err(hint(
            format!("the scheduler at {scheduler} is gone: {error:#}"),
            format!("start it again: mine cluster scheduler; {CONTINUES}"),
        ))
    }
}

impl Client {
    /// Takes results until the job has ended or all are there.
    fn poll(
        &self,
        job: &str,
        first: &Unit,
        open: &mut Open,
        (progress, task): (&Progress, &Task),
        receive: &mut Receive,
    ) -> Result<Ended> {
        let look = if self.files.folder().is_some() { LOOK_IN_FOLDER } else { LOOK_ON_OBJECTS };
        let (mut asked, mut counted) = (Instant::now(), None::<Instant>);
        // when an executor was there last, when one worked, and when the last result came
        let (mut helped, mut worked, mut came) = (Instant::now(), Instant::now(), Instant::now());
        let mut left = open.len();
        let mut silence = Silence::default();
        loop {
            std::thread::sleep(look);
            task.check()?;
            self.collect(&first.folder, open, receive)?;
            if open.len() < left {
                (came, left) = (Instant::now(), open.len());
            }
            if asked.elapsed() >= ASK_EVERY || open.is_empty() {
                asked = Instant::now();
                match self.status(job) {
                    Err(error) if !open.is_empty() => silence.lasts(&self.scheduler, &error, progress)?,
                    Err(_) => return Ok(Ended::Unknown),
                    Ok(Some(job_status::Status::Failed(failed))) => {
                        return Ok(Ended::Failed(quoted(&failed.error)));
                    }
                    Ok(Some(job_status::Status::Successful(_)) | None) => {
                        // executors note results before the scheduler hears of them
                        self.collect(&first.folder, open, receive)?;
                        return Ok(Ended::Over);
                    }
                    Ok(Some(job_status::Status::Queued(_) | job_status::Status::Running(_))) => {
                        silence = Silence::default();
                        if open.is_empty() && came.elapsed() > ASK_EVERY {
                            return Ok(Ended::Unknown);
                        }
                    }
                }
            }
            if !open.is_empty() && counted.is_none_or(|counted| counted.elapsed() >= COUNT_EVERY) {
                counted = Some(Instant::now());
                let Fitting { usable, active, unusable } = self.executors.fitting(&first.needs)?;
                self.report(&unusable, progress);
                if active > 0 {
                    worked = Instant::now();
                }
                if !usable.is_empty() {
                    helped = Instant::now();
                    if worked.max(came).elapsed() > STALLED {
                        progress.warn(format!(
                            "{} executors are there, but none works: the work is handed out again",
                            usable.len()
                        ));
                        return Ok(Ended::Unknown);
                    }
                } else if helped.max(came).elapsed() > PATIENCE {
                    return Err(self.nobody(&unusable));
                }
            }
        }
    }

    fn nobody(&self, others: &[(String, String)]) -> anyhow::Error {
        let others: Vec<String> = others.iter().map(|(executor, why)| format!("executor {executor}: {why}")).collect();
        let why = if others.is_empty() { "none is there".into() } else { others.join("; ") };
        hint(
            format!("no executor of {} can do what this run needs: {why}", self.scheduler),
            format!("start one: mine cluster executor --scheduler … --store …; {CONTINUES}"),
        )
    }

    /// Says once of each executor that it is unusable, and why.
    fn report(&self, others: &[(String, String)], progress: &Progress) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        for (executor, why) in others {
            if reported.insert(executor.clone()) {
                progress.warn(format!("executor {executor} is not used: {why}"));
            }
        }
    }

    /// Hands on the results that are noted in the store.
    fn collect(&self, folder: &str, open: &mut Open, receive: &mut Receive) -> Result<()> {
        for name in self.files.list(folder)? {
            let Some(id) = name.strip_suffix(".json") else { continue };
            let Some(waiting) = open.get_mut(id) else { continue };
            let note = join(folder, &name);
            let Some(done) = read_json::<Done>(&*self.files, &note)? else { continue };
            let taken = waiting.at.iter().map(|&at| Ok(receive(at, &done)? == Received::Taken));
            if taken.collect::<Result<Vec<bool>>>()?.into_iter().all(|taken| taken) {
                open.remove(id);
                continue;
            }
            waiting.damaged += 1;
            ensure!(
                waiting.damaged < MOST_DAMAGED,
                "the result of executor {} was damaged {MOST_DAMAGED} times: {}",
                done.executor,
                self.files.place(&note)
            );
            self.files.remove(&note)?;
        }
        Ok(())
    }

    fn grpc(&self) -> Result<SchedulerGrpcClient<Channel>> {
        let channel = self.runtime.block_on(self.endpoint.connect()).context("no connection")?;
        Ok(SchedulerGrpcClient::new(channel))
    }

    /// Submits units as one job and returns its id, or why the scheduler does not take it. Fails if it does not answer.
    fn submit(&self, units: &[&Unit]) -> Result<Result<String, String>> {
        let plan = UnitsExec::plan(units)?;
        let plan = PhysicalPlanNode::try_from_physical_plan(plan, &*UnitsCodec::shared(None))?;
        let mut bytes = Vec::new();
        plan.try_encode(&mut bytes)?;
        let (kind, _) = units.first().context("a job without units")?.kind();
        let config = SessionConfig::new_with_ballista().set_str(BALLISTA_JOB_NAME, &format!("mine {kind}"));
        let entries = config.options().entries().into_iter();
        let settings = entries.map(|entry| KeyValuePair { key: entry.key, value: entry.value }).collect();
        // jobs of one run share a session
        let session_id = format!("mine-{}-{}", host(), std::process::id());
        let query = ExecuteQueryParams {
            query: Some(Query::PhysicalPlan(bytes)),
            settings,
            operation_id: session_id.clone(),
            session_id,
        };
        let mut request = tonic::Request::new(query);
        insert_version_header(request.metadata_mut());
        let mut grpc = self.grpc()?;
        match self.runtime.block_on(grpc.execute_query(request)) {
            Ok(answer) => Ok(match answer.into_inner().result {
                Some(execute_query_result::Result::Success(job)) => Ok(job.job_id),
                other => Err(format!("the scheduler did not take {} units: {other:?}", readable(units.len()))),
            }),
            Err(status) if matches!(status.code(), Code::InvalidArgument | Code::FailedPrecondition) => {
                Ok(Err(format!("the scheduler did not take the work: {}", quoted(status.message()))))
            }
            Err(status) => Err(anyhow!("{}", status.message())),
        }
    }

    /// The state of a job, `None` if the scheduler does not know it.
    fn status(&self, job: &str) -> Result<Option<job_status::Status>> {
        let request = GetJobStatusParams { job_id: job.into() };
        let answer = self.runtime.block_on(self.grpc()?.get_job_status(request)).context("no answer")?;
        Ok(answer.into_inner().status.and_then(|status| status.status))
    }

    /// Cancels the job of a run of this output that was killed: its units would be done beside those of this run.
    fn cancel_earlier(&self, folder: &str) -> Result<()> {
        if let Some(job) = self.files.read(&join(folder, JOB))? {
            self.cancel(&String::from_utf8_lossy(&job));
        }
        Ok(())
    }

    /// Asks the scheduler to drop a job. Units under way are stopped.
    fn cancel(&self, job: &str) {
        let cancel = |mut grpc: SchedulerGrpcClient<Channel>| {
            self.runtime.block_on(grpc.cancel_job(CancelJobParams { job_id: job.into() })).ok()
        };
        let _ = self.grpc().ok().and_then(cancel);
    }
}
