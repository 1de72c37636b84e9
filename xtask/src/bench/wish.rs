//! What is to be measured, and how it is told.

use std::fmt;
use std::str::FromStr;

/// What can be measured, in the order in which it is: what leaves the kernel much to remove comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Leases,
    Attach,
    Pooled,
    Process,
    First,
    Ports,
    Parallel,
    Present,
}

impl Subject {
    const ALL: [Self; 8] = [
        Self::Leases,
        Self::Attach,
        Self::Pooled,
        Self::Process,
        Self::First,
        Self::Ports,
        Self::Parallel,
        Self::Present,
    ];

    /// Its word, on the command line and for the measuring program.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Leases => "leases",
            Self::Attach => "attach",
            Self::Pooled => "pooled",
            Self::Process => "process",
            Self::First => "first",
            Self::Ports => "ports",
            Self::Parallel => "parallel",
            Self::Present => "present",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Subject {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|subject| subject.as_str() == text).ok_or(())
    }
}

/// How it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Output {
    #[default]
    Text,
    Json,
    /// The table of the README and the picture in it are rewritten.
    Readme,
}

/// How long it may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Length {
    #[default]
    Whole,
    /// Ten minutes: others, who are slow, do not attach hundreds of containers first.
    Brief,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    subjects: Vec<Subject>,
    pub(super) output: Output,
    pub(super) length: Length,
}

impl Wish {
    /// Reads the words behind `bench`; `None` where one of them is unknown.
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        let mut wish = Self::default();
        for word in words {
            match *word {
                "--json" => wish.output = Output::Json,
                "--readme" => wish.output = Output::Readme,
                "--brief" => wish.length = Length::Brief,
                subject => wish.subjects.push(subject.parse().ok()?),
            }
        }
        Some(wish)
    }

    /// All, where none is named.
    pub(super) fn subjects(&self) -> impl Iterator<Item = Subject> {
        let subjects: &[_] = if self.subjects.is_empty() { &Subject::ALL } else { &self.subjects };
        subjects.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_measured_where_nothing_is_named() {
        assert_eq!(Wish::parse(&[]).unwrap().subjects().count(), Subject::ALL.len());
        assert_eq!(Wish::parse(&["--brief"]).unwrap().length, Length::Brief);
        let wish = Wish::parse(&["ports", "--json", "leases"]).unwrap();
        assert_eq!(wish.subjects().collect::<Vec<_>>(), [Subject::Ports, Subject::Leases]);
        assert_eq!(wish.output, Output::Json);
        assert_eq!(Wish::parse(&["--svg"]), None);
    }
}
