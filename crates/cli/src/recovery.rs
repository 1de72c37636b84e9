//! `linkspan gc` and `reconcile`: a line for each thing that was put right; in JSON, no line where nothing was.

use crate::fault::{Fault, note};
use crate::output::Output;
use linkspan::{Error, Garbage, Host, Left};

pub(crate) fn gc(host: &Host, out: Output) -> Result<(), Fault> {
    let collected = host.gc()?;
    note_unread(collected.garbage());
    finish(&collected.garbage().to_string(), "nothing to remove\n", collected.into_left(), out)
}

pub(crate) fn reconcile(host: &Host, out: Output) -> Result<(), Fault> {
    let reconciled = host.reconcile()?;
    finish(&reconciled.to_string(), "the host is as the records say\n", reconciled.into_left(), out)
}

/// Whether these are garbage is not known, so they stay; what is left after the rest is removed says so by itself.
pub(crate) fn note_unseen(garbage: &Garbage) {
    for name in garbage.unseen() {
        note(format!("`{name}` stays: its namespace cannot be looked at"));
    }
    note_unread(garbage);
}

fn note_unread(garbage: &Garbage) {
    for leases in garbage.unread() {
        note(format!("`{}` stays: it cannot be read; reconcile writes it anew", leases.display()));
    }
}

/// What stayed is a fault, though the rest is done; that nothing was to do is said only where nothing stayed.
fn finish(done: &str, nothing: &str, left: Vec<Left>, out: Output) -> Result<(), Fault> {
    let shown = if done.is_empty() && left.is_empty() { nothing } else { done };
    out.report(shown, &done.lines().collect::<Vec<_>>())?;
    left_over(left)
}

/// What stayed, or could not be looked at, is a fault.
pub(crate) fn left_over(left: Vec<Left>) -> Result<(), Fault> {
    if left.is_empty() { Ok(()) } else { Err(Error::LeftBehind { left, refused: None }.into()) }
}
