//! The thread that makes namespaces.

use std::collections::BTreeSet;
use std::fs;

use linkspan_netns::{Maker, NetNs};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::lab::in_private;

/// The processors on which the threads of this process may run, as the kernel lists them.
fn processors() -> BTreeSet<String> {
    let of = |folder: fs::DirEntry| {
        let status = fs::read_to_string(folder.path().join("status")).unwrap();
        status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned()
    };
    fs::read_dir("/proc/self/task").unwrap().map(|folder| of(folder.unwrap())).collect()
}

#[test]
fn it_may_run_wherever_it_might_before() {
    in_private("maker::it_may_run_wherever_it_might_before", || {
        let maker = Maker::start(&NetNs::current().unwrap()).unwrap();
        let before = processors();
        for _ in 0..3 {
            let _netns = maker.begin().unwrap().finish().unwrap();
            assert!(maker.is_home());
            assert_eq!(processors(), before);
        }
    });
}

#[test]
fn one_processor_is_enough_for_it() {
    in_private("maker::one_processor_is_enough_for_it", || {
        let mine = sched_getaffinity(Pid::from_raw(0)).unwrap();
        let first = (0..CpuSet::count()).find(|cpu| mine.is_set(*cpu).unwrap()).unwrap();
        let mut one = CpuSet::new();
        one.set(first).unwrap();
        sched_setaffinity(Pid::from_raw(0), &one).unwrap();
        let maker = Maker::start(&NetNs::current().unwrap()).unwrap();
        let netns = maker.begin().unwrap().finish().unwrap();
        assert!(!netns.is_here() && maker.is_home());
    });
}
