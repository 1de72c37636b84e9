//! Records of operations under way, within one process.

use std::fs;
use std::io::Write as _;

use linkspan_records::{Durability, Error, Folder, MAX_PHASE, Record, Taken};
use proptest::prelude::{any, prop, proptest};

use crate::scratch::{Note, Scratch, name, note};

fn taken(folder: &Folder) -> Record<Note> {
    match folder.take_record(&name("web")).unwrap() {
        Taken::Here(record) => record,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_is_busy_while_its_owner_holds_it() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    assert!(matches!(folder.take_record::<Note>(&name("web")).unwrap(), Taken::Absent));
    assert!(folder.wait_record::<Note>(&name("web")).unwrap().is_none());
    let mut record = folder.create_record(&name("web"), note("claimed")).unwrap();
    record.append(note("linked")).unwrap();
    assert!(matches!(folder.take_record::<Note>(&name("web")).unwrap(), Taken::Busy));
    assert_eq!(folder.peek_record(&name("web")).unwrap(), Some(note("linked")));
    drop(record);
    assert_eq!(taken(&folder).value(), &note("linked"));
    assert_eq!(scratch.files(), ["web"]);
}

#[test]
fn a_second_record_of_a_name_is_refused() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    let record = folder.create_record(&name("web"), note("one")).unwrap();
    for _ in 0..2 {
        let second = folder.create_record(&name("web"), note("two"));
        assert!(matches!(second, Err(Error::Exists { path }) if path.ends_with("web")));
    }
    assert_eq!(scratch.files(), ["web"], "a refusal leaves no draft");
    record.remove().unwrap();
    folder.create_record(&name("web"), note("two")).unwrap().remove().unwrap();
    assert!(scratch.files().is_empty());
}

#[test]
fn a_record_moves_without_being_let_go() {
    let scratch = Scratch::create();
    let (from, to) =
        (scratch.folder().folder(&name("a")).unwrap(), scratch.folder().folder(&name("b")).unwrap());
    let mut record = from.create_record(&name("web"), note("here")).unwrap();
    record.move_to(&to).unwrap();
    assert!(from.is_empty().unwrap());
    assert!(matches!(to.take_record::<Note>(&name("web")).unwrap(), Taken::Busy));
    record.append(note("there")).unwrap();
    drop(record);
    assert_eq!(taken(&to).value(), &note("there"));
}

#[test]
fn a_record_does_not_move_over_another() {
    let scratch = Scratch::create();
    let (from, to) =
        (scratch.folder().folder(&name("a")).unwrap(), scratch.folder().folder(&name("b")).unwrap());
    let mut record = from.create_record(&name("web"), note("here")).unwrap();
    to.write(&name("web"), &note("other"), Durability::Memory).unwrap();
    assert!(matches!(record.move_to(&to), Err(Error::Exists { .. })));
    drop(record);
    assert_eq!(taken(&from).value(), &note("here"));
    assert_eq!(to.peek_record(&name("web")).unwrap(), Some(note("other")));
}

#[test]
fn a_torn_phase_is_as_if_it_was_not_written() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    drop(folder.create_record(&name("web"), note("claimed")).unwrap());
    let path = scratch.path().join("web");
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"version\":1,\"text\":\"a very long phase that was not written to its e").unwrap();
    assert_eq!(folder.peek_record(&name("web")).unwrap(), Some(note("claimed")));
    let mut record = taken(&folder);
    assert_eq!(record.value(), &note("claimed"));
    record.append(note("x")).unwrap();
    drop(record);
    assert_eq!(taken(&folder).value(), &note("x"));
    let lines = fs::read_to_string(&path).unwrap();
    assert_eq!(lines, "{\"version\":1,\"text\":\"claimed\"}\n{\"version\":1,\"text\":\"x\"}\n");
}

#[test]
fn a_record_that_cannot_be_understood_is_an_error_and_stays() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    for (bytes, expected) in
        [("", "torn"), ("{\"version\":1", "torn"), ("{\"version\":9}\n", "version 9"), ("x\n", "understand")]
    {
        fs::write(scratch.path().join("web"), bytes).unwrap();
        let error = folder.take_record::<Note>(&name("web")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(fs::read_to_string(scratch.path().join("web")).unwrap(), bytes);
    }
}

#[test]
fn a_record_does_not_outgrow_what_is_read() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    let text_of = |bytes: u64| note(&"y".repeat(usize::try_from(bytes).unwrap()));
    let too_large = |refused| matches!(refused, Err(Error::TooLarge { .. }));
    assert!(too_large(folder.create_record(&name("web"), text_of(MAX_PHASE)).map(drop)));
    let mut record = folder.create_record(&name("web"), note("x")).unwrap();
    assert!(too_large(record.append(text_of(MAX_PHASE))));
    // What is as large as can be changes its phase three times.
    let largest = text_of(MAX_PHASE - 100);
    (0..4).for_each(|_| record.append(largest.clone()).unwrap());
    assert!(too_large(record.append(largest.clone())));
    drop(record);
    assert_eq!(taken(&folder).value(), &largest);
}

proptest! {
    #[test]
    fn any_cut_within_the_last_phase_leaves_the_one_before(
        phases in prop::collection::vec(".{0,20}", 2..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let scratch = Scratch::create();
        let folder = scratch.folder();
        let path = scratch.path().join("web");
        let mut record = folder.create_record(&name("web"), note(&phases[0])).unwrap();
        let mut ends = vec![fs::metadata(&path).unwrap().len()];
        for phase in &phases[1..] {
            record.append(note(phase)).unwrap();
            ends.push(fs::metadata(&path).unwrap().len());
        }
        drop(record);
        let [.., before, all] = ends[..] else { unreachable!() };
        let cut = before + u64::try_from(cut.index(usize::try_from(all - before).unwrap())).unwrap();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(cut).unwrap();
        assert_eq!(taken(&folder).value(), &note(&phases[phases.len() - 2]));
        assert_eq!(fs::metadata(&path).unwrap().len(), before, "the torn tail is cut");
    }
}

#[test]
fn members_that_a_newer_program_wrote_are_kept() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    drop(folder.create_record(&name("web"), note("claimed")).unwrap());
    let path = scratch.path().join("web");
    let line = fs::read_to_string(&path).unwrap().replace("\"version\":1", "\"version\":1,\"later\":[7]");
    fs::write(&path, line).unwrap();
    taken(&folder).append(note("linked")).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let last = text.lines().last().unwrap();
    assert!(last.contains("\"later\":[7]") && last.contains("linked"), "{last}");
}
