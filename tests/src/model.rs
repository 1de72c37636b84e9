//! Random sequences of everything that can happen to a host, against a model on paper: after each step, what is to be
//! seen of the host is what the model says.
//!
//! `paper` is the model, which knows nothing of how linkspan works, and `facts` is what it means for the eye; `step`
//! is what can happen, and `drawn` how it is drawn. `hand` takes the steps on a real host, `others` break it, `seen`
//! looks at it with the tools of others, `ways` sends packets. A command that is killed leaves one of the hosts that
//! `between` lists.
//!
//! `LINKSPAN_SEQUENCES=NUMBER` draws that many sequences instead of the usual ones, with seeds from
//! `LINKSPAN_SEED=NUMBER` on.

mod between;
mod drawn;
mod facts;
mod hand;
mod known;
mod others;
mod paper;
mod seen;
mod step;
mod ways;

use crate::length::{first_seed, length, number};
use crate::private::in_private_with;
use crate::world::Case;
use drawn::Drawn;
use hand::Hand;
use known::KNOWN;
use paper::Paper;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use step::Step;

const PROGRAMS: &[&str] = &["ip", "nft", "strace"];
/// How many sequences are drawn in a usual run, and in a long one.
const USUAL: (u64, u64) = (24, 600);
/// How many steps a sequence has.
const STEPS: RangeInclusive<usize> = 8..=15;
/// How many hosts there are at once: they wait for the kernel most of the time.
const AT_ONCE: usize = 6;
/// How often a sequence that went wrong is tried with fewer steps.
const SHRINKS: u32 = 120;
/// For how many milliseconds at most, lest one that goes wrong takes hours on a slow machine.
const SHRINK_TIME: u32 = 300_000;

/// A real host beside the one on paper.
#[derive(Debug)]
struct Beside;

impl StateMachineTest for Beside {
    type SystemUnderTest = Hand;
    type Reference = Drawn;

    fn init_test(paper: &Paper) -> Hand {
        Hand::on(paper)
    }

    /// What a killed command left is not known before, so the hand has paper of its own.
    fn apply(mut hand: Hand, _: &Paper, step: Step) -> Hand {
        hand.take(step);
        hand
    }

    fn teardown(hand: Hand, _: Paper) {
        hand.leave();
    }
}

#[test]
fn whatever_happens_the_host_is_as_the_model_says() {
    in_private_with(PROGRAMS, || {
        let count = number("LINKSPAN_SEQUENCES").unwrap_or_else(|| length(USUAL.0, USUAL.1));
        let first = first_seed(count);
        let seeds: Vec<_> = (first..first + count).collect();
        let found = each(&seeds, |seed| {
            let again = |wrong| format!("LINKSPAN_SEED={seed} LINKSPAN_SEQUENCES=1: {wrong}");
            drawn(*seed).map_err(again)
        });
        assert!(found.is_empty(), "{} of {count} sequences went wrong:\n{}", found.len(), found.join("\n\n"));
    });
}

#[test]
fn what_went_wrong_once_is_as_the_model_says() {
    in_private_with(PROGRAMS, || {
        let of = |steps: &&'static [Step]| {
            let steps = *steps;
            Case::possible().into_iter().map(move |case| (case, steps))
        };
        let known: Vec<_> = KNOWN.iter().flat_map(of).collect();
        let found = each(&known, |(case, steps)| apart(Paper::new(*case), steps.to_vec(), None));
        assert!(found.is_empty(), "{}", found.join("\n\n"));
    });
}

/// Does something with each of these, several at once, and returns what went wrong.
fn each<T: Sync>(all: &[T], act: impl Fn(&T) -> Result<(), String> + Sync) -> Vec<String> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let wrong = act(one).err();
            wrong.iter().for_each(|wrong| println!("{wrong}"));
            found.lock().unwrap().extend(wrong);
        }
    };
    thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    found.into_inner().unwrap()
}

/// Draws a sequence and takes its steps; one that goes wrong is made as short as it can be.
fn drawn(seed: u64) -> Result<(), String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: 1,
        max_shrink_iters: SHRINKS,
        max_shrink_time: SHRINK_TIME,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let ran = runner.run(&Drawn::sequential_strategy(STEPS), |(paper, steps, reached)| {
        apart(paper, steps, reached).map_err(TestCaseError::fail)
    });
    ran.map_err(|wrong| match wrong {
        TestError::Fail(why, (paper, steps, _)) => format!("{}\n{steps:?}\n{why}", paper.case),
        TestError::Abort(why) => why.to_string(),
    })
}

/// Takes steps on a thread that ends with the host that it moves to.
fn apart(paper: Paper, steps: Vec<Step>, reached: Option<Arc<AtomicUsize>>) -> Result<(), String> {
    let take = move || Beside::test_sequential(Config::default(), paper, steps, reached);
    thread::spawn(take).join().map_err(|panic| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(_) => "it ended without a word".to_owned(),
    })
}
