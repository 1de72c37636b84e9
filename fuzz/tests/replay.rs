//! Each target takes what it begins with, and again whatever found something once.

// What is skipped says why.
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, process};

struct Target {
    name: &'static str,
    program: &'static str,
}

/// The status of a target that cannot be made ready here.
const SKIPPED: i32 = 77;

/// What came of a target.
#[derive(PartialEq, Eq)]
enum Ran {
    Whole,
    Skipped,
}

impl Target {
    fn run(&self, verb: &str, path: &Path) -> Ran {
        let ran =
            Command::new(self.program).arg(verb).arg(path).output().expect("it was built with this test");
        let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        if ran.status.code() == Some(SKIPPED) {
            println!("skipped: {}", err.trim_end());
            return Ran::Skipped;
        }
        assert!(ran.status.success(), "{} {verb}: {}\n{out}{err}", self.name, ran.status);
        assert!(!out.starts_with("0 "), "{} {verb}: {out}", self.name);
        Ran::Whole
    }

    fn check(&self) {
        let seeds = env::temp_dir().join(format!("linkspan-fuzz-{}-{}", self.name, process::id()));
        let begun = self.run("seeds", &seeds);
        if begun == Ran::Whole {
            self.replay(&seeds);
        }
        fs::remove_dir_all(&seeds).expect("the target made it");
        let found: PathBuf = [env!("CARGO_MANIFEST_DIR"), "regressions", self.name].iter().collect();
        if begun == Ran::Whole && found.is_dir() {
            self.replay(&found);
        }
    }

    /// What could be made ready once can be again.
    fn replay(&self, inputs: &Path) {
        assert!(self.run("replay", inputs) == Ran::Whole, "{} was skipped", self.name);
    }
}

#[test]
fn arguments_keep_their_laws() {
    Target { name: "arguments", program: env!("CARGO_BIN_EXE_arguments") }.check();
}

#[test]
fn netlink_replies_keep_their_laws() {
    Target { name: "netlink_replies", program: env!("CARGO_BIN_EXE_netlink_replies") }.check();
}

#[test]
fn rule_text_keeps_its_laws() {
    Target { name: "rule_text", program: env!("CARGO_BIN_EXE_rule_text") }.check();
}

#[test]
fn state_files_keep_their_laws() {
    Target { name: "state_files", program: env!("CARGO_BIN_EXE_state_files") }.check();
}
