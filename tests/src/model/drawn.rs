//! Sequences drawn at random: steps that fit the host as it should be, and some that do not.

use super::paper::Paper;
use super::step::{At, Deed, Door, Doors, Harm, Net, On, Step, Who};
use crate::calls::CHANGING;
use crate::world::Case;
use proptest::prelude::{BoxedStrategy, Just, Strategy, prop_oneof};
use proptest::sample::select;
use proptest_state_machine::ReferenceStateMachine;

/// What can be done to a network, and to a container; a namespace that ends is the most usual.
const OF_NET: [fn(Net) -> Harm; 5] =
    [Harm::DeleteBridge, Harm::EmptyBridge, Harm::BridgeDown, Harm::Stranger, Harm::Usurp];
const OF_WHO: [fn(Who) -> Harm; 13] = [
    Harm::Vanish,
    Harm::Vanish,
    Harm::Vanish,
    Harm::DeleteLink,
    Harm::Unplug,
    Harm::HostEndDown,
    Harm::LinkDown,
    Harm::LinkMac,
    Harm::LinkAddress,
    Harm::LinkRoutes,
    Harm::Squat,
    Harm::LoseRecord,
    Harm::LoseRecord,
];

/// How hosts come to be, by the model alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawn;

impl ReferenceStateMachine for Drawn {
    type State = Paper;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Paper> {
        select(Case::possible()).prop_map(Paper::new).boxed()
    }

    fn transitions(paper: &Paper) -> BoxedStrategy<Step> {
        if paper.lost_claims || !paper.lost_leases.is_empty() {
            let mended = Just(Step::Do(Deed::Reconcile));
            return prop_oneof![3 => mended, 2 => attach(paper).prop_map(Step::Do)].boxed();
        }
        let at = (select(&CHANGING[..]), 1..14_usize).prop_map(|(call, nth)| At(call, nth));
        prop_oneof![
            12 => deed(paper).prop_map(Step::Do),
            4 => (deed(paper), at).prop_map(|(deed, at)| Step::Kill(deed, at)),
            5 => harm(paper).prop_map(Step::Break),
        ]
        .boxed()
    }

    fn apply(mut paper: Paper, step: &Step) -> Paper {
        paper.take(*step);
        paper
    }

    fn preconditions(paper: &Paper, step: &Step) -> bool {
        paper.knows(*step)
    }
}

fn deed(paper: &Paper) -> BoxedStrategy<Deed> {
    let hurt = if paper.is_sound() { 1 } else { 6 };
    let living = paper.orphans.is_empty() && paper.containers.values().all(|there| there.alive);
    let dead = if living { 1 } else { 4 };
    let kept = paper.kept.keys().map(|(net, _)| *net).cycle().take(3 * paper.kept.len());
    let removed = select(kept.chain(paper.networks.keys().copied()).chain(Net::ALL).collect::<Vec<_>>());
    prop_oneof![
        4 => select(&Net::MADE[..]).prop_map(Deed::Create),
        12 => attach(paper),
        2 => removed.prop_map(Deed::Remove),
        1 => net().prop_map(Deed::Force),
        2 => who().prop_map(Deed::Detach),
        1 => (who(), who()).prop_map(|(one, other)| Deed::DetachBoth(one, other)),
        1 => Just(Deed::DetachAll),
        2 => who().prop_map(Deed::Keep),
        1 => release(paper),
        dead => Just(Deed::Gc),
        hurt => Just(Deed::Reconcile),
    ]
    .boxed()
}

/// Mostly of an address that is kept.
fn release(paper: &Paper) -> BoxedStrategy<Deed> {
    let kept = paper.kept.keys().copied().filter(|(net, _)| !net.has_ipv6());
    let kept: Vec<_> =
        kept.collect::<Vec<_>>().repeat(3).into_iter().chain([(Net::Bridge, 2), (Net::N1, 2)]).collect();
    select(kept).prop_map(|(net, number)| Deed::Release(net, number)).boxed()
}

/// Mostly to networks that are there, of containers that are not.
fn attach(paper: &Paper) -> BoxedStrategy<Deed> {
    let there: Vec<_> = paper.networks.keys().copied().chain([Net::Bridge]).collect();
    let mut likely: Vec<_> = Who::ALL.into_iter().filter(|who| !paper.containers.contains_key(who)).collect();
    likely = likely.repeat(4);
    likely.extend(Who::ALL);
    let on = prop_oneof![
        5 => select(there.clone()).prop_map(On::One),
        3 => (select(there), net()).prop_map(|(one, other)| two(one, other)),
        1 => net().prop_map(On::One),
    ];
    let drawn = (select(likely), on, select(&Doors::EACH[..]));
    drawn.prop_map(|(who, on, doors)| Deed::Attach(who, on, doors)).boxed()
}

fn two(one: Net, other: Net) -> On {
    if one == other { On::One(one) } else { On::Two(one, other) }
}

fn net() -> BoxedStrategy<Net> {
    select(&Net::ALL[..]).boxed()
}

fn who() -> BoxedStrategy<Who> {
    select(&Who::ALL[..]).boxed()
}

/// Mostly to those who are there.
fn harm(paper: &Paper) -> BoxedStrategy<Harm> {
    let there: Vec<_> = paper.containers.keys().copied().collect();
    let whose = select(there.repeat(2).into_iter().chain(Who::ALL).collect::<Vec<_>>());
    prop_oneof![
        5 => (0..OF_NET.len(), net()).prop_map(|(nth, net)| OF_NET[nth](net)),
        13 => (0..OF_WHO.len(), whose).prop_map(|(nth, who)| OF_WHO[nth](who)),
        2 => Just(Harm::Reboot),
        2 => Just(Harm::FlushRules),
        2 => select(&Door::ALL[..]).prop_map(Harm::Listen),
        1 => Just(Harm::LoseClaims),
        1 => select(&Net::MADE[..]).prop_map(Harm::LoseLeases),
    ]
    .boxed()
}
