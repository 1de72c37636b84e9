//! A thread in namespaces of its own, and the programs it starts.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::sync::Arc;

use linkspan_netns::{Error, Isolation, NetNs, Pid, Sandbox};

use crate::lab;

fn hostname() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim_end().to_owned()
}

fn stranger(hostname: &str) -> Sandbox {
    Sandbox::start(Isolation::own_network().hostname(hostname.parse().unwrap())).unwrap()
}

#[test]
fn a_sandbox_has_its_own_hostname_and_the_host_keeps_its() {
    lab::in_private("sandbox::a_sandbox_has_its_own_hostname_and_the_host_keeps_its", || {
        let before = hostname();
        let (web, db) = (stranger("web-1"), stranger("db.example"));
        assert_eq!(web.run(hostname).unwrap(), "web-1");
        assert_eq!(db.run(hostname).unwrap(), "db.example");
        assert_eq!(hostname(), before);
    });
}

#[test]
fn without_a_hostname_the_uts_namespace_is_the_hosts() {
    lab::in_private("sandbox::without_a_hostname_the_uts_namespace_is_the_hosts", || {
        let uts = || fs::read_link("/proc/thread-self/ns/uts").unwrap();
        let sandbox = Sandbox::start(Isolation::own_network()).unwrap();
        assert_eq!(sandbox.run(uts).unwrap(), uts());
        assert_ne!(stranger("web").run(uts).unwrap(), uts());
    });
}

#[test]
fn the_longest_hostname_is_taken_by_the_kernel() {
    lab::in_private("sandbox::the_longest_hostname_is_taken_by_the_kernel", || {
        let longest = format!("{}.{}", "a".repeat(31), "b".repeat(32));
        assert_eq!(stranger(&longest).run(hostname).unwrap(), longest);
    });
}

#[test]
fn a_program_is_in_the_namespaces_from_the_start() {
    lab::in_private("sandbox::a_program_is_in_the_namespaces_from_the_start", || {
        let sandbox = stranger("web-1");
        let mut command = Command::new("sh");
        command.args(["-c", "uname -n; readlink /proc/self/ns/net"]).stdout(Stdio::piped());
        let output = sandbox.spawn(command).unwrap().wait_with_output().unwrap();
        let link = sandbox.run(|| fs::read_link("/proc/thread-self/ns/net").unwrap()).unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("web-1\n{}\n", link.display()));
        assert_ne!(link, fs::read_link("/proc/self/ns/net").unwrap());
    });
}

#[test]
fn a_program_keeps_the_namespace_when_the_sandbox_is_gone() {
    lab::in_private("sandbox::a_program_keeps_the_namespace_when_the_sandbox_is_gone", || {
        let sandbox = stranger("web-1");
        let cookie = sandbox.netns().cookie();
        let mut command = Command::new("sleep");
        command.arg("100");
        let mut child = sandbox.spawn(command).unwrap();
        drop(sandbox);
        let found = NetNs::of_pid(Pid::new(child.id()).unwrap()).unwrap();
        assert_eq!(found.cookie(), cookie);
        child.kill().unwrap();
        child.wait().unwrap();
    });
}

#[test]
fn a_program_that_does_not_exist_is_an_error() {
    let sandbox = Sandbox::start(Isolation::shared_network()).unwrap();
    let refusal = sandbox.spawn(Command::new("/nowhere/program")).unwrap_err();
    assert_eq!(refusal.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn the_place_of_a_sandbox_is_found_as_long_as_it_lives() {
    lab::in_private("sandbox::the_place_of_a_sandbox_is_found_as_long_as_it_lives", || {
        let sandbox = stranger("web-1");
        let place = sandbox.netns().place().unwrap().clone();
        assert!(place.to_string().starts_with(&format!("/proc/{}/task/", std::process::id())));
        assert_eq!(place.find().unwrap().unwrap().cookie(), sandbox.netns().cookie());
        drop(sandbox);
        lab::eventually("the thread is gone", || place.find().unwrap().is_none());
    });
}

#[test]
fn a_guest_is_in_the_namespace_it_joined() {
    lab::in_private("sandbox::a_guest_is_in_the_namespace_it_joined", || {
        let netns = NetNs::create("/run/netns/web").unwrap();
        let guest = Sandbox::start(Isolation::joined(netns.try_clone().unwrap())).unwrap();
        assert_eq!(guest.run(NetNs::current).unwrap().unwrap().cookie(), netns.cookie());
        assert_eq!(guest.netns().place(), netns.place());
    });
}

#[test]
fn a_sandbox_can_be_pinned() {
    lab::in_private("sandbox::a_sandbox_can_be_pinned", || {
        let sandbox = stranger("web-1");
        let pinned = sandbox.netns().pin("/run/netns/web").unwrap();
        drop(sandbox);
        assert_eq!(pinned.place().unwrap().find().unwrap().unwrap().cookie(), pinned.cookie());
    });
}

#[test]
fn a_panic_of_a_job_reaches_the_caller_and_leaves_the_sandbox() {
    let sandbox = Sandbox::start(Isolation::shared_network()).unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| sandbox.run(|| panic!("within"))));
    assert_eq!(panicked.unwrap_err().downcast_ref::<&str>(), Some(&"within"));
    assert_eq!(sandbox.run(|| 7).unwrap(), 7);
}

#[test]
fn a_job_may_ask_for_another() {
    let sandbox = Arc::new(Sandbox::start(Isolation::shared_network()).unwrap());
    let own = Arc::clone(&sandbox);
    assert_eq!(sandbox.run(move || own.run(|| 7).unwrap()).unwrap(), 7);
}

#[test]
fn a_sandbox_is_shared_by_threads() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Sandbox>();
    check::<NetNs>();
    let sandbox = Sandbox::start(Isolation::shared_network()).unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let sandbox = &sandbox;
            scope.spawn(move || assert_eq!(sandbox.run(move || number).unwrap(), number));
        }
    });
}

#[test]
fn a_refused_sandbox_leaves_no_thread() {
    lab::without_mounts("sandbox::a_refused_sandbox_leaves_no_thread", || {
        let threads = || fs::read_dir("/proc/self/task").unwrap().count();
        let before = threads();
        // The limit of this user namespace alone (namespaces(7)).
        fs::write("/proc/sys/user/max_net_namespaces", "0").unwrap();
        let refusal = Sandbox::start(Isolation::own_network()).unwrap_err();
        assert!(matches!(refusal, Error::Create { kind: "network", .. }), "{refusal}");
        assert!(matches!(NetNs::create_anonymous(), Err(Error::Create { .. })));
        lab::eventually("the threads are gone", || threads() == before);
    });
}
