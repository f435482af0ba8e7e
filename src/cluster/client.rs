//! The side of a run: submits units to the scheduler, and takes their results from the store.
//!
//! Results and progress come from the notes of executors in the store, not from Ballista: so neither a lost executor nor a
//! scheduler that was started again loses one.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
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
use tonic::transport::{Channel, Endpoint};

use crate::cluster::executors;
use crate::cluster::node::{UnitsCodec, UnitsExec, what_was_said};
use crate::device::DeviceKind;
use crate::error::{hint, usage_with_hint};
use crate::executor::tuning::Tuning;
use crate::mining::units::{Cluster, Done, Receive, Received, Unit, note_of};
use crate::progress::{Progress, Task, readable};
use crate::run::manifest::ExecutorRecord;
use crate::store::files::{Files, read_json};
use crate::store::place;
use crate::store::root::WORK;

/// How often notes are looked for, in a folder and on object storage, where each look is a request.
const LOOK_IN_FOLDER: Duration = Duration::from_millis(50);
const LOOK_ON_OBJECTS: Duration = Duration::from_millis(500);

/// How often the scheduler is asked, and the executors' notes are read.
const ASK_EVERY: Duration = Duration::from_millis(500);
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// A scheduler that does not answer for so long is given up, and so is a job that no living executor can do.
const PATIENCE: Duration = Duration::from_secs(180);

/// Units of a job: its description must fit into one message.
const UNITS_OF_A_JOB: usize = 2048;

/// A unit whose result was damaged so often fails.
const MOST_DAMAGED: usize = 3;

/// A scheduler, and the store through which executors answer.
struct Client {
    runtime: Runtime,
    scheduler: String,
    endpoint: Endpoint,
    files: Arc<dyn Files>,
    records: Mutex<BTreeMap<String, ExecutorRecord>>,
    /// Executors that were told to be of no use, each once.
    told: Mutex<HashSet<String>>,
}

/// Connects to the scheduler at `df://host:port`, whose executors use the store.
pub fn connect(url: &str, store: &Path) -> Result<Box<dyn Cluster>> {
    let wrong =
        || usage_with_hint(format!("--cluster {url}: not the address of a scheduler"), "expected df://host:port");
    let address = url.strip_prefix("df://").ok_or_else(wrong)?;
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| wrong())?;
    let endpoint = endpoint.connect_timeout(Duration::from_secs(5)).timeout(Duration::from_secs(20)).tcp_nodelay(true);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let client = Client {
        runtime: runtime.context("cannot start the threads of the cluster")?,
        scheduler: address.into(),
        endpoint,
        files: place::open(store)?,
        records: Mutex::default(),
        told: Mutex::default(),
    };
    client.grpc().map_err(|error| {
        hint(
            format!("--cluster {url}: the scheduler does not answer: {error:#}"),
            "start one: mine cluster scheduler; --bind 0.0.0.0 lets it answer other machines",
        )
    })?;
    Ok(Box::new(client))
}

/// Units that are not done, by id: their numbers and how often their result was damaged.
type Waiting = BTreeMap<String, (usize, usize)>;

impl Cluster for Client {
    fn run(&self, units: &[Unit], (progress, task): (&Progress, &Task), receive: &mut Receive) -> Result<()> {
        let mut waiting = Waiting::new();
        for (at, unit) in units.iter().enumerate() {
            waiting.insert(unit.id()?, (at, 0));
        }
        self.collect(&mut waiting, receive)?;
        let mut silent_since: Option<Instant> = None;
        while !waiting.is_empty() {
            let job: Vec<&Unit> = waiting.values().take(UNITS_OF_A_JOB).map(|(at, _)| &units[*at]).collect();
            let ended = match self.submit(&job) {
                Ok(job) => self.attend(&job, units, &mut waiting, (progress, task), receive)?,
                Err(error) => Ended::Unheard(error),
            };
            match ended {
                Ended::Done => silent_since = None,
                Ended::Failed(why) => return Err(hint(why, "the same command continues with what is missing")),
                Ended::Unheard(error) => {
                    let since = *silent_since.get_or_insert_with(|| {
                        progress.warn(format!("the scheduler at {} does not answer: waiting for it", self.scheduler));
                        Instant::now()
                    });
                    if since.elapsed() > PATIENCE {
                        let gone = format!("the scheduler at {} is gone", self.scheduler);
                        return Err(hint(
                            format!("{:#}", error.context(gone)),
                            "start it again: mine cluster scheduler; the same command continues with what is missing",
                        ));
                    }
                    task.check()?;
                    self.collect(&mut waiting, receive)?;
                    std::thread::sleep(ASK_EVERY);
                }
            }
        }
        Ok(())
    }

    fn capacity(&self) -> (usize, Tuning) {
        let living = executors::living(&self.files).unwrap_or_default();
        let slots = living.iter().map(|offer| offer.slots).sum::<usize>().max(1);
        let on_cards = !living.is_empty() && living.iter().all(|offer| offer.is_gpu);
        (slots, Tuning::of(if on_cards { DeviceKind::Gpu } else { DeviceKind::Cpu }))
    }

    fn take_records(&self) -> BTreeMap<String, ExecutorRecord> {
        std::mem::take(&mut *self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How a job ended.
enum Ended {
    /// The scheduler says that its units are done, or knows nothing of it any more.
    Done,
    Failed(String),
    Unheard(anyhow::Error),
}

impl Client {
    /// Takes results until the job ends or all units are done; cancels it if the user stops.
    fn attend(
        &self,
        job: &str,
        units: &[Unit],
        waiting: &mut Waiting,
        (progress, task): (&Progress, &Task),
        receive: &mut Receive,
    ) -> Result<Ended> {
        let look = if self.files.folder().is_some() { LOOK_IN_FOLDER } else { LOOK_ON_OBJECTS };
        let (mut asked, mut counted, mut fitting) = (Instant::now(), None::<Instant>, Instant::now());
        let mut submitted = waiting.len();
        loop {
            std::thread::sleep(look);
            let taken = task.check().and_then(|()| self.collect(waiting, receive));
            if let Err(error) = taken {
                self.cancel(job);
                return Err(error);
            }
            if waiting.is_empty() {
                return Ok(Ended::Done);
            }
            if counted.is_none_or(|counted| counted.elapsed() >= COUNT_EVERY) {
                counted = Some(Instant::now());
                let needed = waiting.values().next().map(|(at, _)| &units[*at]);
                if needed.is_none_or(|unit| self.is_there_one_for(unit, progress)) || waiting.len() < submitted {
                    (fitting, submitted) = (Instant::now(), waiting.len());
                } else if fitting.elapsed() > PATIENCE {
                    self.cancel(job);
                    return Err(hint(
                        format!("no executor of {} can do what this run needs", self.scheduler),
                        "start one: mine cluster executor --scheduler … --store …; the same command continues with what \
                         is missing",
                    ));
                }
            }
            if asked.elapsed() >= ASK_EVERY {
                asked = Instant::now();
                match self.status(job) {
                    Err(error) => return Ok(Ended::Unheard(error)),
                    Ok(Some(job_status::Status::Failed(failed))) => {
                        return Ok(Ended::Failed(what_was_said(&failed.error)));
                    }
                    Ok(Some(job_status::Status::Successful(_)) | None) => {
                        // notes are written before the scheduler hears of it
                        self.collect(waiting, receive)?;
                        return Ok(Ended::Done);
                    }
                    Ok(Some(job_status::Status::Queued(_) | job_status::Status::Running(_))) => {}
                }
            }
        }
    }

    /// Hands on the results that are noted in the store.
    fn collect(&self, waiting: &mut Waiting, receive: &mut Receive) -> Result<()> {
        let notes = self.files.list(WORK)?;
        let ids = notes.iter().filter_map(|name| name.strip_suffix(".json"));
        let ids: Vec<String> = ids.filter(|id| waiting.contains_key(*id)).map(String::from).collect();
        for id in ids {
            let Some((at, damaged)) = waiting.get(&id).copied() else { continue };
            let Some(done) = read_json::<Done>(&*self.files, &note_of(&id))? else { continue };
            match receive(at, &done)? {
                Received::Taken => {
                    waiting.remove(&id);
                    self.record(done);
                }
                Received::Damaged if damaged + 1 >= MOST_DAMAGED => bail!(
                    "the result of {} is damaged for the {MOST_DAMAGED}rd time: {}",
                    done.executor,
                    self.files.place(&note_of(&id))
                ),
                Received::Damaged => {
                    self.files.remove(&note_of(&id))?;
                    waiting.insert(id, (at, damaged + 1));
                }
            }
        }
        Ok(())
    }

    fn record(&self, done: Done) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let record = records.entry(done.executor).or_default();
        record.device = done.device;
        record.units += 1;
        record.rows += done.rows as u64;
        record.seconds += done.seconds;
    }

    /// Whether a living executor can do a unit; says once of each that cannot why.
    fn is_there_one_for(&self, unit: &Unit, progress: &Progress) -> bool {
        let living = executors::living(&self.files).unwrap_or_default();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for offer in &living {
            if let Some(why) = unit.needs.refusal(offer)
                && told.insert(offer.executor.clone())
            {
                progress.warn(format!("executor {} is of no use here: {why}", offer.executor));
            }
        }
        living.iter().any(|offer| unit.needs.refusal(offer).is_none())
    }

    fn grpc(&self) -> Result<SchedulerGrpcClient<Channel>> {
        let channel = self.runtime.block_on(self.endpoint.connect()).context("no connection")?;
        Ok(SchedulerGrpcClient::new(channel))
    }

    /// Submits units as one job and returns its id.
    fn submit(&self, units: &[&Unit]) -> Result<String> {
        let plan = UnitsExec::plan(units)?;
        let plan = PhysicalPlanNode::try_from_physical_plan(plan, &*UnitsCodec::shared(None))?;
        let mut bytes = Vec::new();
        plan.try_encode(&mut bytes)?;
        let (kind, _) = units.first().context("a job without units")?.kind();
        let config = SessionConfig::new_with_ballista().set_str(BALLISTA_JOB_NAME, &format!("mine {kind}"));
        let entries = config.options().entries().into_iter();
        let settings = entries.map(|entry| KeyValuePair { key: entry.key, value: entry.value }).collect();
        let name = format!("mine-{}-{}", std::process::id(), units.len());
        let query = ExecuteQueryParams {
            query: Some(Query::PhysicalPlan(bytes)),
            settings,
            session_id: name.clone(),
            operation_id: name,
        };
        let mut request = tonic::Request::new(query);
        insert_version_header(request.metadata_mut());
        let mut grpc = self.grpc()?;
        let answer = self.runtime.block_on(grpc.execute_query(request)).context("the job was not taken")?;
        match answer.into_inner().result {
            Some(execute_query_result::Result::Success(job)) => Ok(job.job_id),
            other => Err(anyhow!("the job of {} units was not taken: {other:?}", readable(units.len()))),
        }
    }

    /// The state of a job, `None` if the scheduler does not know it.
    fn status(&self, job: &str) -> Result<Option<job_status::Status>> {
        let request = GetJobStatusParams { job_id: job.into() };
        let answer = self.runtime.block_on(self.grpc()?.get_job_status(request)).context("no answer")?;
        Ok(answer.into_inner().status.and_then(|status| status.status))
    }

    /// Asks the scheduler to drop a job; what executors still do of it is not lost.
    fn cancel(&self, job: &str) {
        let cancel = |mut grpc: SchedulerGrpcClient<Channel>| {
            self.runtime.block_on(grpc.cancel_job(CancelJobParams { job_id: job.into() })).ok()
        };
        let _ = self.grpc().ok().and_then(cancel);
    }
}
