use std::collections::{BTreeMap, VecDeque};

/// What makes the rules of a chain those that are wanted.
pub(super) struct Difference<'a> {
    /// Which rules go.
    pub(super) gone: Vec<&'a str>,
    /// Which come, each behind this many others, in their order.
    pub(super) come: Vec<(usize, &'a str)>,
    /// How many stay, in their order.
    pub(super) kept: usize,
}

impl<'a> Difference<'a> {
    /// Keeps what is in the same order on both sides.
    pub(super) fn between(there: &'a [String], wanted: &'a [String]) -> Self {
        let mut places: BTreeMap<&str, VecDeque<usize>> = BTreeMap::new();
        for (place, rule) in wanted.iter().enumerate() {
            places.entry(rule).or_default().push_back(place);
        }
        let both = there.iter().enumerate();
        let both = both.filter_map(|(i, rule)| Some((i, places.get_mut(rule.as_str())?.pop_front()?)));
        let kept = rising(&both.collect::<Vec<_>>());
        let (stays, comes): (Vec<_>, Vec<_>) = (marks(there, &kept, |k| k.0), marks(wanted, &kept, |k| k.1));
        let rest = |rules: &'a [String], kept: Vec<bool>| {
            let rules = rules.iter().map(String::as_str).enumerate().zip(kept);
            rules.filter(|(_, kept)| !kept).map(|(rule, _)| rule).collect::<Vec<_>>()
        };
        let gone = rest(there, stays).into_iter().map(|(_, rule)| rule).collect();
        Self { gone, come: rest(wanted, comes), kept: kept.len() }
    }

    /// The commands that make it, without those that go before the name of the chain.
    pub(super) fn commands(&self, chain: &str) -> Vec<String> {
        let gone = self.gone.iter().map(|rule| format!("-D {chain} {rule}"));
        let come = self.come.iter().zip(self.kept..).map(|(&(place, rule), length)| match place == length {
            true => format!("-A {chain} {rule}"),
            false => format!("-I {chain} {} {rule}", place + 1),
        });
        gone.chain(come).collect()
    }
}

/// For each rule, whether it is among those that are kept.
fn marks(rules: &[String], kept: &[(usize, usize)], side: fn(&(usize, usize)) -> usize) -> Vec<bool> {
    let mut marks = vec![false; rules.len()];
    kept.iter().map(side).for_each(|place| marks[place] = true);
    marks
}

/// The longest list of pairs, already rising by their first, that rises by their second too.
fn rising(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // For each length the pair with the least end of a list of that length, and for each pair the one before.
    let mut ends: Vec<usize> = Vec::new();
    let mut before = vec![None; pairs.len()];
    for (i, pair) in pairs.iter().enumerate() {
        let length = ends.partition_point(|&end| pairs[end].1 < pair.1);
        before[i] = length.checked_sub(1).map(|shorter| ends[shorter]);
        match ends.get_mut(length) {
            Some(end) => *end = i,
            None => ends.push(i),
        }
    }
    let mut kept: Vec<_> = std::iter::successors(ends.last().copied(), |&i| before[i]).collect();
    kept.reverse();
    kept.into_iter().map(|i| pairs[i]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(text: &str) -> Vec<String> {
        text.chars().map(|rule| rule.to_string()).collect()
    }

    fn check(there: &str, wanted: &str, expected: &[&str]) {
        let (there, wanted) = (rules(there), rules(wanted));
        assert_eq!(Difference::between(&there, &wanted).commands("X"), expected);
    }

    #[test]
    fn only_the_difference_is_named() {
        check("abc", "abc", &[]);
        check("abXc", "abc", &["-D X X"]);
        check("ac", "abc", &["-I X 2 b"]);
        check("ab", "abcd", &["-A X c", "-A X d"]);
        check("", "ab", &["-A X a", "-A X b"]);
        check("cab", "abc", &["-D X c", "-A X c"]);
        check("aXbYc", "abZc", &["-D X X", "-D X Y", "-I X 3 Z"]);
    }

    proptest! {
        #[test]
        fn what_goes_and_comes_makes_the_wanted_of_what_is_there(there in "[a-e]{0,9}", wanted in "[a-e]{0,9}") {
            let (there, wanted) = (rules(&there), rules(&wanted));
            let Difference { gone, come, kept } = Difference::between(&there, &wanted);
            prop_assert_eq!(gone.len() + kept, there.len());
            prop_assert_eq!(come.len() + kept, wanted.len());
            let mut left: Vec<_> = wanted.iter().map(String::as_str).collect();
            for &(place, rule) in come.iter().rev() {
                prop_assert_eq!(left.remove(place), rule);
            }
            // What stays is in the order in which it was there.
            let mut seen = there.iter();
            prop_assert!(left.iter().all(|rule| seen.any(|other| other == rule)));
        }
    }
}
