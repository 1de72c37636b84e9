//! `soak fuzz`: every target of `fuzz/`, each for a bounded time.

use std::fmt;
use std::io::{self, BufRead, BufReader};
use std::process::Command;
use std::time::Duration;

use crate::cargo::{announce, cargo, step, workspace};
use crate::outcome::Outcome;

/// The version that is installed; it compiles for a minute.
const PACKAGE: &str = "cargo-fuzz@0.13.2";
const TARGETS: [&str; 4] = ["arguments", "netlink_replies", "rule_text", "state_files"];

/// For how long each target runs in a soak.
pub(crate) const USUAL: Duration = Duration::from_secs(30 * 60);
/// An input that takes longer, in seconds, has found something: most take milliseconds, but on a busy machine the
/// kernel may keep whoever opens a namespace waiting for a minute.
const PATIENCE: &str = "-timeout=120";
/// So has one that takes more memory, in MiB.
const MEMORY: &str = "-rss_limit_mb=2048";

/// Runs each target on what its corpus has come to, and says how far it got. It takes a C++ compiler.
pub(crate) fn run(time: Duration) -> io::Result<Outcome> {
    let mut outcome = Outcome::default();
    if !cargo(["fuzz", "--version"]).output()?.status.success() {
        outcome += step("cargo-fuzz", &mut cargo(["install", "--quiet", "--locked", PACKAGE]))?;
    }
    outcome += step("the targets", &mut built(["fuzz", "build"]))?;
    for target in TARGETS {
        outcome += seed(target)?;
        outcome += fuzz(target, time)?;
    }
    Ok(outcome)
}

/// A cargo-fuzz that needs nothing of a nightly toolchain: the sanitizers do, and there is next to no unsafe code
/// for them to look at.
fn built<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = cargo(arguments);
    // What a released program gains by more takes minutes, each time; a panic says its place without the rest.
    for (setting, value) in [("LTO", "off"), ("CODEGEN_UNITS", "16"), ("OPT_LEVEL", "1"), ("DEBUG", "0")] {
        command.env(format!("CARGO_PROFILE_RELEASE_{setting}"), value);
    }
    command.args(["--sanitizer", "none"]);
    command
}

/// Puts into the corpus what comes in where all is well.
fn seed(target: &str) -> io::Result<Outcome> {
    let corpus = workspace().join("fuzz/corpus").join(target);
    let mut seeds = cargo(["run", "--quiet", "-p", "linkspan-fuzz", "--bin", target, "--", "seeds"]);
    step(&format!("the seeds of {target}"), seeds.arg(corpus))
}

fn fuzz(target: &str, time: Duration) -> io::Result<Outcome> {
    let mut command = built(["fuzz", "run"]);
    let time = format!("-max_total_time={}", time.as_secs());
    command.args([target, "--", &time, PATIENCE, MEMORY, "-print_final_stats=1"]);
    announce(&command);
    let (reader, writer) = io::pipe()?;
    command.stderr(writer);
    let mut child = command.spawn()?;
    command.stderr(io::stderr());
    let mut reached = Reached::default();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        if !reached.read(&line) {
            println!("{line}");
        }
    }
    println!("{target}: {reached}");
    let found = || Outcome::failed(format!("{target} found something: see `fuzz/artifacts/{target}`"));
    Ok(if child.wait()?.success() { Outcome::passed() } else { found() })
}

/// What else libFuzzer says of what it does, and of the words that it found to be compared with.
const CHATTER: [&str; 5] = ["INFO:", "NEW_FUNC", "stat::", "#", "\""];

/// How far a target got, as libFuzzer says it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reached {
    executions: u64,
    edges: u64,
    all_edges: u64,
    features: u64,
}

impl Reached {
    /// Takes a line; whether it was one that nobody else need see.
    fn read(&mut self, line: &str) -> bool {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let number = |word: &str| word.trim_start_matches('(').parse().unwrap_or(0);
        match words[..] {
            ["stat::number_of_executed_units:", executions] => self.executions = number(executions),
            ["INFO:", "Loaded", _, "modules", edges, ..] => self.all_edges = number(edges),
            [place, _, "cov:", edges, "ft:", features, ..] if place.starts_with('#') => {
                (self.edges, self.features) = (number(edges), number(features));
            }
            [word, ..] => return CHATTER.iter().any(|beginning| word.starts_with(beginning)),
            [] => {}
        }
        true
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { executions, edges, all_edges, features } = self;
        write!(f, "{executions} executions reached {edges} of {all_edges} edges, {features} features")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_counted() {
        let mut reached = Reached::default();
        let lines = "INFO: Seed: 1\n\
            INFO: Loaded 1 modules   (94514 inline 8-bit counters): 94514 [0x1, 0x2),\n\
            #2\tINITED cov: 5 ft: 6 corp: 1/1b exec/s: 0 rss: 40Mb\n\
            \tNEW_FUNC[1/2]: 0x556653f78c41\n\
            #9128\tREDUCE cov: 4711 ft: 12000 corp: 900/88Kb lim: 4096 exec/s: 300 rss: 90Mb\n\
            \"version\" # Uses: 0\n\
            Done 9128 runs in 31 second(s)\n\
            stat::number_of_executed_units: 9128\n\
            stat::peak_rss_mb:              90";
        let others: Vec<_> = lines.lines().filter(|line| !reached.read(line)).collect();
        assert_eq!(others, ["Done 9128 runs in 31 second(s)"]);
        let expected = Reached { executions: 9128, edges: 4711, all_edges: 94514, features: 12000 };
        assert_eq!(reached, expected);
    }
}
