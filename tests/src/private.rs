//! Namespaces of a test's own: each test starts itself again inside them, and cleans up by exiting.

use nix::sys::memfd::{MFdFlags, memfd_create};
use std::any::type_name;
use std::env;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

const INSIDE: &str = "LINKSPAN_LAB";

/// Runs the body of the test that calls this in own network, mount and UTS namespaces, as root there.
///
/// The test is found by the name of its closure, and a test that is not found fails.
pub(crate) fn in_private<F: Fn()>(body: F) {
    if env::var_os(INSIDE).is_some() {
        return body();
    }
    let test = test_of::<F>();
    let (mut out, mut err) = (paper(), paper());
    let status = unshare()
        .arg(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .env("PATH", search_path())
        // Cargo's, for its own libraries; every program would look there first.
        .env_remove("LD_LIBRARY_PATH")
        .stdout(out.try_clone().unwrap())
        .stderr(err.try_clone().unwrap())
        .status()
        .expect("util-linux has unshare");
    let said = written(&mut out);
    println!("{said}{}", written(&mut err));
    assert!(status.success(), "{test} failed inside");
    assert!(said.contains("1 passed"), "there is no test {test}");
}

/// A file in memory. The end of a pipe would be waited for as long as anybody has it who was left behind.
fn paper() -> File {
    File::from(memfd_create(c"said", MFdFlags::MFD_CLOEXEC).unwrap())
}

fn written(paper: &mut File) -> String {
    let mut bytes = Vec::new();
    paper.seek(SeekFrom::Start(0)).and_then(|_| paper.read_to_end(&mut bytes)).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `crate::module::test::{{closure}}` without its ends.
fn test_of<F>() -> &'static str {
    let path = type_name::<F>().trim_end_matches("::{{closure}}");
    path.split_once("::").expect("a test is in a crate").1
}

/// An ordinary user becomes root of a user namespace; root stays what it is.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--uts", "--propagation", "private"]);
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("--");
    command
}

/// Where programs are found: an ordinary user's path may lack the folders of `nft` and `ip`, and begin with
/// folders in someone's home.
fn search_path() -> String {
    let path = env::var("PATH").unwrap_or_default();
    format!("/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin:{path}")
}

/// The reason why a test that needs these programs cannot be done here.
pub(crate) fn lacks(programs: &[&str]) -> Option<String> {
    let path = search_path();
    let found = |program: &&str| env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let missing: Vec<_> = programs.iter().copied().filter(|program| !found(program)).collect();
    (!missing.is_empty()).then(|| format!("no {} here", missing.join(", ")))
}

/// Prints why a test cannot be done here.
pub(crate) fn skip(reason: &str) {
    println!("skipped: {reason}");
}

/// Runs the test where its programs are there, else says that it is skipped.
pub(crate) fn in_private_with<F: Fn()>(programs: &[&str], body: F) {
    match lacks(programs) {
        Some(reason) => skip(&reason),
        None => in_private(body),
    }
}

/// Whether the kernel can filter bridged frames here.
pub(crate) fn has_bridge_netfilter() -> bool {
    Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists()
}
