//! The tests that a machine is known not to be able to run, and why: `tests/skips.txt`.

use std::fmt;

use crate::outcome::Skip;

/// Whose rights the tests are run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    Root,
    User,
}

/// Reads the list, for tests that run with these rights.
///
/// One `TEST: REASON` a line; `#` opens a comment; lines below `[root]` or `[user]` hold for these rights alone.
pub(crate) fn parse(text: &str, rights: Rights) -> Result<Vec<Skip>, SyntaxError> {
    let mut section = rights;
    let mut skips = Vec::new();
    for (index, line) in text.lines().map(str::trim).enumerate() {
        match line {
            "[root]" => section = Rights::Root,
            "[user]" => section = Rights::User,
            _ if line.is_empty() || line.starts_with('#') => {}
            _ => {
                let (test, reason) = line.split_once(": ").ok_or(SyntaxError { line: index + 1 })?;
                if section == rights {
                    skips.push(Skip { test: test.to_owned(), reason: reason.to_owned() });
                }
            }
        }
    }
    Ok(skips)
}

/// Leaves out what was skipped for want of one of these programs, which the reason names.
pub(crate) fn without(skipped: &[Skip], programs: &[&str]) -> Vec<Skip> {
    let is_for_want = |skip: &&Skip| programs.iter().any(|program| names(&skip.reason, program));
    skipped.iter().filter(|skip| !is_for_want(skip)).cloned().collect()
}

fn names(reason: &str, program: &str) -> bool {
    reason.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').any(|word| word == program)
}

/// Says where what was skipped is not what is listed.
pub(crate) fn compare(listed: &[Skip], skipped: &[Skip]) -> Vec<Difference> {
    let unlisted = remainder(skipped, listed).into_iter().map(Difference::Unlisted);
    let stale = remainder(listed, skipped).into_iter().map(Difference::DidNotOccur);
    unlisted.chain(stale).collect()
}

/// What is left of `these` when each of `those` has taken its equal away.
fn remainder(these: &[Skip], those: &[Skip]) -> Vec<Skip> {
    let mut left = these.to_vec();
    for skip in those {
        if let Some(at) = left.iter().position(|other| other == skip) {
            left.remove(at);
        }
    }
    left
}

/// One way in which the list does not say what happened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    Unlisted(Skip),
    DidNotOccur(Skip),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlisted(skip) => write!(f, "a skip that tests/skips.txt does not list: {skip}"),
            Self::DidNotOccur(skip) => {
                write!(f, "a skip that tests/skips.txt lists but that did not occur: {skip}")
            }
        }
    }
}

/// A line of the list that is no `TEST: REASON`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    line: usize,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tests/skips.txt:{}: not of the form `TEST: REASON`", self.line)
    }
}

impl std::error::Error for SyntaxError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(test: &str, reason: &str) -> Skip {
        Skip { test: test.to_owned(), reason: reason.to_owned() }
    }

    /// Compares a list with the skips of a run as root; both one line each.
    fn check(listed: &str, skipped: &str, wanted: &[&str]) {
        let listed = parse(listed, Rights::Root).unwrap();
        let skipped = parse(skipped, Rights::Root).unwrap();
        let found: Vec<String> = compare(&listed, &skipped).iter().map(ToString::to_string).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_list_holds_for_everybody_until_a_section_says_for_whom() {
        let text = "# why\n\nnft::lists: no nft: none at all\n[user]\nraw::sends: no raw sockets\n";
        let everybody = skip("nft::lists", "no nft: none at all");
        assert_eq!(parse(text, Rights::Root), Ok(vec![everybody.clone()]));
        assert_eq!(parse(text, Rights::User), Ok(vec![everybody, skip("raw::sends", "no raw sockets")]));
    }

    #[test]
    fn a_line_without_a_reason_is_named() {
        assert_eq!(parse("# one\nnft::lists\n", Rights::Root), Err(SyntaxError { line: 2 }));
    }

    #[test]
    fn the_list_must_equal_what_was_skipped() {
        check("", "", &[]);
        check("a: x\nb: y", "b: y\na: x", &[]);
        check("", "a: x", &["a skip that tests/skips.txt does not list: a: x"]);
        check("a: x", "", &["a skip that tests/skips.txt lists but that did not occur: a: x"]);
    }

    #[test]
    fn a_skip_for_want_of_a_program_needs_no_line() {
        let skipped = [
            skip("a", "`nft` is not installed"),
            skip("b", "no strace, ip here"),
            skip("c", "no bridge netfilter"),
            skip("d", "no ip6tables here"),
        ];
        assert_eq!(without(&skipped, &["ip", "nft"]), skipped[2..]);
        assert_eq!(without(&skipped, &[]), skipped);
    }

    #[test]
    fn another_reason_is_another_skip() {
        let unlisted = "a skip that tests/skips.txt does not list: a: y";
        let stale = "a skip that tests/skips.txt lists but that did not occur: a: x";
        check("a: x", "a: y", &[unlisted, stale]);
    }

    #[test]
    fn tests_of_one_name_in_two_crates_are_listed_twice() {
        check("a: x", "a: x\na: x", &["a skip that tests/skips.txt does not list: a: x"]);
    }
}
