//! Chains and rules as the kernel lists them, beside those of the layout.

use super::HEADER;
use super::expression::{self, DATA, NAME};
use super::table::{CHAIN_HOOK, CHAIN_NAME, CHAIN_POLICY, CHAIN_TYPE, RULE_EXPRESSIONS, TABLE};
use crate::Instance;
use crate::nftables::layout::{Hook, Rule};
use linkspan_netlink::{Attribute, Attributes, Batch, Flags, Kind, Reply};

/// The size of `struct nlmsghdr`.
const MESSAGE: usize = 16;
/// `NFTA_IMMEDIATE_DATA`, `NFTA_DATA_VERDICT`; `NFTA_VERDICT_CODE`, `_CHAIN`.
const IMMEDIATE_DATA: u16 = 2;
const VERDICT: u16 = 2;
const CODE: u16 = 1;
const TARGET: u16 = 2;
/// `NFTA_NAT_REG_ADDR_MIN`, `_REG_ADDR_MAX`, `_REG_PROTO_MIN`, `_REG_PROTO_MAX`, `_FLAGS`.
const NAT_ADDRESS: u16 = 3;
const NAT_LAST_ADDRESS: u16 = 4;
const NAT_PORT: u16 = 5;
const NAT_LAST_PORT: u16 = 6;
const NAT_FLAGS: u16 = 7;
/// `NF_NAT_RANGE_MAP_IPS` and `NF_NAT_RANGE_PROTO_SPECIFIED` of `linux/netfilter/nf_nat.h`.
const NAT_GIVEN: u32 = 1 | 2;

/// A chain as the kernel lists it.
pub(super) struct Listed<'a> {
    attributes: Attributes<'a>,
}

impl<'a> Listed<'a> {
    /// What a reply says; `None` where it is of another table.
    pub(super) fn read(reply: &'a Reply, instance: Instance) -> Option<Self> {
        let attributes = reply.attributes(HEADER);
        let ours = attributes.get(TABLE).and_then(|table| table.text()) == Some(instance.as_str());
        ours.then_some(Self { attributes })
    }

    pub(super) fn name(&self) -> &'a str {
        self.attributes.get(CHAIN_NAME).and_then(|name| name.text()).unwrap_or_default()
    }

    /// Whether the kernel enters it just there, or nowhere.
    pub(super) fn stands_at(&self, hook: Option<Hook>) -> bool {
        let Some(listed) = self.attributes.get(CHAIN_HOOK) else { return hook.is_none() };
        let number = |kind| listed.nested().get(kind).and_then(|number| number.be32());
        hook.is_some_and(|hook| {
            let kind = self.attributes.get(CHAIN_TYPE).and_then(|kind| kind.text());
            let place = (number(1), number(2)) == (Some(hook.number), Some(hook.priority.cast_unsigned()));
            place && kind == Some(hook.kind)
        })
    }

    /// Whether what no rule decides on goes on, as in every chain of the layout.
    pub(super) fn accepts(&self) -> bool {
        self.attributes.get(CHAIN_POLICY).is_none_or(|policy| policy.be32() == Some(1))
    }
}

/// Whether a listed rule is this one.
///
/// What was written must be there, in its order; what the kernel adds to it must say nothing.
pub(super) fn is(listed: &Attributes<'_>, rule: &Rule, instance: Instance) -> bool {
    let mut batch = Batch::new();
    batch.push(Kind::new(0), Flags::NONE, |body| expression::write(body, rule, instance));
    let written = Attributes::new(batch.bytes().get(MESSAGE..).unwrap_or_default());
    let Some(listed) = listed.get(RULE_EXPRESSIONS) else { return false };
    written.clone().count() == listed.nested().count()
        && written.zip(listed.nested()).all(|(w, l)| same_expression(&w.nested(), &l.nested()))
}

fn same_expression(written: &Attributes<'_>, listed: &Attributes<'_>) -> bool {
    let name = written.get(NAME).and_then(|name| name.text()).unwrap_or_default();
    let (ours, theirs) = (data(written), data(listed));
    let there = |mine: Attribute<'_>| theirs.get(mine.kind()).is_some_and(|other| same(name, mine, other));
    let known = |other: Attribute<'_>| ours.get(other.kind()).is_some() || says_nothing(name, other, &ours);
    listed.get(NAME).and_then(|other| other.text()) == Some(name)
        && ours.clone().all(there)
        && theirs.clone().all(known)
}

fn data<'a>(expression: &Attributes<'a>) -> Attributes<'a> {
    expression.get(DATA).map_or(Attributes::new(&[]), |data| data.nested())
}

fn same(expression: &str, written: Attribute<'_>, listed: Attribute<'_>) -> bool {
    let verdict = |of: Attribute<'_>| {
        let verdict = of.nested().get(VERDICT)?.nested();
        Some((verdict.get(CODE)?.be32()?, verdict.get(TARGET).map(|chain| chain.payload().to_vec())))
    };
    let verdicts = || verdict(written).is_some_and(|code| Some(code) == verdict(listed));
    let nested = expression == "immediate" && written.kind() == IMMEDIATE_DATA;
    if nested { verdicts() } else { written.payload() == listed.payload() }
}

/// Whether what the kernel lists beside what was written is its usual value.
fn says_nothing(expression: &str, listed: Attribute<'_>, written: &Attributes<'_>) -> bool {
    let repeats = |kind| written.get(kind).is_some_and(|first| first.payload() == listed.payload());
    match (expression, listed.kind()) {
        ("nat", NAT_LAST_ADDRESS) => repeats(NAT_ADDRESS),
        ("nat", NAT_LAST_PORT) => repeats(NAT_PORT),
        ("nat", NAT_FLAGS) => listed.be32().is_some_and(|flags| flags & !NAT_GIVEN == 0),
        _ => listed.payload().iter().all(|&byte| byte == 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nftables::Chain;
    use proptest::prelude::*;

    fn written(rule: &Rule) -> Batch {
        let mut batch = Batch::new();
        batch.push(Kind::new(0), Flags::NONE, |body| {
            body.nest(RULE_EXPRESSIONS, |body| expression::write(body, rule, Instance::default()));
        });
        batch
    }

    #[test]
    fn a_rule_is_itself_and_no_other() {
        let rules = || Chain::ALL.into_iter().flat_map(Chain::rules);
        for one in rules() {
            let batch = written(one);
            let listed = Attributes::new(&batch.bytes()[MESSAGE..]);
            for other in rules() {
                assert_eq!(is(&listed, other, Instance::default()), one == other, "{one:?} {other:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, cut: prop::sample::Index, by: u8) {
            for rule in Chain::ALL.into_iter().flat_map(Chain::rules) {
                let _ = is(&Attributes::new(&bytes), rule, Instance::default());
                let batch = written(rule);
                let mut bytes = batch.bytes()[MESSAGE..].to_vec();
                let place = cut.index(bytes.len());
                bytes[place] ^= by;
                let _ = is(&Attributes::new(&bytes), rule, Instance::default());
                let _ = is(&Attributes::new(&bytes[..place]), rule, Instance::default());
            }
        }
    }
}
