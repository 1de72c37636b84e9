//! Making namespaces while their maker does something else.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use super::netns::NetNs;
use super::visit;
use super::worker::{Pending, Worker};
use crate::Error;

/// A thread that makes namespaces, one after the other, and stands in one that is there in between.
///
/// It is kept, so a namespace costs no thread; and whoever has it made does something else meanwhile, for which the
/// kernel's half a millisecond is long. It begins on another processor than the caller's where that one may run on
/// several, for which `sched_setaffinity(2)` is asked; a sandbox may refuse it, and should not kill for it.
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
    /// Its way home from the last namespace, which nobody waits for who waits for that.
    way: Mutex<Option<Pending<Result<(), Error>>>>,
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
        let worker = Worker::start("netns")?;
        let maker = Self { worker, home, way: Mutex::default() };
        maker.go_home()?;
        maker.come_home()?;
        Ok(maker)
    }

    /// Begins to make a namespace that nothing but the value holds which [`Making::finish`] returns.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] where the thread is gone.
    pub fn begin(&self) -> Result<Making, Error> {
        let making = self.worker.begin_aside(NetNs::make_here)?;
        self.go_home()?;
        Ok(Making(making))
    }

    fn go_home(&self) -> Result<(), Error> {
        let home = Arc::clone(&self.home);
        let way = self.worker.begin(move || visit::move_to(home.as_fd()))?;
        *self.way.lock().unwrap_or_else(PoisonError::into_inner) = Some(way);
        Ok(())
    }

    fn come_home(&self) -> Result<(), Error> {
        let way = self.way.lock().unwrap_or_else(PoisonError::into_inner).take();
        way.map_or(Ok(()), |way| way.wait()?)
    }

    /// Waits until the thread is back from the last namespace, and says whether it is: one that could not go back holds
    /// it as long as this value is there.
    #[must_use]
    pub fn is_home(&self) -> bool {
        self.come_home().is_ok()
    }
}

impl Making {
    /// Waits for the namespace.
    ///
    /// # Errors
    ///
    /// As [`NetNs::create_anonymous`].
    pub fn finish(self) -> Result<NetNs, Error> {
        self.0.wait()?
    }
}
