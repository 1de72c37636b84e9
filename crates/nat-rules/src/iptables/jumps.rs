use super::chain::Chain;

/// What makes our jumps in a chain of the kernel those that are wanted, between the rules of others.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rejoined {
    /// Which go: of those that are alike, each call takes the first.
    pub(super) gone: Vec<Chain>,
    /// Which come, each at this place, counted from 1.
    pub(super) come: Vec<(usize, Chain)>,
}

impl Rejoined {
    /// Lets the first jump stay where it is, with those behind it that belong there; without any, they come
    /// first of all rules. Jumps that are there twice all go, since they could be told apart by their places
    /// alone, where by then a rule of others may stand.
    pub(super) fn of(there: &[(usize, Chain)], wanted: &[Chain]) -> Self {
        let once = |chain: Chain| there.iter().filter(|(_, other)| *other == chain).count() == 1;
        let mut stays: Vec<(usize, Chain)> = Vec::new();
        for &(place, chain) in there.iter().filter(|(_, chain)| once(*chain) && wanted.contains(chain)) {
            if stays.last().is_none_or(|(_, before)| is_before(wanted, *before, chain)) {
                stays.push((place, chain));
            }
        }
        let goes: Vec<_> = there.iter().filter(|jump| !stays.contains(jump)).collect();
        let left = |place: usize| place - goes.iter().filter(|(gone, _)| *gone < place).count();
        let mut next = stays.first().map_or(1, |(place, _)| left(*place));
        let mut come = Vec::new();
        for &chain in wanted {
            match stays.iter().find(|(_, other)| *other == chain) {
                Some((place, _)) => next = left(*place) + come.len() + 1,
                None => {
                    come.push((next, chain));
                    next += 1;
                }
            }
        }
        Self { gone: goes.into_iter().map(|(_, chain)| *chain).collect(), come }
    }
}

fn is_before(wanted: &[Chain], a: Chain, b: Chain) -> bool {
    wanted.iter().position(|chain| *chain == a) < wanted.iter().position(|chain| *chain == b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WANTED: [Chain; 2] = [Chain::User, Chain::Forward];

    fn chain(letter: char) -> Option<Chain> {
        match letter {
            'u' => Some(Chain::User),
            'f' => Some(Chain::Forward),
            _ => None,
        }
    }

    fn letter(chain: Chain) -> char {
        if chain == Chain::User { 'u' } else { 'f' }
    }

    fn rejoined(rules: &str) -> Rejoined {
        let there: Vec<_> = (1..).zip(rules.chars()).filter_map(|(n, c)| Some((n, chain(c)?))).collect();
        Rejoined::of(&there, &WANTED)
    }

    /// The chain, `u` and `f` being our jumps, once the commands are carried out.
    fn carried_out(rules: &str, Rejoined { gone, come }: &Rejoined) -> String {
        let mut rules: Vec<char> = rules.chars().collect();
        for chain in gone {
            let first = rules.iter().position(|rule| *rule == letter(*chain)).unwrap();
            rules.remove(first);
        }
        come.iter().for_each(|(place, chain)| rules.insert(place - 1, letter(*chain)));
        rules.into_iter().collect()
    }

    fn check(rules: &str, expected: &str) {
        assert_eq!(carried_out(rules, &rejoined(rules)), expected, "{rules}");
    }

    #[test]
    fn jumps_come_back_where_the_other_one_is_and_else_first() {
        check("", "uf");
        check("ab", "ufab");
        check("ufab", "ufab");
        check("auf", "auf");
        check("uafb", "uafb");
        check("aub", "aufb");
        check("afb", "aufb");
        check("fab", "ufab");
        check("fabu", "ufab");
        check("ufabf", "ufab");
        check("uuff", "uf");
    }

    proptest! {
        #[test]
        fn the_rules_of_others_keep_their_order(rules in "[abcuf]{0,9}") {
            let rejoined = rejoined(&rules);
            let after = carried_out(&rules, &rejoined);
            let others = |rules: &str| rules.replace(['u', 'f'], "");
            prop_assert_eq!(others(&after), others(&rules));
            prop_assert_eq!(after.replace(['a', 'b', 'c'], ""), "uf");
            if rules.replace(['a', 'b', 'c'], "") == "uf" {
                prop_assert_eq!(after, rules);
            }
        }
    }
}
