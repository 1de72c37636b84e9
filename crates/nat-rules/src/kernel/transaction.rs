//! A plan as one transaction, and a refusal of it as the step that was refused.

use super::element;
use super::table::{self, named};
use crate::nftables::{Plan, Step};
use crate::{Error, Instance};
use linkspan_net_types::Errno;
use linkspan_netlink::{Batch, Flags, Kind, Refusal};

const NEW_ELEMENTS: Kind = Kind::nftables(12);
const DELETE_ELEMENTS: Kind = Kind::nftables(14);
/// `NFNL_BATCH_GENID` of `linux/netfilter/nfnetlink.h`.
const BATCH_GENERATION: u16 = 1;
/// `struct nfgenmsg` of the edges of a batch, with `NFNL_SUBSYS_NFTABLES` in network order.
const EDGE: [u8; 4] = [0, 0, 0, 10];

/// The length of an attribute has 16 bits, and an element takes at most 100 bytes.
const ELEMENTS_A_MESSAGE: usize = 600;

/// What a transaction is to be refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unless {
    /// What the plan says.
    Planned,
    /// Also if anyone wrote since this transaction of the kernel, or something that is added is there already.
    AllKnown { since: u32 },
}

/// The messages of a plan, and for each of them the place of its first step.
pub(super) fn transaction(plan: &Plan, unless: Unless) -> (Batch, Vec<usize>) {
    let (generation, adding) = match unless {
        Unless::Planned => (plan.generation, Flags::CREATE),
        Unless::AllKnown { since } => (Some(since), Flags::CREATE | Flags::EXCL),
    };
    let mut batch = Batch::new();
    let mut steps = Vec::new();
    batch.push(Kind::BATCH_BEGIN, Flags::NONE, |body| {
        body.bytes(&EDGE);
        if let Some(generation) = generation {
            body.be32(BATCH_GENERATION, generation);
        }
    });
    if plan.marked {
        table::require_layout(&mut batch, plan.instance);
    }
    steps.resize(batch.len(), 0);
    let mut first = 0;
    for run in plan.steps.chunk_by(alike).flat_map(|run| run.chunks(ELEMENTS_A_MESSAGE)) {
        perform(&mut batch, plan.instance, run, adding);
        steps.resize(batch.len(), first);
        first += run.len();
    }
    batch.push(Kind::BATCH_END, Flags::NONE, |body| body.bytes(&EDGE));
    (batch, steps)
}

/// Whether two steps can be one message.
fn alike(a: &Step, b: &Step) -> bool {
    match (a, b) {
        (Step::Add(a), Step::Add(b)) | (Step::Remove(a), Step::Remove(b)) => a.set() == b.set(),
        (Step::Rewrite(_) | Step::Remake(_), Step::Rewrite(_) | Step::Remake(_)) => true,
        _ => false,
    }
}

/// Writes the messages of steps that are alike.
fn perform(batch: &mut Batch, instance: Instance, run: &[Step], adding: Flags) {
    let elements = run.iter().filter_map(|step| match step {
        Step::Add(element) | Step::Remove(element) => Some(element),
        _ => None,
    });
    match run.first() {
        None => {}
        Some(Step::MakeTable) => table::make(batch, instance),
        Some(Step::Wake) => table::wake(batch, instance),
        Some(Step::DropTable) => {
            batch.push(table::DELETE_TABLE, Flags::NONE, |body| named(body, instance));
        }
        Some(Step::Swap { from }) => table::swap(batch, instance, *from),
        Some(Step::Rewrite(_) | Step::Remake(_)) => table::mend(batch, instance, run),
        Some(Step::Add(first)) => batch.push(NEW_ELEMENTS, adding, |body| {
            element::write(body, instance, first.set(), elements);
        }),
        Some(Step::Remove(first)) => batch.push(DELETE_ELEMENTS, Flags::NONE, |body| {
            element::write(body, instance, first.set(), elements);
        }),
    }
}

/// Names the step whose message was refused.
pub(super) fn refused(refusals: Vec<Refusal>, plan: &Plan, steps: &[usize]) -> Error {
    match refusals.into_iter().next() {
        Some(Refusal { message, errno, text, .. }) => refusal(message, errno, text, plan, steps),
        None => linkspan_netlink::Error::Malformed.into(),
    }
}

fn refusal(message: usize, errno: Errno, text: Option<String>, plan: &Plan, steps: &[usize]) -> Error {
    if errno == Error::RESTART {
        return Error::Overtaken { instance: plan.instance, source: errno };
    }
    let first = steps.get(message).copied().unwrap_or(0);
    if plan.steps.get(first) == Some(&Step::MakeTable) {
        // A plan makes the table first of all, so just the edge of the batch is before it.
        let step = table::parts(plan.instance).nth(message.saturating_sub(1)).unwrap_or_default();
        // All that a table refers to is made with it, so what is missing is missing in the kernel.
        return match errno {
            Errno::ENOENT => Error::Unsupported { step, source: errno },
            _ => Error::Refused { step, text, source: errno },
        };
    }
    let run = plan.steps.get(first..).and_then(|rest| rest.chunk_by(alike).next()).unwrap_or_default();
    let step = run.first().map(|step| step.of(plan.instance).to_string()).unwrap_or_default();
    let others = run.len().min(ELEMENTS_A_MESSAGE).saturating_sub(1);
    let step = if others == 0 { step } else { format!("{step} with {others} others") };
    Error::Refused { step, text, source: errno }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nftables::{Chain, Seen, Set, plan};
    use crate::{Change, Destination, Network, Publish, Ruleset};
    use linkspan_net_types::{Port, Protocol};

    fn check(message: usize, errno: Errno, expected: &str, overtaken: bool) {
        let change = Change::new().add_network(Network::new("ls-a".parse().unwrap()));
        let plan = plan(Instance::default(), &change, &Seen::default()).unwrap();
        let (_, steps) = transaction(&plan, Unless::Planned);
        let error = refusal(message, errno, None, &plan, &steps);
        assert_eq!((error.to_string().as_str(), error.is_overtaken()), (expected, overtaken));
    }

    #[test]
    fn what_the_kernel_lacks_is_named_and_not_tried_again() {
        let lacks = "kernel lacks what it takes to add";
        let chains = 3 + Set::ALL.len();
        check(1, Errno::EEXIST, "cannot add table inet linkspan", true);
        check(3, Errno::ENOENT, &format!("{lacks} set inet linkspan bridges"), false);
        check(chains, Errno::ENOENT, &format!("{lacks} chain inet linkspan linkspan-user"), false);
        let rules = chains + Chain::ALL.len();
        let first = "rule inet linkspan dnat_only ct status dnat accept";
        check(rules, Errno::ENOENT, &format!("{lacks} {first}"), false);
        let elements = 1 + table::parts(Instance::default()).count();
        check(elements, Errno::ENOENT, "cannot add element inet linkspan bridges { \"ls-a\" }", true);
    }

    fn port(number: u16) -> Publish {
        let [port, inside] = [number, 80].map(|port| Port::new(port).unwrap());
        Publish::nat(Protocol::Tcp, port, Destination::new([10, 88, 0, 2].into(), inside))
    }

    #[test]
    fn one_more_port_is_one_small_batch_however_many_there_are() {
        let check = |there: u16| {
            let there = Change::new().publish_all((20_000..).take(there.into()).map(port));
            let seen = Seen::of(&Ruleset::new().after(&there).unwrap());
            for change in [Change::new().publish(port(1000)), Change::new().withdraw(port(20_000))] {
                let plan = plan(Instance::default(), &change, &seen).unwrap();
                assert_eq!(plan.steps().len(), 1, "{plan}");
                let (batch, _) = transaction(&plan, Unless::Planned);
                assert!(batch.len() < 5 && batch.bytes().len() < 256, "{} bytes", batch.bytes().len());
            }
        };
        [1, 1000, 10_000].into_iter().for_each(check);
    }
}
