//! What a command says, and whether another answer may be given in its place.

use crate::program::Ran;
use crate::snapshot::likeness_of;

/// The lines of an answer, each as often as it is there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// In one order: iptables has networks in that of their ids, which are others each time.
    pub(crate) lines: Vec<String>,
    notices: Vec<String>,
}

impl Answer {
    pub(crate) fn of(ran: &Ran) -> Self {
        Self { lines: sorted(&ran.out), notices: sorted(&ran.err) }
    }

    /// Whether the other one may be given where this is the untroubled one. What could not be seen may be missing, if
    /// that is told in a line that this one has not; beside such lines, there is nothing that this one has not.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let more = beyond(&other.lines, &self.lines);
        let is_told = !more.is_empty() || !beyond(&other.notices, &self.notices).is_empty();
        let lacks = !beyond(&self.lines, &other.lines).is_empty();
        more.iter().all(|line| is_excuse(line)) && (is_told || !lacks)
    }
}

/// Whether a line says that something could not be seen.
fn is_excuse(line: &str) -> bool {
    !line.starts_with("remove ") && ["cannot ", "note: "].iter().any(|word| line.contains(word))
}

/// The lines of the one that are not in the other, or not as often.
fn beyond<'a>(lines: &'a [String], known: &[String]) -> Vec<&'a String> {
    let mut known: Vec<_> = known.iter().collect();
    let is_more = |line: &&String| match known.iter().position(|there| there == line) {
        Some(at) => {
            known.swap_remove(at);
            false
        }
        None => true,
    };
    lines.iter().filter(is_more).collect()
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = likeness_of(text).into_iter().map(without_place).collect();
    lines.sort();
    lines
}

/// A rule of iptables that is inserted, as if it were appended.
fn without_place(line: String) -> String {
    match line.split_once(" -I ") {
        Some((table, rest)) => {
            let words =
                rest.split(' ').enumerate().filter(|(nth, word)| *nth != 1 || word.parse::<u32>().is_err());
            format!("{table} -A {}", words.map(|(_, word)| word).collect::<Vec<_>>().join(" "))
        }
        None => line,
    }
}

#[test]
fn an_answer_lacks_something_only_where_it_says_so_in_a_line_of_its_own() {
    let said = |out: &str, err: &str| Answer { lines: sorted(out), notices: sorted(err) };
    let untroubled = said("a\nb\nb\nremove c, which cannot be read\n", "linkspan: an old notice\n");
    let check = |out: &str, err: &str, expected| {
        assert_eq!(untroubled.covers(&said(out, err)), expected, "{out:?} {err:?}");
    };
    let told = "remove c, which cannot be read\n";
    check(&format!("b\na\nb\n{told}"), "", true);
    check(&format!("a\nb\n{told}"), "", false);
    check(&format!("a\nb\n{told}"), "linkspan: an old notice\n", false);
    check(&format!("a\nb\n{told}"), "linkspan: cannot read d\n", true);
    check(&format!("a\nb\n{told}note: d is not known\n"), "", true);
    check(&format!("a\nb\n{told}{told}"), "", false);
    check("", "", false);
    check(&format!("a\nb\nb\ne\n{told}"), "linkspan: cannot read d\n", false);
}
