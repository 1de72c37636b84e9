//! What deciding an attach and writing its messages costs, in instructions, so that a regression shows without a clock.
//!
//! They are counted in the command as the tests build it, hardly optimised, since nothing else is built for it.

use crate::private::in_private_with;
use crate::program::{run, tool};
use crate::world::{Case, World};
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The golden file, for a reader and for the test: `FUNCTION INSTRUCTIONS` a line.
const GOLDEN: &str = "instructions.txt";

const HEAD: &str = "\
# What `linkspan attach` of a container with one port takes to decide and to write its messages, in instructions, with
# all that each function calls. The command is the one that tests build. `cargo xtask golden --bless` writes it anew.
";

/// A hundredth part of what is golden that may be more or less: what the compiler and the standard library make of it.
const TOLERANCE: u64 = 10;

/// What decides, and what writes messages; none of them asks the kernel anything.
const PURE: [&str; 5] = [
    "linkspan::attachment::Asked::granted",
    "linkspan::plan::attach",
    "linkspan_nat_rules::kernel::transaction::transaction",
    "linkspan_nat_rules::nftables::plan::remembered",
    "linkspan_veth_bridge::kernel::write::step",
];

/// Where valgrind writes: `/run` is the world's own.
const COUNTS: &str = "/run/instructions";

/// The instructions of each function, with those of what it calls.
///
/// Each line of costs ends with a number: of the function's own, or, after `calls=`, of what it called
/// (<https://valgrind.org/docs/manual/cl-format.html>).
fn inclusive(counts: &str) -> BTreeMap<&str, u64> {
    let mut all = BTreeMap::new();
    let mut function = "";
    for line in counts.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            function = name;
        } else if line.starts_with(|c: char| c.is_ascii_digit()) {
            let cost = line.rsplit(' ').next().and_then(|cost| cost.parse::<u64>().ok());
            *all.entry(function).or_default() += cost.expect("a line of costs ends with a number");
        }
    }
    all
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN)
}

fn read(text: &str) -> BTreeMap<&str, u64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let entry = |line| str::rsplit_once(line, ' ').and_then(|(name, cost)| Some((name, cost.parse().ok()?)));
    lines.map(|line| entry(line).unwrap_or_else(|| panic!("no function and number: {line:?}"))).collect()
}

/// Whether two numbers of instructions differ by no more than the tolerance of the golden one.
const fn is_like(golden: u64, counted: u64) -> bool {
    counted.abs_diff(golden) * 100 <= golden * TOLERANCE
}

#[test]
fn a_function_has_the_instructions_of_what_it_calls() {
    let counts =
        "fl=a.rs\nfn=a::outer\n12 5\ncfn=a::inner\ncalls=2 20\n13 40\n14 1\n\nfn=a::inner\n20 30\n21 10\n";
    let read = inclusive(counts);
    assert_eq!((read["a::outer"], read["a::inner"]), (46, 40));
}

#[test]
fn a_tenth_more_or_less_is_like_the_golden_number() {
    assert!(is_like(1000, 1100) && is_like(1000, 900));
    assert!(!is_like(1000, 1101) && !is_like(1000, 899));
}

#[test]
fn an_attach_takes_the_golden_number_of_instructions_to_plan_and_to_encode() {
    in_private_with(&["valgrind"], || {
        let world = World::new(Case::USUAL);
        world.linkspan("network create web --subnet 10.88.0.0/24").ok();
        tool("ip netns add web");
        let attach = world.command("attach web --netns /run/netns/web --network web -p 8080:80");
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--compress-strings=no", "--compress-pos=no"]);
        valgrind
            .arg(format!("--callgrind-out-file={COUNTS}"))
            .arg(attach.get_program())
            .args(attach.get_args());
        let ran = run(valgrind.env("LINKSPAN_FIREWALL", "nftables"));
        assert_eq!(ran.code(), Some(0), "{ran}");
        let counts = fs::read_to_string(COUNTS).unwrap();
        let counted = inclusive(&counts);
        let counted = PURE.map(|function| (function, counted.get(function).copied().unwrap_or_default()));
        if env::var_os("LINKSPAN_BLESS").is_some() {
            let lines = counted.map(|(function, cost)| format!("{function} {cost}\n"));
            fs::write(golden(), format!("{HEAD}{}", lines.concat())).unwrap();
        }
        let text = fs::read_to_string(golden()).unwrap_or_default();
        let golden = read(&text);
        let differs = |(function, cost): &(&str, u64)| {
            !golden.get(function).is_some_and(|golden| *cost > 0 && is_like(*golden, *cost))
        };
        let differing: Vec<_> = counted.iter().filter(|counted| differs(counted)).collect();
        assert!(differing.is_empty(), "{differing:?} are not as in {golden:?}; bless them if that is meant");
        assert_eq!(golden.len(), PURE.len());
    });
}
