//! Which executor gets which unit: one that has what the unit needs, one unit a task.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use ballista_core::JobId;
use ballista_core::serde::protobuf::{AvailableVcores, job_status};
use ballista_core::serde::scheduler::TaskKey;
use ballista_scheduler::cluster::{BoundTask, DistributionPolicy};
use ballista_scheduler::state::execution_graph::{TaskDescription, create_task_info};
use ballista_scheduler::state::execution_stage::RunningStage;
use ballista_scheduler::state::task_manager::JobInfoCache;
use datafusion::physical_plan::ExecutionPlan;

use crate::cluster::node::UnitsExec;
use crate::mining::units::{Needs, Offer};
use crate::progress::Progress;

/// Gives each free slot the next unit that its executor can do.
pub struct Placement {
    progress: Progress,
    /// Lines that were said, each once.
    said: Mutex<HashSet<String>>,
}

impl std::fmt::Debug for Placement {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("Placement")
    }
}

impl Placement {
    pub fn new(progress: &Progress) -> Self {
        Self { progress: progress.clone(), said: Mutex::default() }
    }

    /// Whether an executor can do what a job asks for; says once why not.
    fn fits(&self, needs: &Needs, executor_id: &str) -> bool {
        let Ok(offer) = serde_json::from_str::<Offer>(executor_id) else { return false };
        let Some(why) = needs.refusal(&offer) else { return true };
        let line = format!("executor {} is not used: {why}", offer.executor);
        if self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(line.clone()) {
            self.progress.warn(line);
        }
        false
    }
}

#[async_trait::async_trait]
impl DistributionPolicy for Placement {
    async fn bind_tasks(
        &self,
        mut free: Vec<&mut AvailableVcores>,
        jobs: Arc<HashMap<JobId, JobInfoCache>>,
    ) -> datafusion::error::Result<Vec<BoundTask>> {
        let mut bound = Vec::new();
        for (job_id, job) in jobs.iter() {
            if !matches!(job.status, Some(job_status::Status::Running(_))) {
                continue;
            }
            let mut graph = job.execution_graph.write().await;
            let session_id = graph.session_id().to_string();
            let mut seen = Vec::new();
            while let Some(stage) = graph.fetch_running_stage(&seen) {
                seen.push(stage.stage_id);
                let needs = needs_of(&stage.plan);
                for slots in &mut free {
                    let fits = needs.as_ref().is_none_or(|needs| self.fits(needs, &slots.executor_id));
                    while fits && slots.vcores > 0 {
                        let Some(task) = bind(stage, (job_id, &session_id), slots) else { break };
                        bound.push(task);
                    }
                }
            }
        }
        Ok(bound)
    }

    fn name(&self) -> &str {
        "mine"
    }
}

/// What the units of a stage need.
fn needs_of(plan: &Arc<dyn ExecutionPlan>) -> Option<Needs> {
    if let Some(units) = plan.downcast_ref::<UnitsExec>() {
        return Some(units.needs.clone());
    }
    plan.children().into_iter().find_map(needs_of)
}

/// Gives the next partition of a stage to an executor, as Ballista's own policies do with a slice of one partition.
fn bind(
    stage: &mut RunningStage,
    (job_id, session_id): (&JobId, &str),
    slots: &mut AvailableVcores,
) -> Option<BoundTask> {
    let partitions = stage.pending.next_slice(1);
    let attempt = stage.task_failure_numbers[*partitions.first()?];
    let executor_id = slots.executor_id.clone();
    let task_id = stage.task_infos.len();
    let mut info = create_task_info(executor_id.clone(), task_id);
    info.global_input_partition_ids.clone_from(&partitions);
    info.vcores_consumed = 1;
    stage.task_infos.push(info);
    slots.vcores -= 1;
    let task = TaskDescription {
        session_id: session_id.to_string(),
        key: TaskKey { job_id: job_id.clone(), stage_id: stage.stage_id, task_id },
        stage_attempt_num: stage.stage_attempt_num,
        task_attempt: attempt,
        global_input_partition_ids: partitions,
        vcores_consumed: 1,
        plan: stage.plan.clone(),
        session_config: stage.session_config.clone(),
    };
    Some((executor_id, task))
}
