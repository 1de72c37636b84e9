//! 65,536 bits, of which the lowest clear one is found at once.

/// A bit for each of 65,536 numbers. It takes 168 bytes, and 8 more for each 64 numbers up to the highest that was
/// ever set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    words: Vec<u64>,
    /// A bit for each word that has no clear bit.
    full: [u64; 16],
    /// A bit for each of those sixteen that has no clear bit.
    full_groups: u32,
    /// How many bits are set.
    count: u32,
}

impl Page {
    pub(crate) fn contains(&self, number: u16) -> bool {
        let (word, bit) = place(number);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Sets a bit and says whether it was clear.
    pub(crate) fn insert(&mut self, number: u16) -> bool {
        let (index, bit) = place(number);
        if self.words.len() <= index {
            self.words.resize(index + 1, 0);
        }
        let word = &mut self.words[index];
        let was_clear = *word & bit == 0;
        self.count += u32::from(was_clear);
        *word |= bit;
        if *word == u64::MAX {
            self.fill(index);
        }
        was_clear
    }

    /// Clears a bit and says whether it was set.
    pub(crate) fn remove(&mut self, number: u16) -> bool {
        let (index, bit) = place(number);
        let Some(word) = self.words.get_mut(index) else { return false };
        let was_set = *word & bit != 0;
        self.count -= u32::from(was_set);
        *word &= !bit;
        self.full[index / 64] &= !(1 << (index % 64));
        self.full_groups &= !(1 << (index / 64));
        was_set
    }

    /// Says whether no bit is set.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the lowest number from this one on whose bit is clear.
    pub(crate) fn lowest_clear(&self, from: u16) -> Option<u16> {
        let index = usize::from(from) / 64;
        let clear = !self.word(index) & (u64::MAX << (from % 64));
        if clear != 0 {
            return number(index, clear);
        }
        let index = self.lowest_not_full(index + 1)?;
        number(index, !self.word(index))
    }

    /// Returns the first word from this one on that has a clear bit.
    fn lowest_not_full(&self, from: usize) -> Option<usize> {
        let group = from / 64;
        let open = !self.full.get(group)? & (u64::MAX << (from % 64));
        if open != 0 {
            return Some(group * 64 + open.trailing_zeros() as usize);
        }
        let later = !self.full_groups & (u32::MAX << (group + 1));
        let group = later.trailing_zeros() as usize;
        Some(group * 64 + self.full.get(group)?.trailing_ones() as usize)
    }

    fn fill(&mut self, index: usize) {
        let group = &mut self.full[index / 64];
        *group |= 1 << (index % 64);
        if *group == u64::MAX {
            self.full_groups |= 1 << (index / 64);
        }
    }

    fn word(&self, index: usize) -> u64 {
        self.words.get(index).copied().unwrap_or(0)
    }
}

/// Returns the index of the number's word, and its bit in it.
fn place(number: u16) -> (usize, u64) {
    (usize::from(number) / 64, 1 << (number % 64))
}

/// Returns the number of a word's lowest bit.
fn number(index: usize, word: u64) -> Option<u16> {
    u16::try_from(index * 64 + word.trailing_zeros() as usize).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::{any, prop, proptest};

    use super::Page;

    #[test]
    fn a_page_fills_up_from_its_lowest_number_to_its_highest() {
        let mut page = Page::default();
        for number in 0..=u16::MAX {
            assert_eq!(page.lowest_clear(0), Some(number));
            assert!(page.insert(number));
        }
        assert_eq!(page.lowest_clear(0), None);
        assert!(page.remove(40_000) && !page.remove(40_000));
        assert_eq!((page.lowest_clear(0), page.lowest_clear(40_001)), (Some(40_000), None));
    }

    proptest! {
        #[test]
        fn a_page_is_a_set(changes in prop::collection::vec((any::<bool>(), 0..300_u16), 0..600), from in 0..300_u16) {
            let (mut page, mut set) = (Page::default(), BTreeSet::new());
            for (insert, number) in changes {
                if insert {
                    assert_eq!(page.insert(number), set.insert(number));
                } else {
                    assert_eq!(page.remove(number), set.remove(&number));
                }
            }
            assert_eq!(page.lowest_clear(from), (from..=u16::MAX).find(|number| !set.contains(number)));
            assert!((0..=301).all(|number| page.contains(number) == set.contains(&number)));
            assert_eq!(page.is_empty(), set.is_empty());
        }
    }
}
