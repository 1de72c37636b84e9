//! What was asked for on the command line.

use std::fmt;
use std::time::Duration;

use crate::bench::Wish;
use crate::fuzz;
use crate::golden::Mode;
use crate::user::Uid;

pub(crate) const HELP: &str = "\
Usage: cargo xtask NAME

  test [--as UID]   every test of the workspace, doc tests too; skips must equal tests/skips.txt, but for
                    those for want of a program that cannot be installed here
                    --as: compile as root, run the tests as this user
  e2e [FILTER]      the packet-level tests alone
  soak [PART]       the tests that have a longer form, in it, and then every target of fuzz/: takes hours
  soak fuzz [SECONDS]
                    the targets of fuzz/ alone, each for half an hour or as long as is said
  golden [--bless]  compare the rule sets with their golden files; --bless rewrites them
  docs              the documentation, warnings are errors
  bench [SUBJECT].. how fast it is, beside a floor of raw netlink messages and what else is installed; of
                    leases, attach, pooled, process, first, ports, parallel, present, or all of them
                    --json: as one value; --readme: rewrites the README's table and its picture;
                    --brief: ten minutes, others do without crowds
  ci                all that .ci/run does after set-up
  help              this text";

/// One invocation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Help,
    Test { user: Option<Uid> },
    EndToEnd { filter: Option<String> },
    Soak { part: Option<String> },
    Fuzz { time: Duration },
    Golden(Mode),
    Docs,
    Bench(Wish),
    Ci,
}

impl Task {
    /// Reads the arguments that follow the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, UsageError> {
        let arguments: Vec<String> = arguments.into_iter().collect();
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match *words.as_slice() {
            [] | ["help" | "--help" | "-h"] => Ok(Self::Help),
            ["test"] => Ok(Self::Test { user: None }),
            ["test", "--as", user] => match user.parse() {
                Ok(user) => Ok(Self::Test { user: Some(user) }),
                Err(_) => Err(UsageError::NotAUser(user.to_owned())),
            },
            ["e2e"] => Ok(Self::EndToEnd { filter: None }),
            ["e2e", filter] => Ok(Self::EndToEnd { filter: Some(filter.to_owned()) }),
            ["soak"] => Ok(Self::Soak { part: None }),
            ["soak", "fuzz"] => Ok(Self::Fuzz { time: fuzz::USUAL }),
            ["soak", "fuzz", seconds] => match seconds.parse() {
                Ok(seconds) => Ok(Self::Fuzz { time: Duration::from_secs(seconds) }),
                Err(_) => Err(UsageError::NotATime(seconds.to_owned())),
            },
            ["soak", part] => Ok(Self::Soak { part: Some(part.to_owned()) }),
            ["golden"] => Ok(Self::Golden(Mode::Compare)),
            ["golden", "--bless"] => Ok(Self::Golden(Mode::Bless)),
            ["docs"] => Ok(Self::Docs),
            ["bench", ref words @ ..] => {
                Wish::parse(words).map(Self::Bench).ok_or_else(|| UsageError::Unknown(arguments.join(" ")))
            }
            ["ci"] => Ok(Self::Ci),
            _ => Err(UsageError::Unknown(arguments.join(" "))),
        }
    }
}

/// Why the arguments name no task.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum UsageError {
    Unknown(String),
    NotAUser(String),
    NotATime(String),
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(arguments) => write!(f, "there is no task `{arguments}`"),
            Self::NotATime(seconds) => write!(f, "`{seconds}` is not a number of seconds"),
            Self::NotAUser(user) => write!(f, "`{user}` is not the number of an ordinary user"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, wanted: &Result<Task, UsageError>) {
        assert_eq!(&Task::parse(line.split_whitespace().map(str::to_owned)), wanted, "{line}");
    }

    #[test]
    fn every_task_is_read() {
        check("", &Ok(Task::Help));
        check("help", &Ok(Task::Help));
        check("test", &Ok(Task::Test { user: None }));
        check("test --as 1000", &Ok(Task::Test { user: "1000".parse().ok() }));
        check("e2e", &Ok(Task::EndToEnd { filter: None }));
        check("e2e publish", &Ok(Task::EndToEnd { filter: Some("publish".to_owned()) }));
        check("soak", &Ok(Task::Soak { part: None }));
        check("soak model", &Ok(Task::Soak { part: Some("model".to_owned()) }));
        check("soak fuzz", &Ok(Task::Fuzz { time: fuzz::USUAL }));
        check("soak fuzz 60", &Ok(Task::Fuzz { time: Duration::from_secs(60) }));
        check("golden", &Ok(Task::Golden(Mode::Compare)));
        check("golden --bless", &Ok(Task::Golden(Mode::Bless)));
        check("docs", &Ok(Task::Docs));
        check("bench", &Ok(Task::Bench(Wish::default())));
        check("ci", &Ok(Task::Ci));
    }

    #[test]
    fn what_is_no_task_is_refused() {
        check("tset", &Err(UsageError::Unknown("tset".to_owned())));
        check("bench sport", &Err(UsageError::Unknown("bench sport".to_owned())));
        check("docs --open", &Err(UsageError::Unknown("docs --open".to_owned())));
        check("test --as nobody", &Err(UsageError::NotAUser("nobody".to_owned())));
        check("soak fuzz long", &Err(UsageError::NotATime("long".to_owned())));
        check("test --as 0", &Err(UsageError::NotAUser("0".to_owned())));
    }
}
