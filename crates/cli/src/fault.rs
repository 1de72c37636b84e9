//! What ends a command before its answer: one line, and an exit status.

use linkspan::{Error, Host, Left, Residue, lab};
use std::ffi::OsString;
use std::fmt;
use std::io;

/// Why a command did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{0}; see `linkspan help`")]
    Usage(String),
    #[error(transparent)]
    Refused(#[from] Error),
    /// Several things were told, and these were refused.
    #[error("{}", .0.iter().map(Self::of_one).collect::<Vec<_>>().join("; "))]
    RefusedEach(Vec<Error>),
    #[error("`{wanted}` begins the ids of {count} networks")]
    Ambiguous { wanted: String, count: usize },
    #[error("there is no network `{wanted}`")]
    NoSuchNetwork { wanted: String },
    #[error("cannot make the lab")]
    Lab(#[from] lab::Error),
    #[error("cannot say it in JSON")]
    Json(#[from] serde_json::Error),
    /// Nothing was changed; the answer is all there is to a command that looks.
    #[error("cannot write to the standard output")]
    Print(#[source] io::Error),
    /// What was told is done, and stays.
    #[error("what was told is done, but its answer cannot be written")]
    Report(#[source] io::Error),
    #[error("cannot listen to signals")]
    Signals(#[source] io::Error),
    #[error("cannot start `{}`", program.display())]
    Start { program: OsString, source: io::Error },
    #[error("cannot wait for the program")]
    Wait(#[source] io::Error),
    #[error("{wrong} of {asked} requests had a wrong answer or none")]
    DemoAnswers { wrong: usize, asked: usize },
    #[error("the host differs from what it was: {}", .lines.join("; "))]
    DemoResidue { lines: Vec<String> },
    #[error("the demo's server cannot be started")]
    DemoServer(#[source] io::Error),
}

impl Fault {
    /// The status of every command but `run`: 1 refused, 2 usage, 3 something is left.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Refused(Error::LeftBehind { .. }) | Self::Report(_) | Self::DemoResidue { .. } => 3,
            Self::RefusedEach(each) if each.iter().any(|why| !why.left_behind().is_empty()) => 3,
            _ => 1,
        }
    }

    /// What came of several things that were told, of which these were refused.
    pub(crate) fn of_each(mut refused: Vec<Error>) -> Result<(), Self> {
        match refused.len() {
            0 | 1 => refused.pop().map_or(Ok(()), |why| Err(why.into())),
            _ => Err(Self::RefusedEach(refused)),
        }
    }

    /// The status of `run`, which must not be taken for the program's.
    pub(crate) fn status_of_run(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Start { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            Self::Start { .. } => 126,
            _ => 125,
        }
    }

    /// The whole story in one line.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Refused(error) => Self::of_one(error),
            fault => chain(fault),
        }
    }

    /// What was refused, why, and what mends it.
    fn of_one(error: &Error) -> String {
        let line = match error {
            Error::LeftBehind { left, refused } => one_line(&left_behind(left, refused.as_deref())),
            error => chain(error),
        };
        error.remedy().map_or(line.clone(), |remedy| format!("{line}; {remedy}"))
    }
}

/// What stayed, each with its reason, and what was refused in the first place.
fn left_behind(left: &[Left], refused: Option<&Error>) -> String {
    let each = left.iter().map(|left| format!("{} ({})", left.what, chain(&*left.source)));
    let each = each.collect::<Vec<_>>().join(", ");
    refused.map_or_else(
        || format!("left behind: {each}"),
        |refused| format!("left behind: {each}: {}", chain(refused)),
    )
}

/// An error and every source of it that says something more, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        source = error.source();
    }
    one_line(&line)
}

/// The text without what could break a line or steer a terminal.
fn one_line(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// What clap found wrong, as a line; help and version are answers, not faults.
pub(crate) fn of_clap(error: &clap::Error) -> Fault {
    use clap::error::ErrorKind::{DisplayHelpOnMissingArgumentOrSubcommand, MissingSubcommand};
    if matches!(error.kind(), DisplayHelpOnMissingArgumentOrSubcommand | MissingSubcommand) {
        return Fault::Usage("no command is given".to_owned());
    }
    let text = error.render().to_string();
    let end = |line: &&str| !line.starts_with("Usage:") && !line.starts_with("For more information");
    // How to pass a flag as a value is what nobody meant who mistyped one.
    let helps = |line: &&str| !line.is_empty() && !line.starts_with("tip: to pass '");
    let lines = text.lines().map(str::trim).take_while(end).filter(helps);
    let line = lines.collect::<Vec<_>>().join(" ").replace(" tip: ", "; ");
    Fault::Usage(one_line(line.strip_prefix("error: ").unwrap_or(&line)))
}

/// A refusal after something was done already: the container or network that it is about is what stayed.
pub(crate) fn stays(of: &impl fmt::Display, refused: Error) -> Error {
    match refused {
        Error::LeftBehind { .. } => refused,
        refused => Error::LeftBehind { left: vec![stayed(of, refused)], refused: None },
    }
}

/// That a container or network is left as it is.
pub(crate) fn stayed(of: &impl fmt::Display, refused: Error) -> Left {
    Left { what: Residue::Records { of: of.to_string() }, source: Box::new(refused) }
}

/// Tells what was changed of the host at large.
pub(crate) fn tell(host: &Host) {
    host.notices().into_iter().for_each(note);
}

/// Writes a line for the user beside the answer; where nobody reads, nobody is told.
pub(crate) fn note(line: impl fmt::Display) {
    let _ = io::Write::write_all(&mut io::stderr(), format!("linkspan: {line}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use linkspan::Residue;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    fn layers(texts: &[&'static str]) -> Option<Box<Layer>> {
        let (text, rest) = texts.split_first()?;
        Some(Box::new(Layer { text, source: layers(rest) }))
    }

    #[test]
    fn every_source_is_told_once_and_in_one_line() {
        let check = |texts: &[&'static str], expected: &str| {
            assert_eq!(chain(&*layers(texts).unwrap()), expected);
        };
        check(&["a"], "a");
        check(&["a", "b", "c"], "a: b: c");
        check(&["a: b", "b", "c"], "a: b: c");
        check(&["a", "a", "a"], "a");
        check(&["a\nb", "c\x1b[0m"], "a\\nb: c\\u{1b}[0m");
    }

    #[test]
    fn what_stays_is_named_with_its_reason() {
        let busy = || Error::Stale;
        let left = vec![Left { what: Residue::Link("eth0".parse().unwrap()), source: Box::new(busy()) }];
        let fault = Fault::Refused(Error::LeftBehind { left, refused: Some(Box::new(Error::OwnNamespace)) });
        assert_eq!(
            fault.line(),
            "left behind: link `eth0` (the host changed since the plan was made): \
             the network namespace is the host's own"
        );
        assert_eq!((fault.status(), fault.status_of_run()), (3, 125));
    }

    #[test]
    fn what_is_refused_halfway_stays() {
        let fault = Fault::Refused(stays(&"web", Error::Stale));
        assert_eq!(
            fault.line(),
            "left behind: the records of `web` (the host changed since the plan was made)"
        );
        assert_eq!(fault.status(), 3);
    }

    #[test]
    fn a_program_that_cannot_start_has_the_shells_status() {
        let start =
            |kind| Fault::Start { program: "x".into(), source: io::Error::from(kind) }.status_of_run();
        assert_eq!(start(io::ErrorKind::NotFound), 127);
        assert_eq!(start(io::ErrorKind::PermissionDenied), 126);
    }
}
