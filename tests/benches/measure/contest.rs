//! Contestants that take turns, so that whatever else the machine does meets all of them.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::world::Trouble;

/// Who does the same work as the others, and how: one round returns the time of each of its `N` operations.
pub(crate) struct Contestant<'a, const N: usize> {
    who: &'static str,
    every: usize,
    rest: Duration,
    round: Box<dyn FnMut() -> Result<[Duration; N], Trouble> + 'a>,
}

impl<'a, const N: usize> Contestant<'a, N> {
    pub(crate) fn new(who: &'static str, round: impl FnMut() -> Result<[Duration; N], Trouble> + 'a) -> Self {
        Self { who, every: 1, rest: Duration::ZERO, round: Box::new(round) }
    }

    /// Leaves the machine alone for so long after each turn, as one whose remains the kernel removes later.
    pub(crate) fn resting(self, rest: Duration) -> Self {
        Self { rest, ..self }
    }

    /// Takes a turn in every so many rounds only, as one who is much slower than the others.
    pub(crate) fn every(self, every: usize) -> Self {
        Self { every, ..self }
    }
}

/// The times of one contestant at one operation.
#[derive(Debug)]
pub(crate) struct Times {
    pub(crate) who: &'static str,
    pub(crate) times: Vec<Duration>,
}

/// Lets all have as many rounds, each time another one first; the times of an operation are in the order of the
/// contestants. A round before the first warms up and does not count.
pub(crate) fn interleave<const N: usize>(
    rounds: usize,
    mut contestants: Vec<Contestant<'_, N>>,
) -> Result<[Vec<Times>; N], Trouble> {
    let empty = |who: &Contestant<'_, N>| Times { who: who.who, times: Vec::with_capacity(rounds) };
    let mut operations: [Vec<Times>; N] = std::array::from_fn(|_| contestants.iter().map(empty).collect());
    let number = contestants.len();
    for round in 0..=rounds {
        for turn in 0..number {
            let place = (round + turn) % number;
            if !round.is_multiple_of(contestants[place].every) {
                continue;
            }
            let times = (contestants[place].round)()?;
            sleep(contestants[place].rest);
            if round > 0 {
                operations.iter_mut().zip(times).for_each(|(all, time)| all[place].times.push(time));
            }
        }
    }
    Ok(operations)
}

/// How long the work takes.
pub(crate) fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(Duration, T), E> {
    let start = Instant::now();
    let done = work()?;
    Ok((start.elapsed(), done))
}
