//! What many times come to.

use std::time::Duration;

/// Two numbers that a busy machine disturbs little: the time that half of the rounds kept to, and a tenth of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) median: Duration,
    pub(super) p10: Duration,
}

impl Summary {
    /// `None` of no time at all.
    pub(super) fn of(times: &[Duration]) -> Option<Self> {
        let mut times = times.to_vec();
        times.sort_unstable();
        let at = |place: usize| times.get(place).copied();
        Some(Self { median: at(times.len() / 2)?, p10: at(times.len() / 10)? })
    }

    /// How many times as long as the other, at the median and at p10.
    pub(super) fn over(self, other: Self) -> [f64; 2] {
        [(self.median, other.median), (self.p10, other.p10)].map(|(a, b)| a.div_duration_f64(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(numbers: impl IntoIterator<Item = u64>) -> Option<Summary> {
        Summary::of(&numbers.into_iter().map(Duration::from_nanos).collect::<Vec<_>>())
    }

    #[test]
    fn a_few_slow_rounds_change_little() {
        let summary = times((1..=19).rev().chain([1_000_000])).unwrap();
        assert_eq!([summary.median, summary.p10].map(|time| time.as_nanos()), [11, 3]);
        assert_eq!(times([]), None);
        assert_eq!(times([7]).unwrap().p10, Duration::from_nanos(7));
    }

    #[test]
    fn a_ratio_is_of_two_medians_and_of_two_tenths() {
        let (slow, fast) = (times([30, 40, 50]).unwrap(), times([10, 10, 10]).unwrap());
        assert_eq!(slow.over(fast), [4.0, 3.0]);
    }
}
