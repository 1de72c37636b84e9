//! The namespace that is attached: one that is there, or one that is made meanwhile.

use crate::kernel::ending::end;
use crate::kernel::host::Host;
use crate::{Attachment, Container, Error};
use linkspan_netns::{Maker, Making, NetNs};
use std::cell::{OnceCell, RefCell};
use std::path::Path;
use std::sync::PoisonError;

/// The namespace of an attach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    There(&'a NetNs),
    Coming(&'a Coming<'a>),
}

impl<'a> Target<'a> {
    /// The namespace; one that is coming is waited for until it has its place.
    pub(crate) fn netns(self) -> Result<&'a NetNs, Error> {
        match self {
            Self::There(netns) => Ok(netns),
            Self::Coming(coming) => coming.pinned(),
        }
    }
}

/// A namespace that is made, and then pinned, when it is needed.
#[derive(Debug)]
pub(crate) struct Coming<'a> {
    pin: &'a Path,
    maker: &'a Maker,
    making: RefCell<Option<Making>>,
    made: OnceCell<NetNs>,
    pinned: OnceCell<NetNs>,
}

impl<'a> Coming<'a> {
    fn begin(maker: &'a Maker, pin: &'a Path) -> Result<Self, Error> {
        let making = RefCell::new(Some(maker.begin()?));
        Ok(Self { pin, maker, making, made: OnceCell::new(), pinned: OnceCell::new() })
    }

    /// The namespace, which is waited for, and which has no place yet.
    pub(crate) fn made(&self) -> Result<&NetNs, Error> {
        if let Some(netns) = self.made.get() {
            return Ok(netns);
        }
        // An attach that is tried once more tries once more what was refused.
        let making = self.making.take().map_or_else(|| self.maker.begin(), Ok)?;
        let netns = making.finish()?;
        Ok(self.made.get_or_init(|| netns))
    }

    fn pinned(&self) -> Result<&NetNs, Error> {
        if let Some(netns) = self.pinned.get() {
            return Ok(netns);
        }
        let netns = self.made()?.pin(self.pin)?;
        Ok(self.pinned.get_or_init(|| netns))
    }

    fn into_pinned(self) -> Result<NetNs, Error> {
        self.pinned()?;
        Ok(self.pinned.into_inner().expect("it was just looked at"))
    }

    /// Removes the pin, where there is one: nothing else holds the namespace.
    fn end(self) -> Result<(), Error> {
        self.pinned.into_inner().map_or(Ok(()), |netns| end(&netns))
    }
}

impl Host {
    /// Makes a namespace, pins it at `pin`, and puts it on its networks.
    ///
    /// It does what [`NetNs::create`] and [`attach`](Self::attach) do, and takes less: the namespace is made on a thread
    /// that is kept for the next one, and what needs none is done meanwhile. The pin is the caller's, as that of `create`:
    /// [`detach_and_end`](Self::detach_and_end) removes it, and [`NetNs::unpin`] does behind a plain detach, and where
    /// whoever was at it was killed. Until the attachment is on record, nothing of ours tells of the pin. That no namespace
    /// can be made is told last, when all else was granted, and all of that is taken back.
    ///
    /// As long as this value is there, the process has one thread more, and may not leave its user namespace
    /// (unshare(2)).
    ///
    /// # Errors
    /// As [`NetNs::create`] and [`attach`](Self::attach); whatever the error, the pin is gone again, but for
    /// [`Error::LeftBehind`].
    ///
    /// # Examples
    /// ```no_run
    /// use linkspan::{Container, Endpoint, Host, Network};
    ///
    /// let host = Host::open()?;
    /// let web = host.ensure_network(&Network::bridge("web".parse()?))?;
    /// let wanted = Container::new("web-1".parse()?).on(Endpoint::of(&web));
    /// let (netns, attachment) = host.attach_new("/run/netns/web-1", &wanted)?;
    /// host.detach_and_end(attachment.id(), netns)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn attach_new(
        &self,
        pin: impl AsRef<Path>,
        wanted: &Container,
    ) -> Result<(NetNs, Attachment), Error> {
        let maker = self.maker()?;
        let coming = Coming::begin(&maker, pin.as_ref())?;
        let target = Target::Coming(&coming);
        match self.make(|| self.attach_mending(target, wanted, None, &RefCell::default())) {
            Ok(attachment) => {
                let netns = coming.into_pinned()?;
                self.keep(maker);
                Ok((netns, attachment))
            }
            Err(refused) => Err(refused.after(coming.end())),
        }
    }

    /// A thread that nobody else uses, the one of the attach before if it can be.
    fn maker(&self) -> Result<Maker, Error> {
        let kept = self.maker.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.map_or_else(|| Ok(Maker::start(&self.netns)?), Ok)
    }

    /// Keeps one for the next attach, unless it stayed in the namespace that it made.
    fn keep(&self, maker: Maker) {
        if !maker.is_home() {
            return;
        }
        let before = self.maker.lock().unwrap_or_else(PoisonError::into_inner).replace(maker);
        // It is waited for while nobody waits for the lock.
        drop(before);
    }
}
