//! The same files in the hands of several processes, some of which are killed.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use linkspan_records::{Access, Action, Durability, Error, Folder, Taken};
use nix::fcntl::{Flock, FlockArg};

use crate::ledgers::{Mark, board};
use crate::scratch::{Note, Scratch, name, note};

/// Names the folder that a process of a test works in, and by its presence, that it is one.
const FOLDER: &str = "LINKSPAN_RECORDS_FOLDER";

/// Starts this test again as a process of its own.
fn spawn(test: &str, scratch: &Scratch, letter: char) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(FOLDER, scratch.path())
        .env("LINKSPAN_RECORDS_LETTER", letter.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Returns the folder and the letter of a process that [`spawn`] started.
fn spawned() -> Option<(Folder, char)> {
    let path = PathBuf::from(std::env::var_os(FOLDER)?);
    let letter = std::env::var("LINKSPAN_RECORDS_LETTER").unwrap().parse().unwrap();
    Some((Folder::open(&path).unwrap(), letter))
}

/// Waits until a process says that it is ready.
fn wait_ready(child: &mut Child) {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.map(Result::unwrap).any(|line| line.ends_with("ready"));
    assert!(ready, "the process ended early");
}

fn say_ready_and_wait_to_be_killed() -> ! {
    println!("ready");
    loop {
        std::thread::park();
    }
}

#[test]
fn eight_processes_lose_no_commit() {
    const ROUNDS: u32 = 500;
    if let Some((folder, letter)) = spawned() {
        let mut ledger = board(&folder);
        for _ in 0..ROUNDS {
            let mut locked = ledger.lock().unwrap();
            let total = locked.state().0.get(&'+').unwrap_or(&0) + 1;
            let own = locked.state().0.get(&letter).unwrap_or(&0) + 1;
            locked.commit(&[Mark::Set('+', total), Mark::Set(letter, own)]).unwrap();
        }
        return;
    }
    let scratch = Scratch::create();
    let children =
        ('a'..='h').map(|letter| spawn("processes::eight_processes_lose_no_commit", &scratch, letter));
    for child in children.collect::<Vec<_>>() {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let mut ledger = board(&scratch.folder());
    let locked = ledger.lock().unwrap();
    assert_eq!(locked.state().0.get(&'+'), Some(&(8 * ROUNDS)));
    assert!(('a'..='h').all(|letter| locked.state().0.get(&letter) == Some(&ROUNDS)));
}

#[test]
fn a_killed_holder_leaves_no_lock_and_its_record_can_be_taken() {
    if let Some((folder, _)) = spawned() {
        let _lock = folder.lock(&name("web"), Access::Exclusive).unwrap();
        let mut ledger = board(&folder);
        let mut locked = ledger.lock().unwrap();
        locked.commit(&[Mark::Set('a', 1)]).unwrap();
        let mut record = folder.create_record(&name("web"), note("claimed")).unwrap();
        record.append(note("linked")).unwrap();
        say_ready_and_wait_to_be_killed();
    }
    let scratch = Scratch::create();
    let test = "processes::a_killed_holder_leaves_no_lock_and_its_record_can_be_taken";
    let mut child = spawn(test, &scratch, 'a');
    wait_ready(&mut child);
    let folder = scratch.folder();
    assert!(folder.try_lock(&name("web"), Access::Exclusive).unwrap().is_none());
    assert!(matches!(folder.take_record::<Note>(&name("web")).unwrap(), Taken::Busy));
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| folder.wait_record::<Note>(&name("web")));
        child.kill().unwrap();
        child.wait().unwrap();
        waiting.join().unwrap()
    });
    let record = waiting.unwrap().unwrap();
    assert_eq!(record.value(), &note("linked"));
    record.remove().unwrap();
    assert!(folder.try_lock(&name("web"), Access::Exclusive).unwrap().is_some());
    assert_eq!(board(&folder).lock().unwrap().state().0.get(&'a'), Some(&1));
}

#[test]
fn of_many_that_create_a_record_one_gets_it_and_nobody_sees_it_unlocked() {
    if let Some((folder, _)) = spawned() {
        for round in 0..200 {
            let web = name(&format!("web-{round}"));
            if let Ok(record) = folder.create_record(&web, note("mine")) {
                println!("created {round}");
                // Held to the end of the process, so that it is never to be had.
                std::thread::spawn(move || {
                    let _record = record;
                    std::thread::park();
                });
            } else {
                assert!(!matches!(folder.take_record::<Note>(&web).unwrap(), Taken::Absent));
            }
        }
        return;
    }
    let scratch = Scratch::create();
    let test = "processes::of_many_that_create_a_record_one_gets_it_and_nobody_sees_it_unlocked";
    let children: Vec<Child> = ('a'..='d').map(|letter| spawn(test, &scratch, letter)).collect();
    let mut created = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        created.extend(
            text.lines().filter_map(|line| line.split_once("created ").map(|(_, round)| round.to_owned())),
        );
    }
    created.sort_by_key(|round| round.parse::<u32>().unwrap());
    assert_eq!(created, (0..200).map(|round| round.to_string()).collect::<Vec<_>>());
    assert!(scratch.files().iter().all(|file| file.starts_with("web-")), "no draft stays");
}

#[test]
fn writers_killed_at_any_moment_leave_whole_documents_and_ledgers() {
    if let Some((folder, letter)) = spawned() {
        let mut ledger = board(&folder);
        println!("ready");
        for round in 0.. {
            folder
                .write(&name("shared"), &note(&letter.to_string().repeat(500)), Durability::Memory)
                .unwrap();
            let marks: Vec<Mark> = ('A'..='Z').map(|place| Mark::Set(place, round)).collect();
            ledger.lock().unwrap().commit(&marks).unwrap();
        }
        return;
    }
    let scratch = Scratch::create();
    let test = "processes::writers_killed_at_any_moment_leave_whole_documents_and_ledgers";
    for pause in 0..12 {
        let mut children: Vec<Child> = ('a'..='c').map(|letter| spawn(test, &scratch, letter)).collect();
        children.iter_mut().for_each(wait_ready);
        std::thread::sleep(std::time::Duration::from_millis(pause));
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let folder = scratch.folder();
        if let Some(Note { text }) = folder.read(&name("shared")).unwrap() {
            assert!(text.len() == 500 && text.bytes().all(|byte| byte == text.as_bytes()[0]));
        }
        let mut ledger = board(&folder);
        let rounds: Vec<u32> = ledger.lock().unwrap().state().0.values().copied().collect();
        assert!(rounds.iter().all(|round| *round == rounds[0]), "a commit counts as a whole: {rounds:?}");
        folder.sweep().unwrap();
        assert!(
            scratch.files().iter().all(|file| [".board.lock", "board", "shared"].contains(&file.as_str()))
        );
    }
}

#[test]
fn a_writer_without_descriptors_leaves_the_draft_of_another() {
    if let Some((folder, _)) = spawned() {
        let mut taken = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            taken.push(file);
        }
        let refused = folder.write(&name("web"), &note("second"), Durability::Memory);
        assert!(matches!(refused, Err(Error::Io { action: Action::Open, .. })), "{refused:?}");
        return;
    }
    let scratch = Scratch::create();
    drop(scratch.folder());
    let draft = scratch.path().join(".web.draft");
    // As another writer keeps it while he writes.
    let _kept = Flock::lock(File::create(&draft).unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
    let child = spawn("processes::a_writer_without_descriptors_leaves_the_draft_of_another", &scratch, 'a');
    assert!(child.wait_with_output().unwrap().status.success());
    assert!(draft.exists());
}
