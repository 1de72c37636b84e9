use crate::claims::Entry;
use crate::id::Moment;
use crate::identity::Identity;
use crate::kernel::damage::or_damage;
use crate::kernel::firewall::Rules;
use crate::kernel::home::{Readable, Run, file};
use crate::kernel::state::State;
use crate::kernel::undone::Undone;
use crate::kernel::warm::Waiting;
use crate::plan::Firewall;
use crate::warm::Shelf;
use crate::{
    Attachment, AttachmentId, ContainerName, DefinedNetwork, Error, Left, NetworkName, Remedy, Residue,
};
use linkspan_nat_rules::Instance;
use linkspan_netns::{Maker, NetNs};
use linkspan_records::{self as records, Lock};
use linkspan_veth_bridge as links;
use nix::time::{ClockId, clock_gettime};
use std::fmt;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The file that tells one boot from the next.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The host that containers are attached to: one network namespace, and the folders with its records.
///
/// It is `Send` and `Sync`, and every operation takes `&self`. Several processes may each have one on the
/// same folders at once. A child that is forked and executes no program opens one of its own: the locks of this one are
/// its parent's too (flock(2)), and keep neither out.
#[derive(Debug)]
pub struct Host {
    pub(crate) settings: Builder,
    pub(crate) netns: NetNs,
    pub(crate) identity: Identity,
    pub(crate) run: Run,
    pub(crate) state: State,
    pub(crate) rules: Rules,
    pub(crate) warm: Mutex<Shelf<Waiting>>,
    pub(crate) maker: Mutex<Option<Maker>>,
    idle: Mutex<Vec<links::kernel::Links>>,
    notices: Mutex<Vec<Notice>>,
}

/// Something that an operation saw or changed, that is not its own, and that stays.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The host forwards packets between its links, which it did not before: `net.ipv4.ip_forward`.
    Ipv4Forwarding,
    /// The host forwards packets between its links, which it did not before: `net.ipv6.conf.all.forwarding`.
    /// A host that has its own IPv6 address from router advertisements needs `accept_ra` 2 to keep it.
    Ipv6Forwarding,
    /// The record of a process that was killed cannot be read, so what it was at cannot be taken back by it.
    Unreadable {
        /// The record.
        path: PathBuf,
        /// What mends it; `None` where nothing of linkspan's does, as with a record of a newer version.
        remedy: Option<Remedy>,
    },
}

impl Notice {
    /// That this record of a killed process cannot be read.
    pub(crate) fn unreadable(refused: &records::Error) -> Option<Self> {
        let path = refused.path()?.to_owned();
        Some(Self::Unreadable { path, remedy: Remedy::of(refused) })
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4Forwarding => f.write_str("IPv4 forwarding was switched on (net.ipv4.ip_forward)"),
            Self::Ipv6Forwarding => {
                f.write_str("IPv6 forwarding was switched on (net.ipv6.conf.all.forwarding)")
            }
            Self::Unreadable { path, remedy } => {
                write!(f, "`{}`, which a killed process left, cannot be read", path.display())?;
                remedy.map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
            }
        }
    }
}

/// How a host is opened; what is not said is the default.
#[derive(Clone, Debug)]
pub struct Builder {
    pub(crate) instance: Instance,
    run_dir: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    firewall: Firewall,
    pub(crate) forwarding: bool,
}

impl Builder {
    /// Names the table, the chains, the links and the folders, so that several runtimes share a host;
    /// by default `linkspan`.
    #[must_use]
    pub const fn instance(mut self, instance: Instance) -> Self {
        self.instance = instance;
        self
    }

    /// Where attachments are on record; by default `/run/INSTANCE`. It has to be empty after a reboot.
    ///
    /// All who use an instance in a network namespace use one folder: what is on no record of it is nobody's, so from
    /// another folder [`Host::gc`] removes what the first one's records stand for, and an attach takes its ports.
    #[must_use]
    pub fn run_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.run_dir = Some(path.into());
        self
    }

    /// Where networks are defined, and addresses of them are kept for containers that are not there; by default
    /// `/var/lib/INSTANCE`. Both outlast a reboot.
    #[must_use]
    pub fn state_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(path.into());
        self
    }

    /// Which firewall carries the rules; by default nftables.
    #[must_use]
    pub const fn firewall(mut self, firewall: Firewall) -> Self {
        self.firewall = firewall;
        self
    }

    /// Leaves `ip_forward` as it is, whatever a network needs; by default it is switched on when needed,
    /// and never off.
    #[must_use]
    pub const fn leave_forwarding(mut self) -> Self {
        self.forwarding = false;
        self
    }

    /// The run folder and the state folder, where they are not the default.
    pub(crate) fn folders(&self) -> [Option<PathBuf>; 2] {
        [self.run_dir.clone(), self.state_dir.clone()]
    }

    /// Opens the host whose network namespace the calling thread is in.
    ///
    /// # Errors
    /// [`Error::Records`] where the folders cannot be made or are not the caller's own.
    pub fn open(self) -> Result<Host, Error> {
        let netns = NetNs::here()?;
        let folder = |given: &Option<PathBuf>, parent: &str| {
            given.clone().unwrap_or_else(|| Path::new(parent).join(self.instance.as_str()))
        };
        let run = Run::open(&folder(&self.run_dir, "/run"))?;
        let state = State::open(&folder(&self.state_dir, "/var/lib"))?;
        let (instance, firewall) = (self.instance, self.firewall);
        let identity = Identity { instance, boot: read(BOOT_ID)?, namespace: netns.cookie(), firewall };
        let rules = Rules::new(instance, firewall);
        Ok(Host {
            settings: self,
            netns,
            identity,
            run,
            state,
            rules,
            warm: Mutex::default(),
            maker: Mutex::default(),
            idle: Mutex::default(),
            notices: Mutex::default(),
        })
    }
}

/// The text of a small file, without the line break at its end.
pub(crate) fn read(path: impl AsRef<Path>) -> Result<String, Error> {
    let path = path.as_ref();
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok(text.trim_end().to_owned())
}

impl Host {
    /// Opens the host whose network namespace the calling thread is in, with every default.
    ///
    /// # Errors
    /// As [`Builder::open`].
    pub fn open() -> Result<Self, Error> {
        Self::builder().open()
    }

    /// Says how a host is to be opened.
    pub fn builder() -> Builder {
        let (run_dir, state_dir) = (None, None);
        let instance = Instance::default();
        Builder { instance, run_dir, state_dir, firewall: Firewall::Nftables, forwarding: true }
    }

    /// The instance whose table, links and folders it works with.
    pub const fn instance(&self) -> Instance {
        self.settings.instance
    }

    /// The firewall that carries its rules.
    pub const fn firewall(&self) -> Firewall {
        self.settings.firewall
    }

    /// The network namespace that it works in. It has no place, since nobody finds the host by it.
    pub const fn netns(&self) -> &NetNs {
        &self.netns
    }

    /// The networks on record, by name: those that are defined, and those that are up though their definition is gone.
    ///
    /// # Errors
    /// [`Error::Records`], [`Error::RunFolder`].
    pub fn networks(&self) -> Result<Vec<DefinedNetwork>, Error> {
        let mut all = self.state.all()?;
        if self.run.admits(&self.identity)? {
            all.extend(self.undefined()?);
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The network of this name as it is defined, or as it is up where its definition is gone.
    pub(crate) fn network(&self, name: &NetworkName) -> Result<Option<DefinedNetwork>, Error> {
        match self.state.find(name)? {
            None if self.run.admits(&self.identity)? => self.up_by_name(name),
            defined => Ok(defined),
        }
    }

    /// The attachments on record, by name. One that is being made or taken away is not among them.
    ///
    /// # Errors
    /// [`Error::Records`], [`Error::RunFolder`].
    pub fn attachments(&self) -> Result<Vec<Attachment>, Error> {
        self.attachments_of(Readable::All)
    }

    /// The attachments that these records tell of, by name.
    pub(crate) fn attachments_of(&self, which: Readable) -> Result<Vec<Attachment>, Error> {
        let mut all = Vec::new();
        if !self.run.admits(&self.identity)? {
            return Ok(all);
        }
        for name in self.run.attachments.names()? {
            let record = which.of(self.run.peek_attachment(&self.run.attachments, &name))?;
            all.extend(record.and_then(|record| record.attachment));
        }
        all.sort_by(|a: &Attachment, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The attachment with this id, where it is on record.
    ///
    /// # Errors
    /// [`Error::Records`].
    pub fn attachment(&self, id: AttachmentId) -> Result<Option<Attachment>, Error> {
        let record = self.run.peek_attachment(&self.run.attachments, &file(id))?;
        Ok(record.and_then(|record| record.attachment))
    }

    /// The attachment that someone means: by name, by id, or by the beginning of an id that no other has. A record of
    /// another that cannot be read is in nobody's way.
    ///
    /// # Errors
    /// [`Error::NoSuchAttachment`], [`Error::Ambiguous`], [`Error::Records`], [`Error::RunFolder`].
    pub fn find(&self, wanted: &str) -> Result<Attachment, Error> {
        self.find_by(wanted, 1)
    }

    /// The attachment that someone means who is about to remove it: by name, by id, or by the beginning of an id that
    /// is at least [`AttachmentId::SHORT`] digits long.
    ///
    /// A name of a container that is gone may well begin the id of another, and removing something twice is fine.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn find_certain(&self, wanted: &str) -> Result<Attachment, Error> {
        self.find_by(wanted, AttachmentId::SHORT)
    }

    /// Finds by the beginning of an id, where that is so many digits long.
    fn find_by(&self, wanted: &str, digits: usize) -> Result<Attachment, Error> {
        let absent = || Error::NoSuchAttachment { wanted: wanted.to_owned() };
        if wanted.is_empty() || !self.run.admits(&self.identity)? {
            return Err(absent());
        }
        if let Some(found) = wanted.parse().ok().map_or(Ok(None), |name| self.named(&name))? {
            return Ok(found);
        }
        // Its name may be on record and claimed no more.
        let on_record = self.attachments_of(Readable::Legible)?;
        if let Some(named) = on_record.into_iter().find(|attachment| attachment.name.as_str() == wanted) {
            return Ok(named);
        }
        match self.ids_like(wanted, digits)?[..] {
            [] => Err(absent()),
            [id] => self.attachment(id)?.ok_or_else(absent),
            ref like => Err(Error::Ambiguous { wanted: wanted.to_owned(), count: like.len() }),
        }
    }

    /// The ids on record that begin like this, where that is so many digits long.
    fn ids_like(&self, wanted: &str, digits: usize) -> Result<Vec<AttachmentId>, Error> {
        let names = self.run.attachments.names()?;
        let like = names.iter().filter(|name| wanted.len() >= digits && name.as_str().starts_with(wanted));
        Ok(like.filter_map(|name| name.as_str().parse().ok()).collect())
    }

    /// The attachment of this name, where it is on record.
    pub(crate) fn named(&self, name: &ContainerName) -> Result<Option<Attachment>, Error> {
        let id = self.run.claims().lock()?.state().named(name);
        id.map_or(Ok(None), |id| self.attachment(id))
    }

    /// Does work that makes something. Before it, what the dead left under way is taken back; after a refusal,
    /// nothing stays that was only there for it.
    pub(crate) fn make<T>(&self, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let here = self.run.enter(&self.identity)?;
        match self.take_back_the_dead().and_then(|_| work()) {
            Ok(made) => Ok(made),
            Err(refused) => Err(refused.after(self.tidy(here))),
        }
    }

    /// Does work that removes something, knowing what the dead left that was taken back before it; after it,
    /// what nobody needs any more goes.
    pub(crate) fn remove<T>(
        &self,
        work: impl FnOnce(&[AttachmentId]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let here = self.run.enter(&self.identity)?;
        let done = self.take_back_the_dead().and_then(|taken_back| {
            // What stays of it is tried again by the next removal.
            let _ = self.abandoned().and_then(|abandoned| self.take_back_all(abandoned));
            work(&taken_back)
        });
        match (done, self.tidy(here)) {
            (Ok(removed), Ok(())) => Ok(removed),
            (Ok(_), Err(stayed)) => Err(stayed.leaving(Residue::Records { of: self.run.path() })),
            (Err(refused), tidied) => Err(refused.after(tidied)),
        }
    }

    /// Lets the default network go with its last attachment, and the run folder's files with the last of all.
    ///
    /// A damaged file of the default network is none that this operation left: who looks at that network tells of it.
    pub(crate) fn tidy(&self, here: Lock) -> Result<(), Error> {
        let mut undone = Undone::default();
        let network = || Residue::Records { of: NetworkName::default_bridge().to_string() };
        undone.note(network(), or_damage(self.retire_default()).map(drop));
        undone.note(Residue::Records { of: self.run.path() }, self.run.leave(here));
        undone.finish()
    }

    /// The same after work that says by itself what of it is left: what stayed here is told with that.
    pub(crate) fn tidy_after<T>(
        &self,
        here: Lock,
        done: Result<T, Error>,
        left: impl FnOnce(T) -> Vec<Left>,
    ) -> Result<T, Error> {
        match (done, self.tidy(here)) {
            (Ok(done), Ok(())) => Ok(done),
            (Ok(done), Err(stayed)) => Err(stayed.after(Err(Error::left(left(done))))),
            (Err(refused), tidied) => Err(refused.after(tidied)),
        }
    }

    /// An id that nothing had since the boot.
    pub(crate) fn moment(&self) -> Result<Moment<'_>, Error> {
        let read = |source: nix::Error| Error::Read { path: "clock".into(), source: source.into() };
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_err(read)?;
        let nanoseconds = now.tv_sec().unsigned_abs().wrapping_mul(1_000_000_000);
        let nanoseconds = nanoseconds.wrapping_add(now.tv_nsec().unsigned_abs());
        Ok(Moment { instance: self.settings.instance.as_str(), boot: &self.identity.boot, nanoseconds })
    }

    /// Works on the host's links with a door of one's own.
    pub(crate) fn links<T, E: From<links::Error>>(
        &self,
        work: impl FnOnce(&mut links::kernel::Links) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut door = idle.map_or_else(|| self.door(), Ok)?;
        let done = work(&mut door);
        // The kernel may still be answering one that was refused.
        if done.is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(door);
        }
        done
    }

    /// The socket that came with the namespace will do for the first one.
    fn door(&self) -> Result<links::kernel::Links, links::Error> {
        match self.netns.take_route() {
            Some(route) => links::kernel::Links::with(self.netns.as_fd(), route),
            None => links::kernel::Links::open_in(self.netns.as_fd()),
        }
    }

    /// What operations of this value changed of the host at large, each told once.
    pub fn notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes what of a plan that was performed is told to the caller.
    pub(crate) fn notice(&self, plan: &links::Plan) {
        let told = plan.steps().iter().filter_map(|step| match step {
            links::Step::EnableForwarding { family: links::Family::V4 } => Some(Notice::Ipv4Forwarding),
            links::Step::EnableForwarding { family: links::Family::V6 } => Some(Notice::Ipv6Forwarding),
            _ => None,
        });
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).extend(told);
    }

    /// Notes that this record of a killed process cannot be read.
    pub(crate) fn tell_unreadable(&self, refused: &records::Error) {
        let mut told = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        let notice = Notice::unreadable(refused).filter(|notice| !told.contains(notice));
        told.extend(notice);
    }

    /// Frees all that an attachment had claimed.
    pub(crate) fn free_claims(&self, id: AttachmentId) -> Result<(), Error> {
        let mut claims = self.run.claims();
        let mut claims = claims.lock()?;
        Ok(claims.commit(&[Entry::Freed(id)])?)
    }
}
