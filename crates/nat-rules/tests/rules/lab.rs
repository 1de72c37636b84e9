//! Tests in network namespaces of their own. Entering a user namespace fails in a process with threads, so
//! each test is run again by `unshare`, as its only test.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

const INSIDE: &str = "LINKSPAN_LAB";

/// Runs the body of the test of this name in private network, mount and host name namespaces.
pub(crate) fn in_private(test: &str, body: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--mount", "--uts", "--propagation", "private"]);
    if !is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let program = std::env::current_exe().unwrap();
    unshare.arg(program).args([test, "--exact", "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
    let output = unshare.output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    print!("{text}");
    assert!(output.status.success() && text.contains("1 passed"), "{test} failed in its namespaces");
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// Whether a program of the tests is installed; says so where it is not.
pub(crate) fn has(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success());
    if !there {
        println!("skipped: `{program}` is not installed");
    }
    there
}

/// What a command prints.
pub(crate) fn run(command: &str) -> String {
    feed(command, "")
}

/// What a command prints of this input.
pub(crate) fn feed(command: &str, input: &str) -> String {
    let mut words = command.split(' ');
    let mut child = Command::new(words.next().unwrap());
    child.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let mut said = String::new();
    write!(said, "{}", String::from_utf8_lossy(&output.stderr)).unwrap();
    assert!(output.status.success(), "{command}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
