//! Reads what `cargo test -- --show-output` prints.
//!
//! The output of a test is hidden if it passed and shown if it failed. A kernel test runs itself once more inside
//! private namespaces and passes on that run's output, which looks like a transcript too: so verdicts are read only
//! as many as the test binary announced, and after them only what the tests printed.

use crate::outcome::{Outcome, Skip};

/// What to do with a line on the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    Line,
    Nothing,
}

/// A transcript, read line by line.
#[derive(Debug)]
pub(crate) struct Transcript {
    section: Section,
    doc_tests: bool,
    passed: Vec<String>,
    failed: Vec<String>,
    ignored: usize,
    skips: Vec<Skip>,
    without_verdict: usize,
    outcome: Outcome,
}

#[derive(Debug, PartialEq, Eq)]
enum Section {
    /// What cargo says itself, or a test binary before its tests.
    Cargo,
    /// The verdicts, one line each.
    Verdicts { left: usize },
    /// What passed tests printed.
    Successes { of: Option<String> },
    /// What failed tests printed.
    Failures,
}

enum Verdict<'a> {
    Passed,
    Failed,
    Ignored { reason: &'a str },
}

impl Transcript {
    pub(crate) fn new() -> Self {
        Self {
            section: Section::Cargo,
            doc_tests: false,
            passed: Vec::new(),
            failed: Vec::new(),
            ignored: 0,
            skips: Vec::new(),
            without_verdict: 0,
            outcome: Outcome::default(),
        }
    }

    /// Takes the next line.
    pub(crate) fn read(&mut self, line: &str) -> Show {
        if let Some(doc_tests) = heading(line) {
            self.end_binary();
            self.doc_tests = doc_tests;
            return Show::Line;
        }
        match &mut self.section {
            Section::Cargo => self.read_announcement(line),
            Section::Verdicts { .. } => self.read_verdict(line),
            Section::Successes { .. } => self.read_success(line),
            Section::Failures => Show::Line,
        }
    }

    /// Counts it all, given whether cargo itself ended well.
    pub(crate) fn end(mut self, cargo_succeeded: bool) -> Outcome {
        self.end_binary();
        match (cargo_succeeded, self.without_verdict) {
            // A child process wrote into the line of a verdict; that all is well cargo has said.
            (true, lost) => self.outcome.passed += lost,
            (false, 0) if !self.outcome.succeeded() => {}
            (false, 0) => self.outcome.failed.push("cargo test, before or after the tests".to_owned()),
            (false, lost) => self.outcome.failed.push(format!("{lost} tests that did not come to an end")),
        }
        self.outcome
    }

    fn read_announcement(&mut self, line: &str) -> Show {
        match announced(line) {
            // A binary without tests goes on as one whose tests all had their verdict.
            Some(0) => self.section = Section::Successes { of: None },
            Some(left) => self.section = Section::Verdicts { left },
            None if line.is_empty() => {}
            None => return Show::Line,
        }
        Show::Nothing
    }

    fn read_verdict(&mut self, line: &str) -> Show {
        let Some((test, verdict)) = verdict(line) else {
            return self.leave_verdicts(line);
        };
        if let Section::Verdicts { left } = &mut self.section {
            *left -= 1;
            if *left == 0 {
                self.section = Section::Successes { of: None };
            }
        }
        match verdict {
            Verdict::Passed => self.passed.push(test.to_owned()),
            Verdict::Failed => {
                self.failed.push(test.to_owned());
                return Show::Line;
            }
            Verdict::Ignored { reason } => {
                self.ignored += 1;
                self.skips.push(Skip { test: test.to_owned(), reason: reason.to_owned() });
            }
        }
        Show::Nothing
    }

    fn leave_verdicts(&mut self, line: &str) -> Show {
        if line == "successes:" || line == "failures:" {
            if let Section::Verdicts { left } = self.section {
                self.without_verdict += left;
            }
            self.section = Section::Successes { of: None };
            return self.read_success(line);
        }
        if line.is_empty() { Show::Nothing } else { Show::Line }
    }

    fn read_success(&mut self, line: &str) -> Show {
        if line == "failures:" {
            self.section = Section::Failures;
            return Show::Line;
        }
        if self.doc_tests && announced(line).is_some() {
            self.section = Section::Cargo;
            return self.read_announcement(line);
        }
        if let Some(test) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.section = Section::Successes { of: Some(test.to_owned()) };
        } else if let (Section::Successes { of: Some(test) }, Some(reason)) =
            (&self.section, skip_reason(line))
        {
            let skip = Skip { test: test.clone(), reason: reason.to_owned() };
            if !self.skips.contains(&skip) {
                self.skips.push(skip);
            }
        }
        Show::Nothing
    }

    fn end_binary(&mut self) {
        if let Section::Verdicts { left } = self.section {
            self.without_verdict += left;
        }
        self.section = Section::Cargo;
        let tests = std::mem::take(&mut self.passed);
        let skips = std::mem::take(&mut self.skips);
        let skipped = tests.iter().filter(|test| skips.iter().any(|skip| names(&skip.test, test))).count();
        self.outcome += Outcome {
            passed: tests.len() - skipped,
            failed: std::mem::take(&mut self.failed),
            skipped: skipped + std::mem::take(&mut self.ignored),
            skips,
        };
    }
}

/// Whether a heading of cargo opens doc tests; `None` if the line is no heading.
fn heading(line: &str) -> Option<bool> {
    if line.starts_with("   Doc-tests ") {
        return Some(true);
    }
    line.starts_with("     Running ").then_some(false)
}

/// How many tests follow `running N tests`.
fn announced(line: &str) -> Option<usize> {
    let (count, noun) = line.strip_prefix("running ")?.split_once(' ')?;
    if noun == "test" || noun == "tests" { count.parse().ok() } else { None }
}

fn verdict(line: &str) -> Option<(&str, Verdict<'_>)> {
    let (test, verdict) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let verdict = match verdict {
        "ok" => Verdict::Passed,
        "FAILED" => Verdict::Failed,
        "ignored" => Verdict::Ignored { reason: "ignored" },
        _ => Verdict::Ignored { reason: verdict.strip_prefix("ignored, ")? },
    };
    Some((test, verdict))
}

/// The reason in `skipped: REASON`, also where the test's own line, not yet ended, stands before it.
fn skip_reason(line: &str) -> Option<&str> {
    let said =
        line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")).map_or(line, |(_, said)| said);
    said.strip_prefix("skipped: ")
}

/// Whether the header's name is that of the verdict, which also says what kind of test it is.
fn names(header: &str, verdict: &str) -> bool {
    verdict.strip_prefix(header).is_some_and(|rest| rest.is_empty() || rest.starts_with(" - "))
}

#[cfg(test)]
mod tests;
