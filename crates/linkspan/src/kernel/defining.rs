//! Work on networks while the definitions are held, and what dead processes left of networks.
//!
//! Whoever changes a network holds the definitions, and a record of one that is pending meanwhile is that of a dead
//! process, or of a network that somebody is removing who waits for those at work on it. Nobody is waited for with
//! the definitions in hand.

use crate::attachment::AttachmentRecord;
use crate::kernel::home::{file, network_file, network_of};
use crate::kernel::host::Host;
use crate::kernel::undone::Undone;
use crate::kernel::up::Definition;
use crate::plan::NetworkRecord;
use crate::{AttachmentId, Error, NetworkId, Residue};
use linkspan_records::{Lock, Taken};
use std::thread::sleep;
use std::time::Duration;

/// Between two looks at a network that somebody is at work on.
const PAUSE: Duration = Duration::from_millis(1);

/// The definitions, held alone.
pub(crate) struct Defining {
    _lock: Lock,
}

/// What came of work on a network while the definitions are held.
pub(crate) enum Turn<T> {
    Done(T),
    /// Somebody has to be waited for, and then all is looked at afresh.
    Busy(Busy),
}

impl<T> Turn<T> {
    pub(crate) fn map<U>(self, of: impl FnOnce(T) -> U) -> Turn<U> {
        match self {
            Self::Done(done) => Turn::Done(of(done)),
            Self::Busy(busy) => Turn::Busy(busy),
        }
    }
}

/// Who is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// Those who were at work on a network when it was closed: nobody comes to it any more, so they become fewer.
    Network(NetworkId),
    /// Whoever takes an attachment away.
    Attachment(AttachmentId),
}

impl Host {
    /// Takes the definitions, and takes back what dead processes left of networks.
    ///
    /// What stays of another network keeps nobody from his own; who wants that very one is told.
    pub(crate) fn define_alone(&self) -> Result<Defining, Error> {
        let defining = Defining { _lock: self.state.lock()? };
        let _ = self.take_back_networks(&defining);
        Ok(defining)
    }

    /// Does work with the definitions. Who is at work on a network is waited for without them, so that he keeps
    /// nobody from other networks.
    pub(crate) fn defining<T>(&self, work: impl Fn(&Defining) -> Result<Turn<T>, Error>) -> Result<T, Error> {
        loop {
            let defining = self.define_alone()?;
            match work(&defining)? {
                Turn::Done(done) => return Ok(done),
                Turn::Busy(busy) => {
                    drop(defining);
                    self.wait_for(busy)?;
                }
            }
        }
    }

    fn wait_for(&self, busy: Busy) -> Result<(), Error> {
        match busy {
            Busy::Network(network) => self.wait_for_network(network)?,
            Busy::Attachment(id) => {
                for folder in [&self.run.attachments, &self.run.pending] {
                    drop(folder.wait_record::<AttachmentRecord>(&file(id))?);
                }
            }
        }
        Ok(())
    }

    /// Asks again and again: a lock that is waited for would be that of a network which is there again by then, where
    /// one comes after the other and somebody always has it.
    fn wait_for_network(&self, network: NetworkId) -> Result<(), Error> {
        loop {
            if let Some(alone) = self.run.try_lock_network(network)? {
                // It is to go: whoever waited last leaves no file of its name.
                return self.run.forget_lock(network, Some(alone));
            }
            sleep(PAUSE);
            if !self.is_closed(network)? {
                return Ok(());
            }
        }
    }

    /// Whether a network is being removed, and is not down yet.
    pub(crate) fn is_closed(&self, network: NetworkId) -> Result<bool, Error> {
        let record = self.run.pending.peek_record::<NetworkRecord>(&network_file(network))?;
        Ok(record.is_some_and(|record| record.forget))
    }

    /// Takes back what dead processes left of networks, where nobody has the definitions; what stays is told.
    pub(crate) fn take_back_dead_networks(&self) -> Result<(), Error> {
        let Some(lock) = self.state.try_lock()? else { return Ok(()) };
        let taken_back = self.take_back_networks(&Defining { _lock: lock });
        for stayed in taken_back.as_ref().err().into_iter().flat_map(Error::left_behind) {
            if let Error::Records(refused) = &*stayed.source {
                self.tell_unreadable(refused);
            }
        }
        taken_back
    }

    /// Takes back what dead processes left of networks, waiting for nobody.
    ///
    /// # Errors
    /// [`Error::LeftBehind`] with all that stayed, each with its reason.
    pub(crate) fn take_back_every_network(&self) -> Result<(), Error> {
        self.take_back_networks(&Defining { _lock: self.state.lock()? })
    }

    fn take_back_networks(&self, defining: &Defining) -> Result<(), Error> {
        let mut undone = Undone::default();
        for network in self.run.pending.names()?.iter().filter_map(network_of) {
            let taken_back = self.take_back_network(defining, network).map(drop);
            undone.note(Residue::Records { of: network.to_string() }, taken_back);
        }
        undone.finish()
    }

    /// Whom to wait for who wants a network of which something is under way; `None` where nothing is.
    ///
    /// # Errors
    /// The reason why what a dead process left of it cannot be taken back.
    pub(crate) fn under_way(&self, defining: &Defining, network: NetworkId) -> Result<Option<Busy>, Error> {
        if self.run.pending.peek_record::<NetworkRecord>(&network_file(network))?.is_none() {
            return Ok(None);
        }
        Ok(Some(match self.take_back_network(defining, network)? {
            Turn::Done(()) => Busy::Network(network),
            Turn::Busy(busy) => busy,
        }))
    }

    /// Takes back what is under way of a network that nobody is at work on. Where it is being removed, those who are
    /// on it go first: they came before it was closed.
    fn take_back_network(&self, defining: &Defining, network: NetworkId) -> Result<Turn<()>, Error> {
        let Some(alone) = self.run.try_lock_network(network)? else {
            return Ok(Turn::Busy(Busy::Network(network)));
        };
        let record = match self.run.pending.take_record::<NetworkRecord>(&network_file(network))? {
            Taken::Here(record) => record,
            Taken::Absent => return Ok(Turn::Done(())),
            Taken::Busy => return Ok(Turn::Busy(Busy::Network(network))),
        };
        let definition = Definition::of(record.value().forget);
        if definition == Definition::Goes
            && let Turn::Busy(busy) = self.detach_users(network)?
        {
            return Ok(Turn::Busy(busy));
        }
        self.take_down(defining, Some(alone), record, definition).map(Turn::Done)
    }
}
