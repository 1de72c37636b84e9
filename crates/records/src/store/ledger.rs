//! A state that several processes share, as the history of its changes.

use std::io;
use std::os::unix::fs::FileExt as _;

use nix::fcntl::{FlockArg, OFlag};

use super::draft::{Draft, Existing};
use super::folder::Folder;
use super::lock::{Held, Idle, hold, linked, lock_file};
use super::log::{self, Log, Start};
use super::tail::{Extent, Tail};
use crate::line::{LineBreak, scan};
use crate::{Action, Error, FileName, State};

/// The largest ledger: 64 MiB.
pub const MAX_LEDGER: u64 = 64 << 20;

/// An append-only file of commits, folded into a state in memory.
///
/// Several processes share it: each [locks](Self::lock) it, reads what the others committed since, and commits its
/// own. The unfinished commit of a killed process is cut off by the next holder of the lock; anything else that
/// is not as it was written is [`Error::Corrupt`]. A file that is shorter than what was committed, or gone, is
/// [`Error::Torn`]: the lock file is as long as the ledger was (and holds nothing), so that what others cut off is not
/// taken for what was never written.
///
/// ```
/// use linkspan_records::{Folder, Ledger, State};
///
/// #[derive(Default)]
/// struct Sum(i64);
/// impl State for Sum {
///     type Entry = i64;
///     const VERSION: u32 = 1;
///     fn apply(&mut self, entry: &i64) { self.0 = self.0.wrapping_add(*entry); }
///     fn entries(&self) -> Vec<i64> { if self.0 == 0 { vec![] } else { vec![self.0] } }
/// }
///
/// # let path = std::env::temp_dir().join(format!("linkspan-records-ledger-{}", std::process::id()));
/// let folder = Folder::open(&path)?;
/// let mut mine = Ledger::<Sum>::open(&folder, &"sum".parse()?);
/// let mut yours = Ledger::<Sum>::open(&folder, &"sum".parse()?);
/// mine.lock()?.commit(&[2, 3])?;
/// assert_eq!(yours.lock()?.state().0, 5);
/// # std::fs::remove_dir_all(&path).expect("the example made it");
/// # Ok::<(), linkspan_records::Error>(())
/// ```
#[derive(Debug)]
pub struct Ledger<S> {
    folder: Folder,
    name: FileName,
    /// The lock file while it is not locked.
    idle: Option<Idle>,
    /// The file that the state was read from; none while there is none.
    log: Option<Log>,
    state: S,
}

/// A ledger that is locked and up to date, until it is dropped.
#[derive(Debug)]
#[must_use = "a lock that is dropped is released"]
pub struct Locked<'a, S> {
    ledger: &'a mut Ledger<S>,
    held: Option<Held>,
}

/// How long a ledger is, in bytes.
#[derive(Clone, Copy, Debug)]
struct Length {
    /// What its file has.
    size: u64,
    /// What was committed, by the lock file.
    committed: u64,
}

impl<S: State> Ledger<S> {
    /// Names a ledger; nothing is opened or made before it is locked.
    #[must_use]
    pub fn open(folder: &Folder, name: &FileName) -> Self {
        Self { folder: folder.clone(), name: name.clone(), idle: None, log: None, state: S::default() }
    }

    /// Takes the ledger's lock, waits for it, and reads what others committed since.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`], [`Error::Torn`] or [`Error::Version`] for a file that is no ledger of this state, or not all
    /// of it,
    /// [`Error::TooLarge`] above [`MAX_LEDGER`], [`Error::Io`] where the system refuses.
    pub fn lock(&mut self) -> Result<Locked<'_, S>, Error> {
        let held = self.hold()?;
        // Built first, so that the lock is given back when catching up fails.
        let committed = held.metadata().map_err(self.fault(Action::Lock))?.len();
        let locked = Locked { ledger: self, held: Some(held) };
        if let Err(error) = locked.ledger.catch_up(committed) {
            locked.ledger.forget();
            return Err(error);
        }
        Ok(locked)
    }

    fn hold(&mut self) -> Result<Held, Error> {
        let name = lock_file(&self.name);
        loop {
            let held = match self.idle.take() {
                Some(idle) => idle.hold(FlockArg::LockExclusive),
                None => hold(self.folder.make_file(&name)?, FlockArg::LockExclusive),
            };
            let Some(held) = held.map_err(self.folder.fault(Action::Lock, &name))? else { continue };
            if linked(&held).map_err(self.folder.fault(Action::Lock, &name))? {
                return Ok(held);
            }
        }
    }

    /// Puts a ledger of these entries in place of the file, whatever is in it. At each moment there is what was there
    /// before, or all of them, or [`Error::Torn`], also for whoever comes after one who was killed.
    ///
    /// # Errors
    ///
    /// [`Error::LineBreak`] for an entry with a line break in its text, [`Error::TooLarge`] above [`MAX_LEDGER`],
    /// [`Error::Io`] where the system refuses.
    pub fn replace(&mut self, entries: &[S::Entry]) -> Result<(), Error> {
        let held = self.hold()?;
        self.forget();
        let replaced = self.replace_held(entries, &held);
        self.idle = held.release();
        replaced
    }

    fn replace_held(&mut self, entries: &[S::Entry], held: &Held) -> Result<(), Error> {
        let (draft, log) = self.draft(entries)?;
        draft.publish(Existing::Replaced)?;
        // Not before: were it the last thing that is done, a file that was cut off would be taken for whole.
        held.set_len(log.tail.end).map_err(self.fault(Action::Write))?;
        self.log = Some(log);
        entries.iter().for_each(|entry| self.state.apply(entry));
        Ok(())
    }

    /// Removes the ledger's file, whatever is in it: the state begins anew for every process. For who is killed in
    /// between, it may have begun anew or not.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the system refuses.
    pub fn discard(&mut self) -> Result<(), Error> {
        let held = self.hold()?;
        self.forget();
        held.set_len(0).map_err(self.fault(Action::Write))?;
        let removed = self.folder.unlink(self.name.as_str());
        self.idle = held.release();
        removed.map(drop)
    }

    fn catch_up(&mut self, committed: u64) -> Result<(), Error> {
        let Some(there) = self.folder.stat(self.name.as_str())? else {
            self.forget();
            return if committed == 0 { Ok(()) } else { Err(self.torn()) };
        };
        if !self.log.as_ref().is_some_and(|log| log.grew_to(&there)) {
            self.forget();
            let file = self.folder.open_file(self.name.as_str(), OFlag::O_RDWR | OFlag::O_APPEND)?;
            self.log = file.map(Log::of).transpose().map_err(self.fault(Action::Open))?;
        }
        self.read_to(Length { size: u64::try_from(there.st_size).unwrap_or(0), committed })
    }

    fn forget(&mut self) {
        self.log = None;
        self.state = S::default();
    }

    /// Takes in what the file holds beyond its known end, and cuts off what was not written to its end.
    fn read_to(&mut self, length: Length) -> Result<(), Error> {
        let Length { size, committed } = length;
        if size < committed {
            return Err(self.torn());
        }
        let Some(log) = self.log.as_ref().filter(|log| log.tail.end < size) else { return Ok(()) };
        let (end, lines) = (log.tail.end, log.lines);
        let len = usize::try_from(size - end).ok().filter(|_| size <= MAX_LEDGER);
        let mut bytes = vec![0; len.ok_or_else(|| too_large(&self.folder, self.name.as_str()))?];
        log.file.read_exact_at(&mut bytes, end).map_err(self.fault(Action::Read))?;

        let commits = scan(&bytes).map_err(|index| self.corrupt(lines + index + 1))?;
        let mut numbered = (lines + 1..).zip(&commits.texts);
        if lines == 0 {
            self.check_header(numbered.next().map(|(_, text)| *text), &bytes)?;
        }
        if end + (commits.len as u64) < committed {
            return Err(self.torn());
        }
        let entries = numbered
            .map(|(line, text)| text.parse::<S::Entry>().map_err(|_| self.corrupt(line)))
            .collect::<Result<Vec<_>, _>>()?;
        self.advance(Extent { whole: end + commits.len as u64, size }, commits.texts.len() as u64)?;
        entries.iter().for_each(|entry| self.state.apply(entry));
        Ok(())
    }

    /// Notes that so many more lines are known, and that the whole ones end there.
    fn advance(&mut self, extent: Extent, lines: u64) -> Result<(), Error> {
        let (folder, name) = (&self.folder, self.name.as_str());
        let Some(log) = &mut self.log else { return Ok(()) };
        log.lines += lines;
        log.tail = Tail::cut(&log.file, extent).map_err(folder.fault(Action::Write, name))?;
        Ok(())
    }

    /// Refuses a file that was not begun by a ledger of this version.
    fn check_header(&self, header: Option<&str>, bytes: &[u8]) -> Result<(), Error> {
        match log::start(header, bytes) {
            Start::Torn => Ok(()),
            Start::Version(found) if found == u64::from(S::VERSION) => Ok(()),
            Start::Version(found) => Err(Error::Version {
                path: self.folder.path_of(self.name.as_str()),
                found,
                known: S::VERSION,
            }),
            Start::Foreign => Err(self.corrupt(1)),
        }
    }

    fn commit(&mut self, entries: &[S::Entry]) -> Result<(), Error> {
        let log = match self.log.take() {
            Some(log) => log,
            None => Log::of(self.folder.make_file(self.name.as_str())?).map_err(self.fault(Action::Open))?,
        };
        let log = self.log.insert(log);
        let (folder, name) = (&self.folder, self.name.as_str());
        let header = (log.lines == 0).then_some(S::VERSION);
        let text = log::encode(header, entries).map_err(|LineBreak| line_break(folder, name))?;
        if log.tail.end + text.len() as u64 > MAX_LEDGER {
            return Err(too_large(folder, name));
        }
        log.tail.append(&log.file, text.as_bytes()).map_err(folder.fault(Action::Write, name))?;
        log.lines += entries.len() as u64 + u64::from(header.is_some());
        entries.iter().for_each(|entry| self.state.apply(entry));
        Ok(())
    }

    /// Writes the shortest history in place of a long one.
    fn compact_if_due(&mut self, held: &Held) -> Result<(), Error> {
        let Some(log) = self.log.as_mut().filter(|log| log.may_be_long()) else { return Ok(()) };
        let entries = self.state.entries();
        if !log.is_long_for(entries.len() as u64) {
            return Ok(());
        }
        let (draft, compacted) = self.draft(&entries)?;
        // Before the shorter file is there: killed in between, the length says less than it could.
        held.set_len(compacted.tail.end).map_err(self.fault(Action::Write))?;
        draft.publish(Existing::Replaced)?;
        self.log = Some(compacted);
        Ok(())
    }

    /// A file of these entries that is about to be the ledger's; whatever can fail comes before it gets its name.
    fn draft(&self, entries: &[S::Entry]) -> Result<(Draft<'_>, Log), Error> {
        let (folder, name) = (&self.folder, self.name.as_str());
        let text = log::encode(Some(S::VERSION), entries).map_err(|LineBreak| line_break(folder, name))?;
        if text.len() as u64 > MAX_LEDGER {
            return Err(too_large(folder, name));
        }
        let draft = Draft::create(folder, &self.name)?;
        draft.fill(text.as_bytes())?;
        let mut log = draft.duplicate().and_then(Log::of).map_err(folder.fault(Action::Open, name))?;
        log.tail = Tail::at(text.len() as u64);
        log.lines = entries.len() as u64 + 1;
        Ok((draft, log))
    }

    fn torn(&self) -> Error {
        Error::Torn { path: self.folder.path_of(self.name.as_str()) }
    }

    fn corrupt(&self, line: u64) -> Error {
        Error::Corrupt { path: self.folder.path_of(self.name.as_str()), line }
    }

    fn fault<E: Into<io::Error>>(&self, action: Action) -> impl FnOnce(E) -> Error {
        self.folder.fault(action, self.name.as_str())
    }
}

fn too_large(folder: &Folder, name: &str) -> Error {
    Error::TooLarge { path: folder.path_of(name), limit: MAX_LEDGER }
}

fn line_break(folder: &Folder, name: &str) -> Error {
    Error::LineBreak { path: folder.path_of(name) }
}

impl<S: State> Locked<'_, S> {
    /// Returns the state with every commit of every process in it.
    #[must_use]
    pub fn state(&self) -> &S {
        &self.ledger.state
    }

    /// Adds these entries to the ledger, all or none, and to the state.
    ///
    /// # Errors
    ///
    /// [`Error::LineBreak`] for an entry with a line break in its text, [`Error::TooLarge`] above [`MAX_LEDGER`],
    /// [`Error::Io`] where the system refuses. Ledger and state are as before then.
    pub fn commit(&mut self, entries: &[S::Entry]) -> Result<(), Error> {
        if entries.is_empty() {
            return Ok(());
        }
        self.ledger.commit(entries)?;
        // The entries are in: a length or a compaction that fails is left to a later commit.
        if let Some(held) = &self.held {
            let _ = held.set_len(self.ledger.log.as_ref().map_or(0, |log| log.tail.end));
            let _ = self.ledger.compact_if_due(held);
        }
        Ok(())
    }

    /// Removes the ledger's file and its lock file: the state begins anew for every process.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the system refuses.
    pub fn remove(self) -> Result<(), Error> {
        self.ledger.forget();
        if let Some(held) = &self.held {
            held.set_len(0).map_err(self.ledger.fault(Action::Write))?;
        }
        self.ledger.folder.unlink(self.ledger.name.as_str())?;
        // Whoever waits for the lock finds that its file has no name any longer, and starts over.
        self.ledger.folder.unlink(&lock_file(&self.ledger.name))?;
        Ok(())
    }
}

impl<S> Drop for Locked<'_, S> {
    fn drop(&mut self) {
        // A lock file that cannot be unlocked is closed, and opened again next time.
        self.ledger.idle = self.held.take().and_then(Held::release);
    }
}
