//! Namespaces of a test's own: it starts itself again inside them, and cleans up by exiting.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

const INSIDE: &str = "LINKSPAN_LAB";

/// Runs `body` in an own network namespace, as root there.
pub(crate) fn in_private(test: &str, body: fn()) {
    if env::var_os(INSIDE).is_some() {
        return body();
    }
    let mut namespaces = vec!["--net"];
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
