//! The physical plan of a job: a node that computes units, one a partition, over a node that holds their descriptions.

use std::fmt;
use std::sync::Arc;

use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::arrow::array::{AsArray, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use futures::TryStreamExt;

use crate::error::render;
use crate::mining::units::{Done, Needs, Unit};
use crate::mining::worker::Worker;
use crate::progress::{Cancellation, Progress};

/// The start of an encoded node, by which ours are told from Ballista's.
const MAGIC: &[u8] = b"mine-units:";

/// What a failed task says to the user stands between these.
const QUOTES: (&str, &str) = ("⟦", "⟧");

/// Computes the unit that each row of its input describes, and returns what came of it.
#[derive(Debug)]
pub struct UnitsExec {
    /// A unit a partition, as JSON.
    input: Arc<dyn ExecutionPlan>,
    /// What every unit needs.
    pub needs: Needs,
    /// Only executors have one.
    worker: Option<SharedWorker>,
}

/// A worker as a node holds it.
#[derive(Clone)]
struct SharedWorker(Arc<Worker>);

impl fmt::Debug for SharedWorker {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0.name)
    }
}

impl UnitsExec {
    /// The plan that has all units done. They must need the same.
    pub fn plan(units: &[&Unit]) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(first) = units.first() else { return Err(DataFusionError::Plan("no units".into())) };
        let rows = units.iter().map(|unit| Ok(vec![row(serde_json::to_string(unit).map_err(external)?)?]));
        let rows: Vec<Vec<RecordBatch>> = rows.collect::<Result<_>>()?;
        let input = MemorySourceConfig::try_new_exec(&rows, schema(), None)?;
        Ok(Arc::new(Self { input, needs: first.needs.clone(), worker: None }))
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("unit", DataType::Utf8, false)]))
}

fn row(text: String) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new(schema(), vec![Arc::new(StringArray::from(vec![text]))])?)
}

fn external(error: serde_json::Error) -> DataFusionError {
    DataFusionError::External(error.into())
}

impl DisplayAs for UnitsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("UnitsExec")
    }
}

impl ExecutionPlan for UnitsExec {
    fn name(&self) -> &str {
        "UnitsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let (Some(input), true) = (children.pop(), children.is_empty()) else {
            return Err(DataFusionError::Plan("UnitsExec has one child".into()));
        };
        Ok(Arc::new(Self { input, needs: self.needs.clone(), worker: self.worker.clone() }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(SharedWorker(worker)) = self.worker.clone() else {
            return Err(DataFusionError::Plan("only an executor computes units".into()));
        };
        let units = self.input.execute(partition, context)?;
        let done = units.and_then(move |batch| compute(worker.clone(), batch));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema(), done)))
    }
}

/// Tells the work to stop when the task is dropped.
struct StopWhenDropped(Arc<Cancellation>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.ask();
    }
}

/// Computes the units of a batch on a thread that may block: signs of life go on, however long it takes.
async fn compute(worker: Arc<Worker>, batch: RecordBatch) -> Result<RecordBatch> {
    let texts: Vec<String> = batch.column(0).as_string::<i32>().iter().flatten().map(String::from).collect();
    let stop = StopWhenDropped(Arc::default());
    let progress = Progress::new(true, stop.0.clone());
    let work = move || -> anyhow::Result<Vec<Done>> {
        texts.iter().map(|text| worker.compute(&serde_json::from_str(text)?, &progress)).collect()
    };
    let done = match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => return Err(failure(&error)),
        Err(panic) => return Err(DataFusionError::Execution(quote(&format!("error: a unit failed: {panic}")))),
    };
    let texts: Vec<String> = done.iter().map(serde_json::to_string).collect::<Result<_, _>>().map_err(external)?;
    Ok(RecordBatch::try_new(schema(), vec![Arc::new(StringArray::from(texts))])?)
}

/// How a task fails: what went wrong with a file may go well elsewhere, and Ballista tries it again.
fn failure(error: &anyhow::Error) -> DataFusionError {
    let text = quote(&render(error));
    match error.chain().any(|cause| cause.is::<std::io::Error>() || cause.is::<object_store::Error>()) {
        true => DataFusionError::IoError(std::io::Error::other(text)),
        false => DataFusionError::Execution(text),
    }
}

fn quote(text: &str) -> String {
    format!("{}{}{}", QUOTES.0, text.trim_start_matches("error: ").replace('\n', " "), QUOTES.1)
}

/// What the executor said, out of everything that Ballista says of a failed job.
pub fn quoted(error: &str) -> String {
    let inner = error.split(QUOTES.0).nth(1).and_then(|rest| rest.split(QUOTES.1).next());
    inner.unwrap_or(error).replace("\\\"", "\"").replace("\\\\", "\\")
}

/// Our node as bytes, and Ballista's own nodes as Ballista has them.
#[derive(Debug)]
pub struct UnitsCodec {
    worker: Option<SharedWorker>,
    others: BallistaPhysicalExtensionCodec,
}

impl UnitsCodec {
    /// For an executor with its worker, for others without.
    pub fn shared(worker: Option<Arc<Worker>>) -> Arc<dyn PhysicalExtensionCodec> {
        Arc::new(Self { worker: worker.map(SharedWorker), others: BallistaPhysicalExtensionCodec::default() })
    }
}

impl PhysicalExtensionCodec for UnitsCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(needs) = bytes.strip_prefix(MAGIC) else {
            return self.others.try_decode(bytes, inputs, context, converter);
        };
        let [input] = inputs else { return Err(DataFusionError::Plan("UnitsExec has one child".into())) };
        let needs = serde_json::from_slice(needs).map_err(external)?;
        Ok(Arc::new(UnitsExec { input: input.clone(), needs, worker: self.worker.clone() }))
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let Some(units) = node.downcast_ref::<UnitsExec>() else {
            return self.others.try_encode(node, bytes, converter);
        };
        bytes.extend_from_slice(MAGIC);
        bytes.extend(serde_json::to_vec(&units.needs).map_err(external)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_executor_said_is_found_again() {
        let error = anyhow::anyhow!("cannot write \"x\"").context("a unit");
        let failed = format!("Job 1 failed: Task failed: {:?}", failure(&error));
        assert_eq!(quoted(&failed), "a unit: cannot write \"x\"");
        assert_eq!(quoted("nothing of ours"), "nothing of ours");
        let full = anyhow::Error::from(std::io::Error::other("disk full"));
        assert!(matches!(failure(&full), DataFusionError::IoError(_)));
    }
}
