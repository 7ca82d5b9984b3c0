// SPDX-License-Identifier: Apache-2.0
//! A thread that waits for the disk in the writer's place. It has at most one job at a time
//! and decides nothing.

use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::checkpoint::Delivery;
use crate::error::Error;

/// What there is to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// Make the segment durable, and then the journal; names for messages.
    Sync(Vec<(File, PathBuf)>),
    /// Write a checkpoint.
    Checkpoint(Box<Delivery>),
}

/// How it went; what failed comes back to be done again.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) job: Job,
    pub(crate) result: Result<(), Error>,
}

/// The thread and its two channels.
#[derive(Debug)]
pub(crate) struct Helper {
    jobs: Option<SyncSender<Job>>,
    done: Receiver<Outcome>,
    busy: bool,
    thread: Option<JoinHandle<()>>,
}

impl Helper {
    pub(crate) fn start(dir: PathBuf) -> Result<Helper, Error> {
        let (jobs, todo) = sync_channel::<Job>(1);
        let (report, done) = sync_channel(1);
        let path = dir.clone();
        let thread = std::thread::Builder::new().name("store-sync".into()).spawn(move || {
            while let Ok(job) = todo.recv() {
                let result = perform(&dir, &job);
                if report.send(Outcome { job, result }).is_err() {
                    return;
                }
            }
        });
        let thread = thread.map_err(|source| Error::io("starting the sync thread of", &path, source))?;
        Ok(Helper { jobs: Some(jobs), done, busy: false, thread: Some(thread) })
    }

    /// True while a job is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Hands over a job; the caller has seen that there is none.
    pub(crate) fn submit(&mut self, job: Job) {
        if let Some(jobs) = &self.jobs
            && jobs.send(job).is_ok()
        {
            self.busy = true;
        }
    }

    /// The outcome, if there is one by now, or by waiting for it.
    pub(crate) fn outcome(&mut self, wait: bool) -> Option<Outcome> {
        if !self.busy {
            return None;
        }
        let outcome = if wait { self.done.recv().ok() } else { self.done.try_recv().ok() };
        if outcome.is_some() || wait {
            self.busy = false;
        }
        outcome
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed by the runtime; here nothing is left to be told.
            thread.join().ok();
        }
    }
}

fn perform(dir: &std::path::Path, job: &Job) -> Result<(), Error> {
    match job {
        Job::Sync(files) => files.iter().try_for_each(|(file, path)| {
            file.sync_data().map_err(|source| Error::io("syncing", path, source))
        }),
        Job::Checkpoint(delivery) => delivery.perform(dir),
    }
}
