//! Locks, within one process.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use linkspan_records::Access::{Exclusive, Shared};

use crate::scratch::{Scratch, name};

#[test]
fn an_exclusive_lock_keeps_everybody_out_until_it_is_dropped() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    let lock = folder.lock(&name("web"), Exclusive).unwrap();
    assert!(folder.try_lock(&name("web"), Exclusive).unwrap().is_none());
    assert!(folder.try_lock(&name("web"), Shared).unwrap().is_none());
    assert!(folder.try_lock(&name("db"), Exclusive).unwrap().is_some());
    drop(lock);
    assert!(folder.try_lock(&name("web"), Exclusive).unwrap().is_some());
}

#[test]
fn shared_locks_keep_only_exclusive_ones_out() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    let _one = folder.lock(&name("web"), Shared).unwrap();
    let two = folder.try_lock(&name("web"), Shared).unwrap();
    assert!(two.is_some());
    assert!(folder.try_lock(&name("web"), Exclusive).unwrap().is_none());
}

#[test]
fn a_lock_stays_out_of_the_folders_names() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    let _lock = folder.lock(&name("web"), Exclusive).unwrap();
    assert!(folder.is_empty().unwrap());
    assert!(folder.names().unwrap().is_empty());
}

#[test]
fn a_lock_that_is_given_back_with_its_file_goes_to_one_who_waits_and_to_nobody_twice() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    let inside = AtomicUsize::new(0);
    let work = || {
        for _ in 0..200 {
            let lock = folder.lock(&name("web"), Exclusive).unwrap();
            assert_eq!(inside.fetch_add(1, Relaxed), 0, "two have the lock");
            assert_eq!(inside.fetch_sub(1, Relaxed), 1);
            folder.remove_lock(&name("web"), lock).unwrap();
        }
    };
    thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_file_of_a_lock_that_another_shares_stays() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    let (one, two) = (folder.lock(&name("web"), Shared).unwrap(), folder.lock(&name("web"), Shared).unwrap());
    folder.remove_lock(&name("web"), one).unwrap();
    assert!(folder.try_lock(&name("web"), Exclusive).unwrap().is_none());
    assert_eq!(folder.sweep_locks().unwrap(), 0);
    drop(two);
    assert_eq!(folder.sweep_locks().unwrap(), 1);
}
