//! A thread that is kept.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::{Pid, gettid};

use crate::Error;

type Job = Box<dyn FnOnce() + Send>;

/// A thread that does one job after the other until it is dropped.
#[derive(Debug)]
pub(super) struct Worker {
    process: u32,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// Its number, for one at a time who says where it runs.
    seat: Mutex<Option<Pid>>,
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
        let seat = Mutex::default();
        Ok(Self { process: process::id(), jobs: Some(jobs), thread: Some(thread), seat })
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

    /// Has a job begun on another processor than this one, where the thread may run on another: a scheduler that wakes
    /// it beside who woke it has it wait until he waits. Where it goes on is the scheduler's again.
    pub(super) fn begin_aside<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Pending<T>, Error> {
        let mut seat = self.seat.lock().unwrap_or_else(PoisonError::into_inner);
        let tid = seat.map_or_else(|| self.run(gettid), Ok)?;
        *seat = Some(tid);
        let wherever = unseat(tid);
        let begun = self.begin(job);
        // Where that is refused, as what came before may be by a sandbox, it stays where it is.
        if let Ok(Some(processors)) = wherever {
            let _ = sched_setaffinity(tid, &processors);
        }
        begun
    }

    fn is_here(&self) -> bool {
        self.thread.as_ref().is_some_and(|worker| worker.thread().id() == thread::current().id())
    }
}

/// Takes the processor of the calling thread from those of another; says which those were, if others are left.
fn unseat(tid: Pid) -> Result<Option<CpuSet>, Errno> {
    let wherever = sched_getaffinity(tid)?;
    let mut elsewhere = wherever;
    elsewhere.unset(sched_getcpu()?)?;
    let alone = elsewhere == CpuSet::new();
    if !alone {
        sched_setaffinity(tid, &elsewhere)?;
    }
    Ok((!alone).then_some(wherever))
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
