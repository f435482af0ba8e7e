//! Copies of a model, one per device, and the loop that feeds them.
//!
//! Every kind of device has the same loop. One thread prepares batches ahead, through a bounded channel. Each worker
//! takes the next batch, starts it, and only then reads the result of the one before: a GPU computes while its last
//! result travels and the next batch is prepared. The calling thread receives the results.
//!
//! A batch's result depends on the batch alone, so the number of workers and devices changes no bytes.

use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use burn::tensor::Device;

use crate::device::{DeviceKind, Devices};
use crate::executor::tuning::Tuning;

/// Batches prepared ahead for each worker.
const AHEAD: usize = 2;

/// One model on one or more devices.
pub struct Replicas<M> {
    /// At least one.
    models: Vec<M>,
    devices: Vec<Device>,
    workers: usize,
    /// Batches and partitions that suit the devices.
    pub tuning: Tuning,
}

impl<M: Sync> Replicas<M> {
    /// Loads a copy for each device.
    pub fn load(devices: &Devices, load: impl Fn(&Device) -> Result<M>) -> Result<Self> {
        let models = devices.list.iter().map(load).collect::<Result<_>>()?;
        Ok(Self::new(models, devices.list.clone(), devices))
    }

    /// One model that is already on the first of the devices, as in training.
    pub fn of(model: M, devices: &Devices) -> Self {
        Self::new(vec![model], vec![devices.list[0].clone()], devices)
    }

    fn new(models: Vec<M>, list: Vec<Device>, devices: &Devices) -> Self {
        let workers = match devices.kind {
            // independent batches use the cores better than one batch split among them
            DeviceKind::Cpu | DeviceKind::Tch => rayon::current_num_threads().max(models.len()),
            DeviceKind::Gpu => models.len(),
        };
        Self { models, devices: list, workers, tuning: Tuning::of_devices(devices) }
    }

    /// Every copy.
    pub fn each(&self) -> &[M] {
        &self.models
    }

    /// The first copy. All copies share its tokenizer and sizes.
    pub fn first(&self) -> &M {
        &self.models[0]
    }

    /// Prepares and computes batches `0..count`, and hands each result to `receive` as it arrives, in any order.
    /// The first failure of `read` or `receive` ends the loop.
    pub fn run<B: Send, P, R: Send>(
        &self,
        count: usize,
        prepare: impl Fn(usize) -> B + Sync,
        start: impl Fn(&M, &B) -> P + Sync,
        read: impl Fn(&M, &B, P) -> Result<R> + Sync,
        mut receive: impl FnMut(usize, R) -> Result<()>,
    ) -> Result<()> {
        let (ahead, prepared) = sync_channel(AHEAD * self.workers);
        let (results, arrived) = channel();
        let prepared = Arc::new(Mutex::new(prepared));
        let (prepare, start, read) = (&prepare, &start, &read);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // after a failure the workers and their ends of the channel are gone
                (0..count).try_for_each(|at| ahead.send((at, prepare(at))))
            });
            for worker in 0..self.workers {
                let copy = worker % self.models.len();
                let (model, device) = (&self.models[copy], &self.devices[copy]);
                let (prepared, results) = (prepared.clone(), results.clone());
                scope.spawn(move || {
                    let mut running = None;
                    loop {
                        let next = prepared.lock().ok().and_then(|prepared| prepared.recv().ok());
                        let next = next.map(|(at, batch)| {
                            let pending = start(model, &batch);
                            // without this the device would start at the read; a failure shows there
                            let _ = device.flush();
                            (at, batch, pending)
                        });
                        let ended = next.is_none();
                        if let Some((at, batch, pending)) = std::mem::replace(&mut running, next)
                            && results.send((at, read(model, &batch, pending))).is_err()
                        {
                            return;
                        }
                        if ended && running.is_none() {
                            return;
                        }
                    }
                });
            }
            drop((prepared, results));
            let mut received = 0;
            for (at, result) in arrived {
                receive(at, result?)?;
                received += 1;
            }
            (received == count).then_some(()).context("a worker failed")
        })
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;
    use proptest::prelude::*;

    use super::*;
    use crate::device::plain_cpu;

    fn replicas(models: usize, workers: usize) -> Replicas<usize> {
        Replicas {
            models: vec![10; models],
            devices: vec![plain_cpu(); models],
            workers,
            tuning: Tuning::of(DeviceKind::Cpu),
        }
    }

    proptest! {
        #[test]
        fn every_batch_comes_once_whatever_the_workers(models in 1usize..4, more in 0usize..4, count in 0usize..60) {
            let mut got = vec![0; count];
            replicas(models, models + more)
                .run(count, |at| at + 1, |m, b| m * b, |_, _, p| Ok(p), |at, r| { got[at] += r; Ok(()) })
                .unwrap();
            prop_assert_eq!(got, (0..count).map(|at| 10 * (at + 1)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_failure_ends_the_loop() {
        let read = |_: &usize, &b: &usize, _| if b == 7 { bail!("batch 7") } else { Ok(b) };
        let error = replicas(2, 3).run(1000, |at| at, |_, _| (), read, |_, _| Ok(())).unwrap_err();
        assert_eq!(error.to_string(), "batch 7");
        let stop = |at, _| if at > 3 { bail!("enough") } else { Ok(()) };
        assert!(replicas(1, 2).run(1000, |at| at, |_, _| (), |_, &b, _| Ok(b), stop).is_err());
    }
}
