//! What a host may be after a command that was killed: each thing as before, or as after, or gone.

use super::paper::{Container, Level, Paper};
use super::step::{Net, Who};
use std::collections::BTreeSet;

/// All that may be, the complete one first.
pub(super) fn between(before: &Paper, after: &Paper) -> Vec<Paper> {
    let mut all = vec![Paper { hurt: before.hurt.union(&after.hurt).cloned().collect(), ..after.clone() }];
    if before.orphans != after.orphans {
        all = each(all, |paper| vec![paper.with_orphans_of(before)]);
    }
    for who in Who::ALL {
        let (was, is) = (before.containers.get(&who), after.containers.get(&who));
        if was != is {
            let others = [was.cloned(), None];
            all = each(all, |paper| others.iter().map(|there| with(paper, who, there.clone())).collect());
        }
    }
    for net in Net::ALL {
        let was = before.networks.get(&net);
        if was != after.networks.get(&net) {
            all = each(all, |paper| vec![with_network(paper, before, net)]);
        }
        if was == Some(&Level::Down) {
            // It came up for a container that would have been refused.
            all = each(all, |paper| vec![raised(paper, net)]);
        }
    }
    for address in before.kept.keys().chain(after.kept.keys()).collect::<BTreeSet<_>>() {
        if before.kept.get(address) != after.kept.get(address) {
            all = each(all, |paper| [before, after].map(|other| with_kept(paper, other, *address)).into());
        }
    }
    // Where nobody is left on the default network, it is gone.
    all.iter_mut().for_each(Paper::settle);
    all.retain(|paper| is_possible(paper) && lets_nothing_go(paper, before, after));
    all
}

/// These, and what becomes of each of them.
fn each(all: Vec<Paper>, others: impl Fn(&Paper) -> Vec<Paper>) -> Vec<Paper> {
    let more: Vec<_> = all.iter().flat_map(others).collect();
    all.into_iter().chain(more).collect()
}

fn with(paper: &Paper, who: Who, there: Option<Container>) -> Paper {
    let mut paper = paper.clone();
    paper.containers.remove(&who);
    paper.containers.extend(there.map(|there| (who, there)));
    paper
}

fn with_kept(paper: &Paper, other: &Paper, address: (Net, u16)) -> Paper {
    let mut paper = paper.clone();
    paper.kept.remove(&address);
    paper.kept.extend(other.kept.get(&address).map(|who| (address, *who)));
    paper
}

fn raised(paper: &Paper, net: Net) -> Paper {
    let mut paper = paper.clone();
    paper.networks.entry(net).and_modify(|level| *level = Level::Up);
    paper
}

fn with_network(paper: &Paper, before: &Paper, net: Net) -> Paper {
    let mut paper = paper.clone();
    paper.networks.remove(&net);
    paper.networks.extend(before.networks.get(&net).map(|level| (net, *level)));
    if before.strangers.contains(&net) {
        paper.strangers.insert(net);
    }
    if before.usurped.contains(&net) {
        paper.usurped.insert(net);
    }
    paper
}

/// Nobody is on a network that is not there, and no two have an address.
fn is_possible(paper: &Paper) -> bool {
    let all = || paper.containers.values().flat_map(|there| there.on.iter());
    let up = all().all(|(net, _)| paper.is_up(*net));
    up && all().all(|address| all().filter(|other| *other == address).count() == 1)
}

/// What a container had that is gone is kept, where it is to be; what is kept of a network goes with it and not before.
fn lets_nothing_go(paper: &Paper, before: &Paper, after: &Paper) -> bool {
    let is_kept = |address: &(Net, u16)| paper.kept.get(address) == after.kept.get(address);
    let gone = before.containers.iter().filter(|(who, _)| !paper.containers.contains_key(who));
    let going = before.kept.iter().filter(|((net, _), _)| !after.networks.contains_key(net));
    gone.flat_map(|(_, there)| &there.on).all(|address| !after.kept.contains_key(address) || is_kept(address))
        && going
            .filter(|((net, _), _)| paper.networks.contains_key(net))
            .all(|(address, who)| paper.kept.get(address) == Some(who))
        && paper.kept.keys().all(|(net, _)| paper.networks.contains_key(net))
}
