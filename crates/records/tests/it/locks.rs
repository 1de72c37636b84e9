//! Locks, within one process.

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
