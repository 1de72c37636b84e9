//! Namespaces of a test's own: each test starts itself again inside them, and cleans up by exiting.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};

const INSIDE: &str = "LINKSPAN_LAB";

/// Runs `body` in own network, mount and UTS namespaces with an empty `/run`, as root there.
pub(crate) fn in_private(test: &str, body: fn()) {
    let mut namespaces = vec!["--net", "--mount", "--uts", "--propagation", "private"];
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        namespaces.extend(["--user", "--map-root-user"]);
    }
    again_in(test, &namespaces, || {
        mount_run();
        body();
    });
}

/// Runs `body` in own user and network namespaces, as one who may make namespaces but mount nothing.
pub(crate) fn without_mounts(test: &str, body: fn()) {
    again_in(test, &["--user", "--map-root-user", "--net"], body);
}

/// Mounts an empty file system on `/run`.
fn mount_run() {
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
}

/// Prints why a test cannot be done here.
pub(crate) fn skip(reason: &str) {
    println!("skipped: {reason}");
}

/// Waits up to five seconds for what the kernel does in its own time.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("not within five seconds: {what}");
}

/// Returns the lines of a process's mount table that hold `path`.
pub(crate) fn mounts(process: &str, path: &Path) -> Vec<String> {
    let table = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap();
    let path = format!(" {} ", path.display());
    table.lines().filter(|line| line.contains(&path)).map(str::to_owned).collect()
}

fn again_in(test: &str, namespaces: &[&str], body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return body();
    }
    let output = Command::new("unshare")
        .args(namespaces)
        .arg("--")
        .arg(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("util-linux has unshare");
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}{complained}");
    assert!(output.status.success(), "{test} failed inside");
    assert!(said.contains("1 passed"), "there is no test {test}");
}
