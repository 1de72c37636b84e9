//! From what was seen to what is wrong.

use super::sight::{Sight, Standing, Uplink, quoted};
use super::{Diagnosis, Finding, Problem, Severity, traffic};
use crate::error::chain;
use crate::plan::{NetworkRecord, RulesPlan};
use crate::{DefinedNetwork, Firewall, Garbage};
use linkspan_nat_rules::iptables;
use linkspan_veth_bridge::Step;

/// The oldest kernel that is supported: it tells namespaces apart (`SO_NETNS_COOKIE`).
pub(super) const OLDEST: &str = "5.14";

/// Says what is wrong.
pub(crate) fn diagnose(sight: &Sight) -> Diagnosis {
    let mut findings = kernel(sight);
    findings.extend(traffic(sight));
    findings.extend(unlisted(sight));
    findings.extend(forwarding(sight));
    findings.extend(without_ipv6(sight));
    findings.extend(routers(sight));
    findings.extend(differences(sight));
    findings.extend(garbage(sight));
    findings.into()
}

fn kernel(sight: &Sight) -> Vec<Finding> {
    let number = |release: &str| {
        let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    };
    let old = number(&sight.release).zip(number(OLDEST)).is_some_and(|(this, oldest)| this < oldest);
    let problem = || Problem::KernelTooOld { release: sight.release.clone() };
    old.then(|| Finding::wrong(problem(), None)).into_iter().collect()
}

/// Where iptables carries our rules, they stand among those of others: one who took them away is found first.
fn traffic(sight: &Sight) -> Vec<Finding> {
    let whole = matches!(&sight.standing, Standing::Lacks(reconciled) if reconciled.rules().is_empty());
    match sight.asker.firewall == Firewall::Iptables && !whole {
        true => Vec::new(),
        false => traffic::stopped(sight),
    }
}

fn unlisted(sight: &Sight) -> Vec<Finding> {
    let program = |family| match family {
        iptables::Family::V4 => "iptables".to_owned(),
        iptables::Family::V6 => "ip6tables".to_owned(),
    };
    let problems = sight.foreign.unlisted().map(|family| Problem::Unlisted { program: program(family) });
    problems.map(|problem| Finding { severity: Severity::Note, problem, mend: None }).collect()
}

fn forwarding(sight: &Sight) -> Vec<Finding> {
    let forwarding = sight.settings.forwarding;
    let mut findings = Vec::new();
    let mut check = |off: bool, setting: &str, has: fn(&DefinedNetwork) -> bool| {
        let networks = sight.networks.iter().map(|record| &record.network);
        let needing = networks.filter(|network| off && has(network) && network.policy.gateway.leads_out());
        let networks: Vec<_> = needing.map(|network| network.name.clone()).collect();
        if !networks.is_empty() {
            let mend = format!("sysctl -w {setting}=1");
            findings.push(Finding::wrong(
                Problem::ForwardingOff { setting: setting.to_owned(), networks },
                Some(mend),
            ));
        }
    };
    check(!forwarding.v4, "net.ipv4.ip_forward", DefinedNetwork::has_ipv4);
    check(forwarding.v6 == Some(false), "net.ipv6.conf.all.forwarding", DefinedNetwork::has_ipv6);
    findings
}

fn without_ipv6(sight: &Sight) -> Vec<Finding> {
    let lacks = |record: &&NetworkRecord| {
        record.network.has_ipv6() && sight.without_ipv6.contains(&record.network.link)
    };
    sight
        .networks
        .iter()
        .filter(lacks)
        .map(|record| {
            let (link, network) = (record.network.link, record.network.name.clone());
            let problem = Problem::Ipv6Off { setting: format!("net.ipv6.conf.{link}.disable_ipv6"), network };
            // With slashes a link's name may have dots.
            let setting = format!("net/ipv6/conf/{link}/disable_ipv6=0");
            Finding::wrong(problem, Some(format!("sysctl -w {}", quoted(&setting))))
        })
        .collect()
}

/// The kernel hears routers where `accept_ra` is 1 only as long as it does not forward there.
fn routers(sight: &Sight) -> Vec<Finding> {
    let deaf = sight.uplinks.iter().filter(|uplink| uplink.forwards && uplink.accept_ra == 1);
    deaf.map(|Uplink { link, .. }| {
        // With slashes a link's name may have dots.
        let mend = format!("sysctl -w {}", quoted(&format!("net/ipv6/conf/{link}/accept_ra=2")));
        let problem = Problem::RouterUnheard { link: link.clone() };
        Finding { severity: Severity::Doubtful, problem, mend: Some(mend) }
    })
    .collect()
}

fn differences(sight: &Sight) -> Vec<Finding> {
    let reconciled = match &sight.standing {
        Standing::Lacks(reconciled) => reconciled,
        Standing::Blocked(problem) => return vec![Finding::wrong(problem.clone(), None)],
    };
    // Forwarding is a finding of its own.
    let forwards = |step: &&Step| matches!(step, Step::EnableForwarding { .. });
    let forwarding: Vec<_> =
        reconciled.links().steps().iter().filter(forwards).map(ToString::to_string).collect();
    let text = reconciled.to_string();
    let steps = text.lines().map(str::to_owned).filter(|step| !forwarding.contains(step)).collect::<Vec<_>>();
    let lacks = (!steps.is_empty())
        .then(|| Finding::wrong(Problem::Differs { steps }, Some(sight.asker.command("reconcile"))));
    let left = reconciled.left().iter().map(|left| Problem::InTheWay { what: chain(&left.source) });
    lacks.into_iter().chain(left.map(|problem| Finding::wrong(problem, None))).collect()
}

/// Rules that nobody needs are among what `reconcile` mends.
fn garbage(sight: &Sight) -> Vec<Finding> {
    let garbage =
        sight.garbage.clone().map(|garbage| Garbage { rules: RulesPlan::None, ..garbage }.to_string());
    let steps: Vec<_> = garbage.iter().flat_map(|text| text.lines()).map(str::to_owned).collect();
    if steps.is_empty() {
        return Vec::new();
    }
    let mend = Some(sight.asker.command("gc"));
    vec![Finding { severity: Severity::Doubtful, problem: Problem::Garbage { steps }, mend }]
}
