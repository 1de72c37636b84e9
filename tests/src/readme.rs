//! Every line of the README that can be run is run.

use crate::private::{in_private, in_private_with};
use crate::program::{path_of_linkspan, run};
use crate::snapshot::Snapshot;
use crate::world::{Case, World};
use linkspan::Pid;
use std::env;
use std::fs;
use std::process::Command;

include!(concat!(env!("OUT_DIR"), "/readme.rs"));

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");

/// The blocks of the README as their tag and their lines.
fn blocks() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(README).unwrap();
    let mut parts = text.split("\n```");
    let mut blocks = Vec::new();
    parts.next();
    while let Some(block) = parts.next() {
        let (tag, lines) = block.split_once('\n').unwrap_or((block, ""));
        blocks.push((tag.to_owned(), lines.lines().map(str::to_owned).collect()));
        assert!(parts.next().is_some(), "the last block has no end");
    }
    blocks
}

fn tagged(tag: &str) -> Vec<String> {
    blocks().into_iter().filter(|(its, _)| its == tag).flat_map(|(_, lines)| lines).collect()
}

#[test]
fn every_block_is_of_a_kind_that_is_run() {
    for (tag, lines) in blocks() {
        assert!(["rust", "sh", "sh demo"].contains(&tag.as_str()), "{tag}: {lines:?}");
        assert!(!lines.is_empty(), "{tag}");
    }
}

#[test]
fn the_library_does_what_the_readme_says() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let mut sleep = Command::new("sleep");
        sleep.arg("60");
        let mut program = world.lab.program(sleep).unwrap();
        let done = block_0(Pid::new(program.id()).unwrap());
        program.kill().unwrap();
        program.wait().unwrap();
        done.unwrap();
    });
}

#[test]
fn the_command_does_what_the_readme_says_and_leaves_nothing() {
    in_private_with(&["ip"], || {
        let _world = World::new(Case::USUAL);
        tell("ip netns add box");
        let before = Snapshot::take();
        for line in tagged("sh").iter().filter(|line| *line != "ip netns add box") {
            tell(line);
        }
        before.assert_unchanged("the README's commands");
    });
}

#[test]
fn the_demo_is_the_first_thing_that_works() {
    in_private(|| {
        let lines = tagged("sh demo");
        let line = lines[0].split('#').next().unwrap().trim();
        assert_eq!(line, "cargo run --release -p linkspan-cli -- demo");
        let ran = run(Command::new(path_of_linkspan()).arg("demo"));
        assert!(ran.ok().contains("Everything is removed"));
    });
}

/// Runs a line as a reader would, with the command installed.
#[track_caller]
fn tell(line: &str) {
    let folder = path_of_linkspan().parent().unwrap().to_owned();
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([folder].into_iter().chain(env::split_paths(&path))).unwrap();
    let ran = run(Command::new("sh").args(["-c", line]).env("PATH", path));
    assert!(ran.status.success(), "{line}: {ran}");
}
