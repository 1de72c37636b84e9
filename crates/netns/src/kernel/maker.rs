//! Making namespaces while their maker does something else.

use std::os::fd::{AsFd, OwnedFd};
use std::process;
use std::sync::Arc;

use super::netns::NetNs;
use super::visit;
use super::worker::{Pending, Worker};
use crate::Error;

/// A thread that makes namespaces, one after the other, and stands in one that is there in between.
///
/// It is kept, so a namespace costs no thread; and whoever has it made does something else meanwhile, for which the
/// kernel's half a millisecond is long.
///
/// ```
/// use linkspan_netns::{Maker, NetNs};
///
/// # if NetNs::create_anonymous().is_err() { return Ok(()) } // an ordinary user may not
/// let maker = Maker::start(&NetNs::current()?)?;
/// let making = maker.begin()?;
/// // Whatever needs no namespace is done here.
/// let netns = making.finish()?;
/// assert_ne!(netns.cookie(), NetNs::current()?.cookie());
/// # Ok::<(), linkspan_netns::Error>(())
/// ```
#[derive(Debug)]
pub struct Maker {
    worker: Worker,
    home: Arc<OwnedFd>,
    process: u32,
}

/// A namespace that is being made; it ends where this value is dropped.
#[derive(Debug)]
#[must_use = "what is not finished ends"]
pub struct Making(Pending<Result<NetNs, Error>>);

impl Maker {
    /// Starts the thread, which stands in this network namespace.
    ///
    /// # Errors
    ///
    /// [`Error::Thread`], [`Error::Duplicate`], [`Error::Enter`].
    pub fn start(home: &NetNs) -> Result<Self, Error> {
        let home = Arc::new(OwnedFd::from(home.try_clone()?));
        let (worker, door) = (Worker::start("netns")?, Arc::clone(&home));
        worker.run(move || visit::enter(door.as_fd()))??;
        Ok(Self { worker, home, process: process::id() })
    }

    /// Begins to make a namespace that nothing but the value holds which [`Making::finish`] returns.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] where the thread is gone.
    pub fn begin(&self) -> Result<Making, Error> {
        let home = Arc::clone(&self.home);
        let make = move || {
            let made = NetNs::make_here();
            // Where it cannot go back, it holds the namespace, which then is not handed out.
            visit::move_to(home.as_fd()).and(made)
        };
        self.worker.begin(make).map(Making)
    }

    /// Whether the thread is one of the calling process, and not of the one that it was forked from.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.process == process::id()
    }
}

impl Making {
    /// Waits for the namespace.
    ///
    /// # Errors
    ///
    /// As [`NetNs::create_anonymous`]; and [`Error::Enter`] where the thread could not go back, whose maker is of no
    /// further use.
    pub fn finish(self) -> Result<NetNs, Error> {
        self.0.wait()?
    }
}
