//! A thread that is kept.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use crate::Error;

type Job = Box<dyn FnOnce() + Send>;

/// A thread that does one job after the other until it is dropped.
#[derive(Debug)]
pub(super) struct Worker {
    process: u32,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// What a job comes to.
#[derive(Debug)]
pub(super) struct Pending<T>(Receiver<thread::Result<T>>);

impl<T> Pending<T> {
    /// Waits for it. A panic of the job goes on here.
    pub(super) fn wait(self) -> Result<T, Error> {
        self.0.recv().map_err(|_| Error::Ended)?.map_or_else(|panic| resume_unwind(panic), Ok)
    }
}

impl Worker {
    pub(super) fn start(name: &str) -> Result<Self, Error> {
        let (jobs, queue): (_, Receiver<Job>) = mpsc::channel();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || queue.into_iter().for_each(|job| job()))
            .map_err(|source| Error::Thread { source })?;
        Ok(Self { process: process::id(), jobs: Some(jobs), thread: Some(thread) })
    }

    pub(super) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        // A job that asks for another would wait for itself.
        if self.is_here() { Ok(job()) } else { self.begin(job)?.wait() }
    }

    /// Has a job done that the caller does not wait for yet.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Pending<T>, Error> {
        let (answer, result) = mpsc::channel();
        let job = Box::new(move || {
            let _ = answer.send(catch_unwind(AssertUnwindSafe(job)));
        });
        self.jobs.as_ref().and_then(|jobs| jobs.send(job).ok()).ok_or(Error::Ended)?;
        Ok(Pending(result))
    }

    fn is_here(&self) -> bool {
        self.thread.as_ref().is_some_and(|worker| worker.thread().id() == thread::current().id())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The queue ends with its sender, and the thread with the queue. No job has the worker, so this never runs
        // within one. The thread is one of the process that started it, and not of a child that was forked.
        self.jobs.take();
        if let Some(thread) = self.thread.take().filter(|_| self.process == process::id()) {
            let _ = thread.join();
        }
    }
}
