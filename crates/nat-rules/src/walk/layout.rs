//! The nftables layout, run for one packet: the same chains and rules that text and messages are written of.

use super::RuleRef;
use crate::Instance;
use crate::netfilter::{End as Foreign, Hook, Link, Nat, Run, Stage, Table};
use crate::nftables::layout::{Act, Field, Match, Rule};
use crate::nftables::text::{Named, Ruled};
use crate::nftables::{Cell, Chain, Element, Set, Slot, Value};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The table of an instance.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    instance: Instance,
    elements: BTreeMap<Slot, Value>,
    /// The table as it was dumped, for the user's own rules in it.
    dumped: Option<Table>,
}

/// How a packet's way through a chain ends.
pub(super) enum End {
    /// With its last rule.
    Through,
    Accepted,
    Dropped(RuleRef),
    Translated(Nat),
    Unknown(RuleRef),
}

/// The parts of a key.
enum Key {
    /// The packet is of the other family, which ends the rule.
    Inapplicable,
    /// A part has no value that a set could hold.
    InNone,
    Of(Vec<Cell>),
}

impl Loaded {
    pub(super) fn new(instance: Instance, elements: impl IntoIterator<Item = Element>) -> Self {
        let elements = elements.into_iter().map(|element| (element.slot, element.value)).collect();
        Self { instance, elements, dumped: None }
    }

    pub(super) fn with_dump(self, dumped: Table) -> Self {
        Self { dumped: Some(dumped), ..self }
    }

    /// The chains that the kernel enters at this stage, in their order.
    pub(super) fn entered(stage: &Stage) -> impl Iterator<Item = Chain> {
        let mut entered: Vec<_> = Chain::ALL
            .into_iter()
            .filter_map(|chain| Some((chain, chain.hook()?)))
            .filter(|(_, hook)| {
                (Some(stage.hook), hook.kind) == (hook_of(hook.number), hook.kind)
                    && stage.priorities.contains(&hook.priority)
                    && (hook.kind != "nat" || stage.asks_nat)
            })
            .collect();
        entered.sort_by_key(|(_, hook)| hook.priority);
        entered.into_iter().map(|(chain, _)| chain)
    }

    /// Runs a chain; rules that act are added to the trace.
    pub(super) fn run(&self, chain: Chain, stage: &Stage, trace: &mut Vec<RuleRef>) -> End {
        for rule in chain.rules().iter().filter(|rule| is_of_family(rule, stage) && self.holds(rule, stage)) {
            let at = || self.rule(chain, rule);
            let end = match rule.act {
                Act::Accept => End::Accepted,
                Act::Drop => End::Dropped(at()),
                Act::Return => End::Through,
                Act::Masquerade => End::Translated(Nat::Masquerade),
                Act::Jump(Chain::User) => self.user(stage, trace),
                Act::Jump(chain) => self.run(chain, stage, trace),
                Act::Decide(key, map) => match self.find(key, map, stage) {
                    Some(Value::Accept) => End::Accepted,
                    Some(Value::Goto(chain)) => {
                        trace.push(at());
                        return self.run(chain, stage, trace);
                    }
                    _ => continue,
                },
                Act::Dnat4(key, map) | Act::Dnat6(key, map) => match self.find(key, map, stage) {
                    Some(Value::To(to)) => {
                        End::Translated(Nat::Target(Some((to.address(), Some(to.port())))))
                    }
                    _ => continue,
                },
                Act::Snat4(key, map) | Act::Snat6(key, map) => match self.find(key, map, stage) {
                    Some(Value::Address(address)) => End::Translated(Nat::Source(Some(address))),
                    _ => continue,
                },
            };
            match rule.act {
                Act::Jump(_) => match end {
                    End::Through => {}
                    end => return end,
                },
                _ => {
                    trace.push(at());
                    return end;
                }
            }
        }
        End::Through
    }

    /// The user's own rules.
    fn user(&self, stage: &Stage, trace: &mut Vec<RuleRef>) -> End {
        let name = Named { chain: Chain::User, instance: self.instance }.to_string();
        let Some((dumped, (name, _))) =
            self.dumped.as_ref().and_then(|table| Some((table, table.chains.get_key_value(&name)?)))
        else {
            return End::Through;
        };
        match Run::chain(dumped, name, stage, &BTreeMap::new()) {
            Foreign::Returned => End::Through,
            Foreign::Accepted(at) => {
                if let Some(at) = at {
                    trace.push(at.rule());
                }
                End::Accepted
            }
            Foreign::Dropped(at) => End::Dropped(at.rule()),
            Foreign::Translated(at, _) | Foreign::Unknown(at) => End::Unknown(at.rule()),
        }
    }

    fn rule(&self, chain: Chain, rule: &Rule) -> RuleRef {
        let instance = self.instance;
        let text = Ruled { rule, instance }.to_string();
        RuleRef::new(&format!("inet {instance}"), &Named { chain, instance }.to_string(), &text)
    }

    fn holds(&self, rule: &Rule, stage: &Stage) -> bool {
        rule.when.iter().all(|condition| match *condition {
            Match::In(key, set) => self.find(key, set, stage).is_some(),
            Match::NotIn(key, set) => match key_of(key, stage) {
                Key::Inapplicable => false,
                Key::InNone => true,
                Key::Of(cells) => self.get(set, cells).is_none(),
            },
            Match::Begins(field, octets, _) => address(field, stage).is_some_and(|a| begins(a, octets)),
            Match::Carries(number, _) => stage.protocol() == number,
            Match::ToHost => stage.to_host,
            Match::NotToHost => !stage.to_host,
            Match::Published => stage.published,
            Match::Answer => stage.state != super::State::New,
        })
    }

    fn find(&self, key: &[Field], set: Set, stage: &Stage) -> Option<Value> {
        match key_of(key, stage) {
            Key::Of(cells) => self.get(set, cells),
            Key::Inapplicable | Key::InNone => None,
        }
    }

    fn get(&self, set: Set, key: Vec<Cell>) -> Option<Value> {
        if !set.shape().interval {
            return self.elements.get(&Slot { set, key }).copied();
        }
        let first = Slot { set, key: Vec::new() };
        let of_set = self.elements.range(first..).take_while(|(slot, _)| slot.set == set);
        let within = |slot: &Slot| {
            slot.key.len() == key.len()
                && slot.key.iter().zip(&key).all(|(own, asked)| match (own, asked) {
                    (Cell::Subnet(subnet), Cell::Address(address)) => subnet.contains(address),
                    (own, asked) => own == asked,
                })
        };
        of_set.filter(|(slot, _)| within(slot)).map(|(_, value)| *value).next()
    }
}

/// A translation passes over the packets of the other family.
const fn is_of_family(rule: &Rule, stage: &Stage) -> bool {
    match rule.act {
        Act::Dnat4(..) | Act::Snat4(..) => !stage.is_v6(),
        Act::Dnat6(..) | Act::Snat6(..) => stage.is_v6(),
        _ => true,
    }
}

/// `NF_INET_*` of `linux/netfilter.h`.
const fn hook_of(number: u32) -> Option<Hook> {
    match number {
        0 => Some(Hook::Prerouting),
        1 => Some(Hook::Input),
        2 => Some(Hook::Forward),
        3 => Some(Hook::Output),
        4 => Some(Hook::Postrouting),
        _ => None,
    }
}

fn key_of(fields: &[Field], stage: &Stage) -> Key {
    let link = |link: Link| link.name().map(Cell::Link);
    let mut cells = Vec::with_capacity(fields.len());
    for field in fields {
        let cell = match field {
            Field::In => link(stage.input),
            Field::Out => link(stage.output),
            Field::Protocol => stage.carried.protocol().map(Cell::Protocol),
            Field::Port => stage.carried.target_port().map(Cell::Port),
            Field::Source4 | Field::Source6 | Field::Target4 | Field::Target6 => {
                match address(*field, stage) {
                    Some(address) => Some(Cell::Address(address)),
                    None => return Key::Inapplicable,
                }
            }
        };
        match cell {
            Some(cell) => cells.push(cell),
            None => return Key::InNone,
        }
    }
    Key::Of(cells)
}

/// The address that the field names, where the packet is of its family.
fn address(field: Field, stage: &Stage) -> Option<IpAddr> {
    let (address, v6) = match field {
        Field::Source4 => (stage.source?, false),
        Field::Source6 => (stage.source?, true),
        Field::Target4 => (stage.target, false),
        Field::Target6 => (stage.target, true),
        _ => return None,
    };
    Some(address).filter(|address| address.is_ipv6() == v6)
}

fn begins(address: IpAddr, with: &[u8]) -> bool {
    match address {
        IpAddr::V4(address) => address.octets().starts_with(with),
        IpAddr::V6(address) => address.octets().starts_with(with),
    }
}
