//! `linkspan gc` and `reconcile`: a line for each thing that was put right; in JSON, no line where nothing was.

use crate::fault::Fault;
use crate::output::Output;
use linkspan::{Error, Host, Left};

pub(crate) fn gc(host: &Host, out: Output) -> Result<(), Fault> {
    let collected = host.gc()?;
    say(&collected.garbage().to_string(), "nothing to remove\n", out)?;
    finished(collected.into_left())
}

pub(crate) fn reconcile(host: &Host, out: Output) -> Result<(), Fault> {
    let reconciled = host.reconcile()?;
    say(&reconciled.to_string(), "the host is as the records say\n", out)?;
    finished(reconciled.into_left())
}

fn say(text: &str, nothing: &str, out: Output) -> Result<(), Fault> {
    let shown = if text.is_empty() { nothing } else { text };
    out.report(shown, &text.lines().collect::<Vec<_>>())
}

/// What stayed is a fault, though the rest is done.
fn finished(left: Vec<Left>) -> Result<(), Fault> {
    if left.is_empty() { Ok(()) } else { Err(Error::LeftBehind { left, refused: None }.into()) }
}
