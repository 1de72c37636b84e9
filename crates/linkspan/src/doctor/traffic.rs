//! What rules of others make of the packets that have to pass.

use super::promise::{Flow, Ground};
use super::sight::Sight;
use super::{Finding, Problem, Promise, Severity};
use crate::Firewall;
use linkspan_nat_rules::foreign::{Judgement, objections};
use linkspan_nat_rules::walk::{RuleRef, Rules, Verdict, Walk, walk};
use std::collections::{BTreeMap, BTreeSet};

/// What one rule does.
#[derive(Default)]
struct Objection {
    /// It stops something for certain.
    certain: bool,
    breaks: BTreeSet<Promise>,
    mends: BTreeSet<String>,
}

/// A finding for each rule of someone else that stops what has to pass, or may.
pub(super) fn stopped(sight: &Sight) -> Vec<Finding> {
    let (ground, rules) = (Ground::of(sight), rules(sight));
    let mut found: BTreeMap<RuleRef, Objection> = BTreeMap::new();
    for Flow { promise, packet } in ground.flows() {
        let request = walk(&rules, &packet, ground.routes());
        let answer = request.answer(ground.routes()).map(|answer| walk(&rules, &answer, ground.routes()));
        // What our own rules or the user's stop is stopped on purpose.
        let passes = |walked: &Walk| matches!(walked.verdict(), Verdict::Passes(_));
        for walked in [Some(request), answer].into_iter().flatten().filter(passes) {
            for judgement in objections(&sight.foreign, &walked) {
                note(&mut found, judgement, &promise);
            }
        }
    }
    found.into_iter().map(finding).collect()
}

/// Our rules as the records want them: what is missing of them is another finding.
fn rules(sight: &Sight) -> Rules {
    let rules = match sight.asker.firewall {
        Firewall::Nftables => Rules::nftables(sight.asker.instance, &sight.rules),
        Firewall::Iptables => Rules::iptables(sight.asker.instance, &sight.rules),
        Firewall::None => Rules::none(sight.asker.instance, &sight.rules),
    };
    rules.with_user_rules(&sight.foreign)
}

fn note(found: &mut BTreeMap<RuleRef, Objection>, judgement: Judgement, promise: &Promise) {
    let (rule, mend, certain) = match judgement {
        Judgement::StoppedBy { rule, mend } => (rule, mend, true),
        Judgement::CannotTell(rule) => (rule, None, false),
        _ => return,
    };
    let objection = found.entry(rule).or_default();
    objection.certain |= certain;
    objection.breaks.insert(promise.clone());
    objection.mends.extend(mend);
}

fn finding((rule, Objection { certain, breaks, mends }): (RuleRef, Objection)) -> Finding {
    let breaks = breaks.into_iter().collect();
    let mend = Some(mends.into_iter().collect::<Vec<_>>().join(" && ")).filter(|mend| !mend.is_empty());
    match certain {
        true => Finding { severity: Severity::Wrong, problem: Problem::Stopped { rule, breaks }, mend },
        false => Finding { severity: Severity::Doubtful, problem: Problem::Unknown { rule, breaks }, mend },
    }
}
