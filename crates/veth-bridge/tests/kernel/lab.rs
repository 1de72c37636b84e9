//! Namespaces of a test's own: each test starts itself again inside them, and cleans up by exiting.

use nix::sched::{CloneFlags, setns, unshare};
use std::env;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::process::Command;

const INSIDE: &str = "LINKSPAN_LAB";

/// Runs `body` in own network, mount and UTS namespaces, as root there.
pub(crate) fn in_private(test: &str, body: fn()) {
    if env::var_os(INSIDE).is_some() {
        return body();
    }
    let mut namespaces = vec!["--net", "--mount", "--uts", "--propagation", "private"];
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        namespaces.extend(["--user", "--map-root-user"]);
    }
    let output = Command::new("unshare")
        .args(namespaces)
        .arg("--")
        .arg(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("util-linux has unshare");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{test} failed inside");
    assert!(said.contains("1 passed"), "there is no test {test}");
}

/// Runs `body` as [`in_private`] does where `ip` is there for it, else says that the test is skipped.
pub(crate) fn in_private_with_ip(test: &str, body: fn()) {
    match Command::new("ip").arg("-V").output() {
        Ok(_) => in_private(test, body),
        Err(_) => skip("`ip` is not installed"),
    }
}

/// Prints why a test cannot be done here.
pub(crate) fn skip(reason: &str) {
    println!("skipped: {reason}");
}

/// A network namespace that lives as long as the value.
#[derive(Debug)]
pub(crate) struct NetNs {
    fd: OwnedFd,
}

impl NetNs {
    pub(crate) fn new() -> Self {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        Self { fd: made.join().unwrap().into() }
    }

    /// Works inside on a thread that ends there.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            setns(self.fd.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        std::thread::scope(|scope| scope.spawn(inside).join().unwrap())
    }

    /// Runs `ip` inside, which must succeed, and returns what it printed.
    #[track_caller]
    pub(crate) fn ip(&self, arguments: &str) -> String {
        let output = self.run(|| Command::new("ip").args(arguments.split(' ')).output());
        let output = output.expect("iproute2 has ip");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip {arguments}: {complaint}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Writes a setting below `/proc/sys/net`.
    pub(crate) fn set(&self, setting: &str, value: &str) {
        self.run(|| fs::write(format!("/proc/sys/net/{setting}"), value)).unwrap();
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether bridge netfilter can be switched on and off here.
pub(crate) fn has_bridge_netfilter(host: &NetNs) -> bool {
    host.run(|| fs::exists("/proc/sys/net/bridge/bridge-nf-call-iptables").unwrap())
}
