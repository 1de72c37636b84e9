//! What came of a task.

use std::fmt;
use std::ops::AddAssign;

/// A test that said it could not be run here, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Skip {
    pub(crate) test: String,
    pub(crate) reason: String,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.test, self.reason)
    }
}

/// Counts of tests and of the steps around them, which count as one test each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) passed: usize,
    pub(crate) failed: Vec<String>,
    /// How many tests were skipped; one test may give several reasons.
    pub(crate) skipped: usize,
    pub(crate) skips: Vec<Skip>,
}

impl Outcome {
    /// One step that passed.
    pub(crate) fn passed() -> Self {
        Self { passed: 1, ..Self::default() }
    }

    /// One step that failed, and how.
    pub(crate) fn failed(what: String) -> Self {
        Self { failed: vec![what], ..Self::default() }
    }

    /// Whether nothing failed.
    pub(crate) fn succeeded(&self) -> bool {
        self.failed.is_empty()
    }

    /// How many tests and steps there were.
    pub(crate) fn total(&self) -> usize {
        self.passed + self.failed.len() + self.skipped
    }

    /// One line for each skip and each failure, to stand above the summary.
    pub(crate) fn details(&self) -> String {
        let skips = self.skips.iter().map(|skip| format!("skipped {skip}\n"));
        let failures = self.failed.iter().map(|failure| format!("FAILED {failure}\n"));
        skips.chain(failures).collect()
    }
}

/// The summary line.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed.len(), self.skipped)
    }
}

impl AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped += other.skipped;
        self.skips.extend(other.skips);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_what_the_details_name() {
        let skip = Skip { test: "nft::lists".to_owned(), reason: "no nft".to_owned() };
        let mut outcome = Outcome { passed: 3, skipped: 1, skips: vec![skip], ..Outcome::default() };
        outcome += Outcome::failed("clippy".to_owned());
        outcome += Outcome::passed();
        assert_eq!(outcome.to_string(), "4 passed, 1 failed, 1 skipped");
        assert_eq!(outcome.details(), "skipped nft::lists: no nft\nFAILED clippy\n");
        assert_eq!(outcome.total(), 6);
        assert!(!outcome.succeeded());
    }
}
