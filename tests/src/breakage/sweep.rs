//! Every operation, broken at every system call in every way.

use super::judge::Bench;
use super::operations::{OPERATIONS, Operation};
use super::ways::Way;
use crate::length::{first_seed, length, number};
use crate::strace::Fault;
use linkspan::Firewall;
use std::env;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::thread;

/// How many worlds are at work at once: they wait for the kernel most of the time.
const WORKERS: usize = 4;

/// One of so many faults is tried, in the short form and in the long one; `LINKSPAN_STRIDE` says otherwise.
const STRIDE: (u64, u64) = (300, 8);

/// One of so many operations is taken at all, in the short form and in the long one.
const OPERATIONS_OF: (u64, u64) = (5, 1);

/// Part of the faults of one operation.
#[derive(Clone, Copy)]
struct Share {
    operation: &'static Operation,
    part: usize,
    of: usize,
}

/// Which faults are tried: one of so many. With as many seeds in a row each is tried once.
#[derive(Clone, Copy)]
struct Chance {
    seed: u64,
    stride: u64,
}

/// What came of faults.
#[derive(Default)]
struct Tally {
    broken: usize,
    wrong: Vec<String>,
}

/// Breaks all operations with one firewall, and says what went wrong.
#[track_caller]
pub(super) fn sweep(firewall: Firewall) {
    let chance = Chance {
        seed: first_seed(1),
        stride: number("LINKSPAN_STRIDE").unwrap_or_else(|| length(STRIDE.0, STRIDE.1)).max(1),
    };
    let wanted = env::var("LINKSPAN_OPERATION").unwrap_or_default();
    let taken = |operation: &&Operation| {
        let nth = number_of((operation.name, firewall.to_string()));
        operation.name.contains(&wanted) && chance.takes(nth, length(OPERATIONS_OF.0, OPERATIONS_OF.1))
    };
    let operations = OPERATIONS.iter().filter(taken);
    let shares: Vec<_> = operations.flat_map(shares).collect();
    let next = Mutex::new(shares.iter());
    let tally = Mutex::new(Tally::default());
    let work = || {
        while let Some(share) = { next.lock().unwrap().next() } {
            // A world is a thread's, and none is made in another.
            let ended = thread::scope(|scope| scope.spawn(|| share.sweep(firewall, chance, &tally)).join());
            if ended.is_err() {
                tally.lock().unwrap().wrong.push(format!("{}: the test panicked", share.operation.name));
            }
        }
    };
    thread::scope(|scope| (0..WORKERS).for_each(|_| drop(scope.spawn(work))));
    let Tally { broken, wrong } = tally.into_inner().unwrap();
    let Chance { seed, stride } = chance;
    println!("{broken} system calls broken with {firewall}: LINKSPAN_SEED={seed} LINKSPAN_STRIDE={stride}");
    assert!(broken > 0, "nothing was broken");
    assert!(wrong.is_empty(), "{} of {broken} went wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// A number that looks like any other and is the same for the same thing.
fn number_of(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

fn shares(operation: &'static Operation) -> impl Iterator<Item = Share> {
    let of = length(1, 4);
    (0..of).map(move |part| Share { operation, part, of })
}

impl Chance {
    /// Whether the seed is the turn of this one, of those that take turns.
    fn takes(self, nth: u64, of: u64) -> bool {
        nth % of == self.seed % of
    }
}

impl Share {
    fn sweep(self, firewall: Firewall, chance: Chance, tally: &Mutex<Tally>) {
        let mut bench = None;
        let wrong = |wrong: String| {
            println!("{wrong}");
            tally.lock().unwrap().wrong.push(wrong);
        };
        let tried = |way: &Way| way.is_told_with(firewall) && way.is_of(self.operation.line);
        for way in self.ways().filter(tried) {
            for nth in 1.. {
                // A world is left before another one is entered.
                let ready = match bench.take() {
                    Some(ready) => Ok(ready),
                    None => Bench::new(self.operation, firewall),
                };
                let mut ready = match ready {
                    Ok(ready) => ready,
                    Err(refused) => return wrong(format!("{}: {refused}", self.operation.name)),
                };
                // Where the command goes on another way, a fault can be reached that is not in a plain run.
                let last = ready.calls.get(way.call).copied().unwrap_or_default();
                if nth > last && (last == 0 || chance.stride > 1) {
                    bench = Some(ready);
                    break;
                }
                if !self.is_chosen(way, nth, firewall, chance) {
                    bench = Some(ready);
                    continue;
                }
                let fault = Fault { call: way.call, effect: way.effect, nth, lasting: way.lasting };
                let done = ready.one(fault);
                tally.lock().unwrap().broken += usize::from(!matches!(done, Ok(false)));
                match done {
                    Ok(hit) => {
                        bench = Some(ready);
                        if !hit {
                            break;
                        }
                    }
                    Err(refused) => wrong(refused),
                }
            }
        }
    }

    fn ways(self) -> impl Iterator<Item = Way> {
        Way::all().into_iter().skip(self.part).step_by(self.of)
    }

    fn is_chosen(self, way: Way, nth: usize, firewall: Firewall, chance: Chance) -> bool {
        chance.takes(number_of((self.operation.name, way, nth, firewall.to_string())), chance.stride)
    }
}
