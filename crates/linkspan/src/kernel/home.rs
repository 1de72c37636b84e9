//! The run folder: what is where, whose it is, and which locks go with it.

use crate::attachment::AttachmentRecord;
use crate::claims::{Claims, Entry};
use crate::identity::{Identity, Welcome};
use crate::kernel::damage::undamaged;
use crate::plan::NetworkRecord;
use crate::{AttachmentId, Error, NetworkId};
use linkspan_ipam::{LeaseBook, Leases};
use linkspan_records::{Access, Durability, FileName, Folder, Kept, Ledger, Lock};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A name of ours as a file's: names and ids are letters, digits, `_`, `.` and `-`, and shorter.
pub(crate) fn file(name: impl Display) -> FileName {
    name.to_string().parse().expect("names and ids of ours are made of what a file's name may hold")
}

/// The run folder, which a reboot empties: attachments, networks that are up, leases, claims.
#[derive(Debug)]
pub(crate) struct Run {
    root: Folder,
    pub(crate) attachments: Folder,
    /// Operations under way; normally empty, so that repair needs no scan.
    pub(crate) pending: Folder,
    /// Containers that are made ahead, each locked by the process that may hand it out.
    pub(crate) warm: Folder,
    pub(crate) up: Folder,
    /// What the records there say.
    pub(crate) networks: Kept<NetworkRecord>,
    whose: Kept<Identity>,
    leases: Folder,
    locks: Folder,
    claims: Mutex<Ledger<Claims>>,
    books: Mutex<BTreeMap<NetworkId, Arc<LeaseBook>>>,
}

impl Run {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        Self::of(Folder::open(path)?)
    }

    fn of(root: Folder) -> Result<Self, Error> {
        let claims = Mutex::new(Ledger::open(&root, &file("claims")));
        let folder = |name| root.folder(&file(name));
        let up = folder("up")?;
        Ok(Self {
            attachments: folder("attachments")?,
            pending: folder("pending")?,
            warm: folder("warm")?,
            networks: up.kept(),
            up,
            whose: root.kept(),
            leases: folder("leases")?,
            locks: folder("locks")?,
            claims,
            books: Mutex::default(),
            root,
        })
    }

    /// Comes in: as long as the lock is held, the folder stays that of this identity.
    pub(crate) fn enter(&self, identity: &Identity) -> Result<Lock, Error> {
        let mut written = false;
        loop {
            match self.enter_ours(identity) {
                Ok(Some(here)) => return Ok(here),
                Ok(None) => {}
                Err(refused) if written => return Err(refused.after(self.tidy())),
                Err(refused) => return Err(refused),
            }
            drop(self.alone(identity)?);
            written = true;
        }
    }

    /// Comes in where the folder is this identity's already.
    fn enter_ours(&self, identity: &Identity) -> Result<Option<Lock>, Error> {
        let name = file("host");
        let here = self.locks.lock(&name, Access::Shared)?;
        let ours = self.whose.read(&name)?.as_ref() == Some(identity);
        Ok(ours.then_some(here))
    }

    /// Whether what is on record is of this boot; an older one's says nothing, and is as good as not there.
    ///
    /// # Errors
    /// [`Error::RunFolder`] where it is another's.
    pub(crate) fn admits(&self, identity: &Identity) -> Result<bool, Error> {
        let name = file("host");
        let welcome = match self.welcome(identity, &name)? {
            Welcome::Lost => {
                // Somebody may have come in between the two looks.
                let _here = self.locks.lock(&name, Access::Shared)?;
                self.welcome(identity, &name)?
            }
            welcome => welcome,
        };
        match welcome {
            Welcome::Ours | Welcome::Empty => Ok(true),
            Welcome::OlderBoot => Ok(false),
            Welcome::Lost => Err(self.is_nobodys(&name)),
            Welcome::Other { what, there, wanted } => Err(self.is_of_another(what, there, wanted)),
        }
    }

    fn welcome(&self, identity: &Identity, name: &FileName) -> Result<Welcome, Error> {
        let there = self.root.read::<Identity>(name)?;
        Ok(identity.judge(there.as_ref(), self.is_idle()?))
    }

    fn is_nobodys(&self, name: &FileName) -> Error {
        linkspan_records::Error::Torn { path: self.root.path().join(name.as_str()) }.into()
    }

    fn is_of_another(&self, what: &'static str, there: String, wanted: String) -> Error {
        Error::RunFolder { path: self.root.path().to_owned(), what, there, wanted }
    }

    /// Keeps those out who want to be alone, as long as somebody looks at what others are at.
    pub(crate) fn stay(&self) -> Result<Lock, Error> {
        Ok(self.locks.lock(&file("host"), Access::Shared)?)
    }

    /// Comes in alone: no operation of any process is under way as long as the lock is held.
    pub(crate) fn alone(&self, identity: &Identity) -> Result<Lock, Error> {
        let name = file("host");
        let alone = self.locks.lock(&name, Access::Exclusive)?;
        self.settle_in(identity, &name)?;
        Ok(alone)
    }

    fn settle_in(&self, identity: &Identity, name: &FileName) -> Result<(), Error> {
        match self.welcome(identity, name)? {
            Welcome::Ours => return Ok(()),
            Welcome::Empty => {}
            Welcome::OlderBoot => self.clear()?,
            Welcome::Lost => return Err(self.is_nobodys(name)),
            Welcome::Other { what, there, wanted } => {
                return Err(self.is_of_another(what, there, wanted));
            }
        }
        Ok(self.root.write(name, identity, Durability::Memory)?)
    }

    /// Goes out, and leaves nothing but lock files where nothing is on record and nobody else is at work.
    pub(crate) fn leave(&self, here: Lock) -> Result<(), Error> {
        drop(here);
        self.tidy()
    }

    fn tidy(&self) -> Result<(), Error> {
        // Nobody is kept out for a look; the last one to leave sees that all others have.
        if !self.is_idle()? {
            return Ok(());
        }
        let name = file("host");
        let Some(_alone) = self.locks.try_lock(&name, Access::Exclusive)? else { return Ok(()) };
        if self.is_idle()? {
            self.clear()?;
            self.root.remove(&name)?;
        }
        Ok(())
    }

    /// Where it is, for those who say what stayed in it.
    pub(crate) fn path(&self) -> String {
        self.root.path().display().to_string()
    }

    /// The folders whose files are records.
    pub(crate) fn of_records(&self) -> [&Folder; 4] {
        [&self.pending, &self.attachments, &self.up, &self.warm]
    }

    fn is_idle(&self) -> Result<bool, Error> {
        // There is a network up as long as there is most else.
        for folder in [&self.up].into_iter().chain(self.of_records()) {
            if !folder.is_empty()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn clear(&self) -> Result<(), Error> {
        for folder in self.of_records() {
            folder.sweep()?;
            folder.names()?.iter().try_for_each(|name| folder.remove(name).map(drop))?;
        }
        self.root.sweep()?;
        self.leases.sweep()?;
        self.locks.sweep_locks()?;
        self.books_on_file()?.into_iter().try_for_each(|network| self.book(network).discard())?;
        self.books().clear();
        Ok(self.claims().discard()?)
    }

    /// The ledger of names, namespaces and ports.
    pub(crate) fn claims(&self) -> MutexGuard<'_, Ledger<Claims>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The leases of a network.
    pub(crate) fn book(&self, network: NetworkId) -> Arc<LeaseBook> {
        let mut books = self.books();
        if let Some(book) = books.get(&network) {
            return book.clone();
        }
        // The books of networks that other processes removed would keep their files open for ever.
        if !books.is_empty()
            && let Ok(up) = self.up.names()
        {
            books.retain(|network, _| up.contains(&network_file(*network)));
        }
        let open = || Arc::new(LeaseBook::open(&self.leases, &file(network)));
        books.entry(network).or_insert_with(open).clone()
    }

    /// Forgets the leases of a network that is no more.
    pub(crate) fn forget_book(&self, network: NetworkId) -> Result<(), Error> {
        self.book(network).remove()?;
        self.books().remove(&network);
        Ok(())
    }

    /// The networks that there are leases of.
    pub(crate) fn books_on_file(&self) -> Result<Vec<NetworkId>, Error> {
        Ok(self.leases.names()?.iter().filter_map(|name| name.as_str().parse().ok()).collect())
    }

    /// Writes the claims in place of a ledger that cannot be read, and says where that is.
    pub(crate) fn claim_anew(&self, entries: &[Entry]) -> Result<PathBuf, Error> {
        self.claims().replace(entries)?;
        Ok(self.root.path().join("claims"))
    }

    /// Writes the leases of a network in place of a file that cannot be read, and says where that is.
    pub(crate) fn lease_anew(&self, network: NetworkId, leases: &Leases) -> Result<PathBuf, Error> {
        self.book(network).replace(leases)?;
        Ok(self.leases.path().join(network.to_string()))
    }

    /// Comes in alone, as [`alone`](Self::alone); where it cannot be read whose folder it is, it is this identity's,
    /// and the file that says so is returned.
    pub(crate) fn alone_mending(&self, identity: &Identity) -> Result<(Lock, Option<PathBuf>), Error> {
        let name = file("host");
        let alone = self.locks.lock(&name, Access::Exclusive)?;
        match self.settle_in(identity, &name) {
            Err(Error::Records(refused)) if refused.is_damage() => {
                self.root.write(&name, identity, Durability::Memory)?;
                Ok((alone, Some(self.root.path().join(name.as_str()))))
            }
            settled => settled.map(|()| (alone, None)),
        }
    }

    /// Removes what killed writers left.
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        let mut folders = self.of_records().into_iter().chain([&self.root, &self.leases]);
        folders.try_for_each(|folder| folder.sweep().map(drop))?;
        // The caller is alone: whose lock is not held is that of a network that is no more, or of one at rest.
        Ok(self.locks.sweep_locks().map(drop)?)
    }

    fn books(&self) -> MutexGuard<'_, BTreeMap<NetworkId, Arc<LeaseBook>>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held shared by whoever attaches to a network, alone by whoever takes it down.
    pub(crate) fn lock_network(&self, network: NetworkId, access: Access) -> Result<Lock, Error> {
        Ok(self.locks.lock(&lock_of(network), access)?)
    }

    /// The same alone, where nobody is at work on the network.
    pub(crate) fn try_lock_network(&self, network: NetworkId) -> Result<Option<Lock>, Error> {
        Ok(self.locks.try_lock(&lock_of(network), Access::Exclusive)?)
    }

    /// Gives the lock of a network back that is no more, together with its file, unless somebody else has it.
    pub(crate) fn forget_lock(&self, network: NetworkId, alone: Option<Lock>) -> Result<(), Error> {
        match alone.map_or_else(|| self.try_lock_network(network), |alone| Ok(Some(alone)))? {
            Some(alone) => Ok(self.locks.remove_lock(&lock_of(network), alone)?),
            None => Ok(()),
        }
    }

    /// Held by whoever rewrites all rules, which is all that iptables can.
    pub(crate) fn lock_rules(&self) -> Result<Lock, Error> {
        Ok(self.locks.lock(&file("rules"), Access::Exclusive)?)
    }

    /// Whether an attachment is on record or on its way there.
    pub(crate) fn is_on_record(&self, id: AttachmentId) -> Result<bool, Error> {
        // A record moves from pending when it is confirmed, and back when it is taken back.
        for folder in [&self.pending, &self.attachments, &self.pending] {
            if self.peek_attachment(folder, &file(id))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether anything was made ahead on a network.
    pub(crate) fn is_waited_on(&self, network: NetworkId) -> Result<bool, Error> {
        for name in self.warm.names()? {
            let record = Readable::Undamaged.of(self.warm.peek_record::<AttachmentRecord>(&name))?;
            let endpoints =
                record.and_then(|record| record.attachment).map_or_else(Vec::new, |a| a.endpoints);
            if endpoints.iter().any(|endpoint| endpoint.network_id == network) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Which records are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readable {
    /// Every one: one that cannot be read is an error.
    All,
    /// Those that are not damaged.
    Undamaged,
    /// Those that can be read, whatever is in the way of reading others.
    Legible,
}

impl Readable {
    pub(crate) fn of<T>(self, read: Result<Option<T>, linkspan_records::Error>) -> Result<Option<T>, Error> {
        match self {
            Self::All => Ok(read?),
            Self::Undamaged => undamaged(read),
            Self::Legible => Ok(read.ok().flatten()),
        }
    }
}

fn lock_of(network: NetworkId) -> FileName {
    file(format!("network-{network}"))
}

/// What the records of networks are named by, beside those of attachments.
const NETWORK: &str = "network-";

/// The name of a network's record.
pub(crate) fn network_file(network: NetworkId) -> FileName {
    file(format!("{NETWORK}{network}"))
}

/// The network whose record has this name.
pub(crate) fn network_of(name: &FileName) -> Option<NetworkId> {
    name.as_str().strip_prefix(NETWORK)?.parse().ok()
}
