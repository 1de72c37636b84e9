//! One lease book in the hands of several processes, some of which are killed.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use linkspan_ipam::{Owner, Wanted};

use crate::scratch::{Scratch, book, owner, subnet};

/// Names the folder that a process of a test works in, and by its presence, that it is one.
const FOLDER: &str = "LINKSPAN_IPAM_FOLDER";

/// Starts this test again as a process of its own.
fn spawn(test: &str, scratch: &Scratch, name: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(FOLDER, scratch.path())
        .env("LINKSPAN_IPAM_OWNER", name)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Returns the folder and the owner of a process that [`spawn`] started.
fn spawned() -> Option<(PathBuf, Owner)> {
    let path = PathBuf::from(std::env::var_os(FOLDER)?);
    Some((path, owner(&std::env::var("LINKSPAN_IPAM_OWNER").unwrap())))
}

#[test]
fn eight_processes_get_different_addresses_and_none_is_lost() {
    const EACH: usize = 500;
    let net = subnet("10.0.0.0/16");
    if let Some((path, owner)) = spawned() {
        let book = book(&path);
        for _ in 0..EACH {
            // One in two is given back at once, so that others find gaps.
            let passing = book.lease(&net, &owner, Wanted::Any, &mut |_| true).unwrap();
            println!("leased {}", book.lease(&net, &owner, Wanted::Any, &mut |_| true).unwrap());
            assert!(book.release(passing, &owner).unwrap());
        }
        return;
    }
    let scratch = Scratch::create();
    let test = "processes::eight_processes_get_different_addresses_and_none_is_lost";
    let children: Vec<(String, Child)> = (0..8)
        .map(|nth| format!("owner-{nth}"))
        .map(|name| (name.clone(), spawn(test, &scratch, &name)))
        .collect();
    let mut leased = BTreeMap::new();
    for (name, child) in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let Some((_, address)) = line.split_once("leased ") else { continue };
            let before = leased.insert(address.parse().unwrap(), owner(&name));
            assert_eq!(before, None, "{address} was leased twice");
        }
    }
    assert_eq!(leased.len(), 8 * EACH);
    let kept = scratch.book().snapshot().unwrap();
    assert!(kept.leases().eq(leased.iter().map(|(address, owner)| (*address, owner))));
}

#[test]
fn killed_processes_leave_no_lock_and_a_whole_book() {
    let net = subnet("10.0.0.0/16");
    if let Some((path, owner)) = spawned() {
        let book = book(&path);
        println!("ready");
        loop {
            book.lease(&net, &owner, Wanted::Any, &mut |_| true).unwrap();
            let addresses = book.addresses_of(&owner).unwrap();
            if addresses.len() > 50 {
                book.release_all(&owner).unwrap();
            }
        }
    }
    let scratch = Scratch::create();
    let test = "processes::killed_processes_leave_no_lock_and_a_whole_book";
    for round in 0..10 {
        let mut children: Vec<Child> =
            ["a", "b", "c"].iter().map(|name| spawn(test, &scratch, name)).collect();
        for child in &mut children {
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            assert!(lines.any(|line| line.unwrap().ends_with("ready")));
        }
        std::thread::sleep(std::time::Duration::from_millis(round));
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let book = scratch.book();
        for name in ["a", "b", "c"] {
            book.release_all(&owner(name)).unwrap();
        }
        let first = book.lease(&net, &owner("after"), Wanted::Any, &mut |_| true).unwrap();
        assert_eq!(first.to_string(), "10.0.0.2");
        book.release_all(&owner("after")).unwrap();
        assert!(book.is_empty().unwrap());
    }
}

#[test]
fn a_process_that_is_killed_with_the_book_locked_leaves_no_lock() {
    let net = subnet("10.0.0.0/30");
    if let Some((path, owner)) = spawned() {
        // The question is asked while the book is locked.
        let asked = &mut |_: &Owner| -> bool {
            println!("ready");
            loop {
                std::thread::park();
            }
        };
        let _ = book(&path).lease(&net, &owner, Wanted::Any, asked);
        return;
    }
    let scratch = Scratch::create();
    let book = scratch.book();
    let address = book.lease(&net, &owner("web"), Wanted::Any, &mut |_| true).unwrap();
    let mut child =
        spawn("processes::a_process_that_is_killed_with_the_book_locked_leaves_no_lock", &scratch, "b");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("ready")));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(book.owner_of(address).unwrap(), Some(owner("web")));
}
