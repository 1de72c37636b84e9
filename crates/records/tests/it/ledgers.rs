//! Ledgers, within one process.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use linkspan_records::{Error, Folder, Ledger, State};
use proptest::prelude::{Strategy, any, prop, proptest};

use crate::scratch::{Scratch, name};

/// Counters by letter; enough to see a commit that is lost, doubled or taken in another order.
#[derive(Default, Debug, PartialEq, Clone)]
pub(crate) struct Board(pub(crate) BTreeMap<char, u32>);

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Mark {
    Set(char, u32),
    Wipe(char),
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(letter, count) => write!(f, "set {letter} {count}"),
            Self::Wipe(letter) => write!(f, "wipe {letter}"),
        }
    }
}

impl FromStr for Mark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("set"), Some(letter), Some(count)) => {
                Ok(Self::Set(letter.parse().map_err(drop)?, count.parse().map_err(drop)?))
            }
            (Some("wipe"), Some(letter), None) => Ok(Self::Wipe(letter.parse().map_err(drop)?)),
            _ => Err(()),
        }
    }
}

impl State for Board {
    type Entry = Mark;
    const VERSION: u32 = 2;

    fn apply(&mut self, mark: &Mark) {
        match *mark {
            Mark::Set(letter, count) => drop(self.0.insert(letter, count)),
            Mark::Wipe(letter) => drop(self.0.remove(&letter)),
        }
    }

    fn entries(&self) -> Vec<Mark> {
        self.0.iter().map(|(&letter, &count)| Mark::Set(letter, count)).collect()
    }
}

pub(crate) fn board(folder: &Folder) -> Ledger<Board> {
    Ledger::open(folder, &name("board"))
}

fn state(folder: &Folder) -> Board {
    board(folder).lock().unwrap().state().clone()
}

fn commits() -> impl Strategy<Value = Vec<Vec<Mark>>> {
    let mark = prop::char::range('a', 'e').prop_flat_map(|letter| {
        any::<Option<u8>>().prop_map(move |count| match count {
            Some(count) => Mark::Set(letter, count.into()),
            None => Mark::Wipe(letter),
        })
    });
    prop::collection::vec(prop::collection::vec(mark, 1..4), 1..8)
}

/// Puts these bytes where a ledger is expected and tells what locking it says.
fn check(bytes: &str, expected: &str) {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    let path = scratch.path().join("board");
    fs::write(&path, bytes).unwrap();
    let told = match board(&folder).lock() {
        Ok(locked) => format!("{:?}", locked.state().0),
        Err(error) => {
            assert_eq!(fs::read_to_string(&path).unwrap(), bytes, "what is refused is left alone");
            error.to_string().replace(scratch.path().to_str().unwrap(), "RUN")
        }
    };
    assert_eq!(told, expected, "{bytes:?}");
}

#[test]
fn a_ledger_that_nobody_wrote_is_the_default_and_makes_no_file_but_its_lock() {
    let scratch = Scratch::create();
    assert_eq!(state(&scratch.folder()), Board::default());
    assert_eq!(scratch.files(), [".board.lock"]);
}

#[test]
fn the_file_is_readable_text() {
    let scratch = Scratch::create();
    let mut ledger = board(&scratch.folder());
    ledger.lock().unwrap().commit(&[Mark::Set('a', 1), Mark::Set('b', 2)]).unwrap();
    ledger.lock().unwrap().commit(&[Mark::Wipe('a')]).unwrap();
    let text = fs::read_to_string(scratch.path().join("board")).unwrap();
    let words: Vec<&str> = text.lines().map(|line| line.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(words, ["ledger 2 +", "set a 1 +", "set b 2 .", "wipe a ."]);
}

#[test]
fn each_sees_what_the_other_commits() {
    let scratch = Scratch::create();
    let (mut mine, mut yours) = (board(&scratch.folder()), board(&scratch.folder()));
    for round in 0..20 {
        mine.lock().unwrap().commit(&[Mark::Set('a', round)]).unwrap();
        let mut locked = yours.lock().unwrap();
        assert_eq!(locked.state().0.get(&'a'), Some(&round));
        locked.commit(&[Mark::Set('b', round)]).unwrap();
        drop(locked);
        assert_eq!(mine.lock().unwrap().state().0.get(&'b'), Some(&round));
    }
}

#[test]
fn compaction_keeps_the_state_and_the_others_notice_it() {
    let scratch = Scratch::create();
    let (mut mine, mut yours) = (board(&scratch.folder()), board(&scratch.folder()));
    let path = scratch.path().join("board");
    let mut longest = 0;
    for round in 0..10_000 {
        let mut locked = mine.lock().unwrap();
        locked.commit(&[Mark::Set('a', round)]).unwrap();
        locked.commit(&[Mark::Set('b', round)]).unwrap();
        assert_eq!(locked.state().0, BTreeMap::from([('a', round), ('b', round)]));
        drop(locked);
        longest = longest.max(fs::metadata(&path).unwrap().len());
        if round % 97 == 0 {
            assert_eq!(yours.lock().unwrap().state().0.get(&'b'), Some(&round));
        }
    }
    assert!(longest < 33 << 10, "{longest}");
    assert_eq!(state(&scratch.folder()).0, BTreeMap::from([('a', 9_999), ('b', 9_999)]));
    assert_eq!(scratch.files(), [".board.lock", "board"]);
}

#[test]
fn a_state_that_needs_its_lines_is_not_compacted() {
    let scratch = Scratch::create();
    let mut ledger = board(&scratch.folder());
    let marks: Vec<Mark> = ('\u{4e00}'..'\u{9000}').map(|letter| Mark::Set(letter, 1)).collect();
    let path = scratch.path().join("board");
    ledger.lock().unwrap().commit(&marks).unwrap();
    let before = fs::metadata(&path).unwrap().len();
    ledger.lock().unwrap().commit(&[Mark::Set('a', 1)]).unwrap();
    assert!(fs::metadata(&path).unwrap().len() > before);
    assert_eq!(state(&scratch.folder()).0.len(), marks.len() + 1);
}

#[test]
fn a_removed_ledger_begins_anew_for_everybody() {
    let scratch = Scratch::create();
    let (mut mine, mut yours) = (board(&scratch.folder()), board(&scratch.folder()));
    mine.lock().unwrap().commit(&[Mark::Set('a', 1)]).unwrap();
    assert_eq!(yours.lock().unwrap().state().0.len(), 1);
    mine.lock().unwrap().remove().unwrap();
    assert!(scratch.files().is_empty());
    assert!(yours.lock().unwrap().state().0.is_empty());
    yours.lock().unwrap().commit(&[Mark::Set('b', 2)]).unwrap();
    assert_eq!(mine.lock().unwrap().state().0, BTreeMap::from([('b', 2)]));
}

#[test]
fn what_is_no_ledger_is_refused_with_its_line_and_left_alone() {
    let good = {
        let scratch = Scratch::create();
        let mut ledger = board(&scratch.folder());
        ledger.lock().unwrap().commit(&[Mark::Set('a', 1)]).unwrap();
        ledger.lock().unwrap().commit(&[Mark::Set('b', 2)]).unwrap();
        fs::read_to_string(scratch.path().join("board")).unwrap()
    };
    let body = good.split_once('\n').unwrap().1;
    check(&good, "{'a': 1, 'b': 2}");
    check(&good.replace("set a", "set c"), "line 2 of `RUN/board` is corrupt");
    check(&good.replace("set b", "set c"), "line 3 of `RUN/board` is corrupt");
    check(body, "line 1 of `RUN/board` is corrupt");
    check("hello", "line 1 of `RUN/board` is corrupt");
    check("hello\n", "line 1 of `RUN/board` is corrupt");
    check("\0\0\0\0", "line 1 of `RUN/board` is corrupt");
    check("", "{}");
    check("ledg", "{}");
    check("ledger 2 + 0", "{}");
}

#[test]
fn a_ledger_of_another_version_is_refused() {
    let scratch = Scratch::create();
    #[derive(Default)]
    struct Other;
    impl State for Other {
        type Entry = u8;
        const VERSION: u32 = 3;
        fn apply(&mut self, _: &u8) {}
        fn entries(&self) -> Vec<u8> {
            vec![]
        }
    }
    Ledger::<Other>::open(&scratch.folder(), &name("board")).lock().unwrap().commit(&[7]).unwrap();
    let mut ledger = board(&scratch.folder());
    assert!(matches!(ledger.lock().unwrap_err(), Error::Version { found: 3, known: 2, .. }));
}

#[test]
fn an_entry_with_a_line_break_is_refused_and_changes_nothing() {
    let scratch = Scratch::create();
    let mut ledger = board(&scratch.folder());
    let mut locked = ledger.lock().unwrap();
    locked.commit(&[Mark::Set('a', 1)]).unwrap();
    let refused = locked.commit(&[Mark::Set('b', 2), Mark::Set('\n', 3)]);
    assert!(matches!(refused, Err(Error::LineBreak { .. })));
    assert_eq!(locked.state().0, BTreeMap::from([('a', 1)]));
    drop(locked);
    assert_eq!(state(&scratch.folder()).0, BTreeMap::from([('a', 1)]));
}

#[test]
fn an_error_gives_the_lock_back() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    fs::write(scratch.path().join("board"), "hello\n").unwrap();
    let mut ledger = board(&folder);
    assert!(ledger.lock().is_err());
    assert!(folder.try_lock(&name("board"), linkspan_records::Access::Exclusive).unwrap().is_some());
    fs::remove_file(scratch.path().join("board")).unwrap();
    ledger.lock().unwrap().commit(&[Mark::Set('a', 1)]).unwrap();
    assert_eq!(state(&folder).0, BTreeMap::from([('a', 1)]));
}

fn resize(path: &Path, len: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

proptest! {
    #[test]
    fn a_ledger_that_is_opened_again_has_the_same_state(commits in commits()) {
        let scratch = Scratch::create();
        let folder = scratch.folder();
        let mut ledger = board(&folder);
        for commit in &commits {
            ledger.lock().unwrap().commit(commit).unwrap();
        }
        let before = ledger.lock().unwrap().state().clone();
        assert_eq!(state(&folder), before);
    }

    #[test]
    fn any_cut_loses_at_most_the_last_commit_and_the_next_holder_goes_on(
        commits in commits(),
        cut in any::<prop::sample::Index>(),
        aware: bool,
    ) {
        let scratch = Scratch::create();
        let folder = scratch.folder();
        let path = scratch.path().join("board");
        let (mut writer, mut reader) = (board(&folder), board(&folder));
        let (mut before, mut expected) = (0, Board::default());
        for commit in &commits {
            expected = writer.lock().unwrap().state().clone();
            if aware {
                drop(reader.lock().unwrap());
            }
            before = fs::metadata(&path).map_or(0, |found| found.len());
            writer.lock().unwrap().commit(commit).unwrap();
        }
        let len = usize::try_from(fs::metadata(&path).unwrap().len() - before).unwrap();
        let cut = before + u64::try_from(cut.index(len)).unwrap();
        // A writer that is killed while it writes has not come to note how long the ledger is.
        resize(&path, cut);
        resize(&scratch.path().join(".board.lock"), before);

        assert_eq!(reader.lock().unwrap().state(), &expected);
        assert_eq!(fs::metadata(&path).unwrap().len(), before, "the torn tail is cut");
        reader.lock().unwrap().commit(&[Mark::Set('z', 1)]).unwrap();
        expected.apply(&Mark::Set('z', 1));
        assert_eq!(state(&folder), expected);
    }

    #[test]
    fn what_was_committed_is_missed_wherever_it_is_cut_off(
        commits in commits(),
        cut in any::<prop::sample::Index>(),
        aware: bool,
    ) {
        let scratch = Scratch::create();
        let folder = scratch.folder();
        let path = scratch.path().join("board");
        let (mut writer, mut reader) = (board(&folder), board(&folder));
        writer.lock().unwrap().commit(&[Mark::Set('a', 1)]).unwrap();
        for commit in &commits {
            writer.lock().unwrap().commit(commit).unwrap();
        }
        if aware {
            drop(reader.lock().unwrap());
        }
        let len = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
        resize(&path, u64::try_from(cut.index(len)).unwrap());
        for ledger in [&mut writer, &mut reader] {
            assert!(matches!(ledger.lock(), Err(Error::Torn { .. } | Error::Corrupt { .. })));
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(reader.lock(), Err(Error::Torn { .. })));
        reader.discard().unwrap();
        assert_eq!(writer.lock().unwrap().state(), &Board::default());
    }

    #[test]
    fn what_takes_the_place_of_a_ledger_is_all_that_everybody_sees(
        before in commits(),
        marks in prop::collection::vec((prop::char::range('a', 'e'), 0..9_u32), 0..20),
        damage in prop::option::of(any::<Vec<u8>>()),
        aware: bool,
    ) {
        let scratch = Scratch::create();
        let folder = scratch.folder();
        let path = scratch.path().join("board");
        let (mut writer, mut reader) = (board(&folder), board(&folder));
        for commit in &before {
            writer.lock().unwrap().commit(commit).unwrap();
        }
        if aware {
            drop(reader.lock().unwrap());
        }
        damage.map_or_else(|| fs::remove_file(&path), |bytes| fs::write(&path, bytes)).unwrap();
        let marks: Vec<_> = marks.into_iter().map(|(letter, count)| Mark::Set(letter, count)).collect();
        let mut expected = Board::default();
        marks.iter().for_each(|mark| expected.apply(mark));
        writer.replace(&marks).unwrap();
        assert_eq!(scratch.files(), [".board.lock", "board"]);
        for ledger in [&mut writer, &mut reader] {
            assert_eq!(ledger.lock().unwrap().state(), &expected);
            ledger.lock().unwrap().commit(&[Mark::Set('z', 1)]).unwrap();
            expected.apply(&Mark::Set('z', 1));
        }
        assert_eq!(state(&folder), expected);
        resize(&path, fs::metadata(&path).unwrap().len() - 1);
        assert!(matches!(reader.lock(), Err(Error::Torn { .. })), "what is cut off is missed");
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, after: bool) {
        let scratch = Scratch::create();
        let folder = scratch.folder();
        let path = scratch.path().join("board");
        if after {
            board(&folder).lock().unwrap().commit(&[Mark::Set('a', 1)]).unwrap();
        }
        let mut all = fs::read(&path).unwrap_or_default();
        all.extend(bytes);
        fs::write(&path, all).unwrap();
        let _ = board(&folder).lock().map(|mut locked| locked.commit(&[Mark::Wipe('a')]));
    }
}
