//! What is to outlast a power failure is on the disk before a command ends.

use crate::private::in_private_with;
use crate::program::run;
use crate::world::{Case, World};
use std::fs;
use std::process::Command;

const TRACE: &str = "/run/trace";

/// The folders and what is brought to the disk, in their order, each file with its path.
fn made_and_synced(world: &World, line: &str) -> String {
    let command = world.command(line);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-q", "-y", "-o", TRACE, "-e", "trace=mkdir,mkdirat,fsync"]);
    strace.arg(command.get_program()).args(command.get_args());
    strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    run(&mut strace).ok();
    fs::read_to_string(TRACE).unwrap()
}

#[test]
fn each_folder_of_the_state_is_on_the_disk_with_the_first_network() {
    in_private_with(&["strace"], || {
        let world = World::new(Case::USUAL);
        let trace = made_and_synced(&world, "--instance ci network create web");
        for (made, parent) in
            [("/var/lib/ci", "/var/lib"), ("networks", "/var/lib/ci"), ("reservations", "/var/lib/ci")]
        {
            let (_, after) = trace.split_once(&format!("\"{made}\"")).expect(&trace);
            let is_sync = |line: &str| line.contains("fsync(") && line.contains(&format!("<{parent}>)"));
            assert!(after.lines().any(is_sync), "{parent} after {made}:\n{trace}");
        }
        world.linkspan("--instance ci network rm web").ok();
    });
}
