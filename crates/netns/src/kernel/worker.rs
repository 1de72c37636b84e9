//! A thread that is kept.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, OnceLock};
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
    /// Its number, once it runs.
    tid: Arc<OnceLock<Pid>>,
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
        let tid = Arc::new(OnceLock::new());
        let own = Arc::clone(&tid);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                own.get_or_init(gettid);
                queue.into_iter().for_each(|job| job());
            })
            .map_err(|source| Error::Thread { source })?;
        Ok(Self { process: process::id(), jobs: Some(jobs), thread: Some(thread), tid })
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

    /// Has a job begun on another processor than this one, where the caller may run on another: a scheduler that wakes
    /// the thread beside who woke it has it wait until he waits. Then it may go on wherever the caller may.
    pub(super) fn begin_aside<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Pending<T>, Error> {
        let aside = self.tid.get().and_then(|tid| Some((*tid, move_aside(*tid).ok()??)));
        let begun = self.begin(job);
        // Where that is refused, the next job of a caller who may run here finds it allowed again.
        if let Some((tid, wherever)) = aside {
            let _ = sched_setaffinity(tid, &wherever);
        }
        begun
    }

    fn is_here(&self) -> bool {
        self.thread.as_ref().is_some_and(|worker| worker.thread().id() == thread::current().id())
    }
}

/// Moves another thread to the processors where the calling one may run but does not; says where it may, if those are
/// more than one.
///
/// They are asked for each time: a list that was kept would keep the thread from processors that come later.
fn move_aside(tid: Pid) -> Result<Option<CpuSet>, Errno> {
    let wherever = sched_getaffinity(Pid::from_raw(0))?;
    let mut elsewhere = wherever;
    elsewhere.unset(sched_getcpu()?)?;
    if elsewhere == CpuSet::new() {
        return Ok(None);
    }
    sched_setaffinity(tid, &elsewhere)?;
    Ok(Some(wherever))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn only(cpu: usize) -> CpuSet {
        let mut set = CpuSet::new();
        set.set(cpu).unwrap();
        set
    }

    /// The processors of a list.
    fn of(set: &CpuSet) -> Vec<usize> {
        (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap()).collect()
    }

    /// A thread that may run wherever this one may.
    fn other() -> (Worker, Pid) {
        let worker = Worker::start("aside").unwrap();
        worker.run(|| ()).unwrap();
        let tid = *worker.tid.get().unwrap();
        (worker, tid)
    }

    #[test]
    fn a_thread_is_kept_off_the_callers_processor_and_of_no_other() {
        let mine = sched_getaffinity(Pid::from_raw(0)).unwrap();
        if of(&mine).len() < 2 {
            println!("skipped: there is one processor");
            return;
        }
        let (_worker, tid) = other();
        let wherever = move_aside(tid).unwrap().unwrap();
        assert_eq!(wherever, mine);
        assert_eq!(of(&sched_getaffinity(tid).unwrap()).len(), of(&mine).len() - 1);
    }

    #[test]
    fn once_it_began_a_thread_may_run_wherever_its_caller_may() {
        let (worker, tid) = other();
        for _ in 0..3 {
            worker.begin_aside(|| ()).unwrap().wait().unwrap();
            assert_eq!(sched_getaffinity(tid), sched_getaffinity(Pid::from_raw(0)));
        }
    }

    #[test]
    fn of_one_processor_nobody_is_kept_off() {
        let (worker, tid) = other();
        let before = sched_getaffinity(tid).unwrap();
        sched_setaffinity(Pid::from_raw(0), &only(of(&before)[0])).unwrap();
        assert_eq!(move_aside(tid), Ok(None));
        assert_eq!(sched_getaffinity(tid).unwrap(), before);
        worker.begin_aside(|| ()).unwrap().wait().unwrap();
    }
}
