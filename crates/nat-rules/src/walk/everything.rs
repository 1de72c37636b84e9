//! All rules that are loaded on a machine, asked in the order in which the kernel asks them.

use super::{RuleRef, Verdict};
use crate::foreign::Foreign;
use crate::netfilter::{Base, Care, End, Kind, Nat, Run, Stage, Table};

/// A base chain with its table.
type Entered<'a> = (&'a Table, &'a str, &'a Base);

/// What the chains that the kernel enters at a stage do: nothing, or a translation.
pub(super) fn ask(
    seen: &Foreign,
    stage: &Stage,
    trace: &mut Vec<RuleRef>,
    doubt: &mut Option<RuleRef>,
) -> Result<Option<Nat>, Verdict> {
    // Where the kernel translates, it does so behind the chains that see the packet as it is at this stage.
    let (nat, filter): (Vec<_>, Vec<_>) =
        seen.all_entered(stage).into_iter().partition(|(_, _, base)| base.kind == Kind::Nat);
    for (table, name, base) in filter {
        match Run::base(table, (name, base), stage, seen.links(), Care::Translation) {
            End::Unknown(at) => *doubt = doubt.take().or_else(|| Some(at.rule())),
            end => pass(&end, trace)?,
        }
    }
    translate(seen, stage, &nat, trace)
}

/// The first chain that translates ends it. The kernel asks those of one priority in the order in which they
/// were loaded, which is not known: so another of its priority must not translate otherwise.
fn translate(
    seen: &Foreign,
    stage: &Stage,
    chains: &[Entered<'_>],
    trace: &mut Vec<RuleRef>,
) -> Result<Option<Nat>, Verdict> {
    let mut found: Option<(i32, Nat)> = None;
    for (table, name, base) in chains {
        if found.is_some_and(|(priority, _)| priority != base.priority) {
            break;
        }
        match (Run::base(table, (name, base), stage, seen.links(), Care::Translation), found) {
            (End::Translated(at, Nat::Target(None) | Nat::Source(None)) | End::Unknown(at), _) => {
                return Err(Verdict::CannotTell(at.rule()));
            }
            (End::Translated(at, nat), Some((_, other))) if nat != other => {
                return Err(Verdict::CannotTell(at.rule()));
            }
            (End::Translated(..), Some(_)) => {}
            (End::Translated(at, nat), None) => {
                trace.push(at.rule());
                found = Some((base.priority, nat));
            }
            (end, _) => pass(&end, trace)?,
        }
    }
    Ok(found.map(|(_, nat)| nat))
}

fn pass(end: &End<'_>, trace: &mut Vec<RuleRef>) -> Result<(), Verdict> {
    match end {
        End::Accepted(Some(at)) => trace.push(at.rule()),
        End::Dropped(at) => {
            trace.push(at.rule());
            return Err(Verdict::StoppedBy(at.rule()));
        }
        End::Unknown(at) => return Err(Verdict::CannotTell(at.rule())),
        End::Accepted(None) | End::Returned | End::Translated(..) => {}
    }
    Ok(())
}
