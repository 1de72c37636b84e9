use super::field::{Doubt, Sight};
use super::{Act, Base, Chain, Nat, Rule, Stage, Table, Truth};
use crate::walk::RuleRef;
use std::collections::BTreeMap;

/// `NFT_JUMP_STACK_SIZE` of `net/netfilter/nf_tables.h`; what is deeper no kernel has loaded.
const DEEPEST: usize = 16;
/// So many rules are asked before nobody can tell: an untellable jump doubles the ways to follow.
const LONGEST: usize = 200_000;

/// A rule, or the policy of a chain, by its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<'a> {
    table: &'a Table,
    chain: &'a str,
    text: &'a str,
}

impl At<'_> {
    pub(crate) fn rule(self) -> RuleRef {
        RuleRef::new(&self.table.label(), self.chain, self.text)
    }
}

/// How a packet's way through the chains of a table ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End<'a> {
    /// It goes on, because a rule or the policy says so.
    Accepted(Option<At<'a>>),
    Dropped(At<'a>),
    Translated(At<'a>, Nat),
    /// It came to the end of a chain that is no base chain.
    Returned,
    /// What the rule does is not known.
    Unknown(At<'a>),
}

/// One packet's way through one table.
pub(crate) struct Run<'a> {
    table: &'a Table,
    sight: Sight<'a>,
    base: Option<(&'a str, &'a Base)>,
    care: Care,
    asked: usize,
}

/// What of two possible ends makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// Whether and where the packet goes on.
    Way,
    /// Its source as well.
    Translation,
}

/// The place in a chain where its next rule is.
#[derive(Clone, Copy)]
struct Place<'a> {
    name: &'a str,
    chain: &'a Chain,
    next: usize,
}

/// What comes after a rule that acts.
enum Next<'a> {
    Rule,
    End(End<'a>),
}

impl<'a> Run<'a> {
    /// Through a base chain of the table.
    pub(crate) fn base(
        table: &'a Table,
        (name, base): (&'a str, &'a Base),
        stage: &'a Stage,
        links: &'a BTreeMap<u32, String>,
        care: Care,
    ) -> End<'a> {
        let sight = Sight { stage, priority: base.priority, links };
        Self { table, sight, base: Some((name, base)), care, asked: 0 }.through(name)
    }

    /// Through a chain that a rule of priority 0 jumps to.
    pub(crate) fn chain(
        table: &'a Table,
        name: &'a str,
        stage: &'a Stage,
        links: &'a BTreeMap<u32, String>,
    ) -> End<'a> {
        let sight = Sight { stage, priority: 0, links };
        Self { table, sight, base: None, care: Care::Way, asked: 0 }.through(name)
    }

    fn through(mut self, name: &'a str) -> End<'a> {
        match self.place(name) {
            Some(place) => self.follow(vec![place], 0),
            None => self.end(),
        }
    }

    fn place(&self, name: &str) -> Option<Place<'a>> {
        let (name, chain) = self.table.chains.get_key_value(name)?;
        Some(Place { name, chain, next: 0 })
    }

    /// Follows the rules from here; `depth` is how many untellable jumps led here.
    fn follow(&mut self, mut places: Vec<Place<'a>>, depth: usize) -> End<'a> {
        // Rules that may have ended it, and how.
        let mut doubts: Vec<(At<'a>, End<'a>)> = Vec::new();
        let end = loop {
            let Some(place) = places.last_mut() else { break self.end() };
            let Some(rule) = place.chain.rules.get(place.next) else {
                places.pop();
                continue;
            };
            place.next += 1;
            let at = self.at(place.name, rule);
            self.asked += 1;
            if self.asked > LONGEST {
                break End::Unknown(at);
            }
            match rule.holds(&self.sight) {
                Truth::No => {}
                Truth::Unknown if rule.act == Act::Continue => {}
                Truth::Unknown => doubts.push((at, self.if_held(at, &rule.act, places.clone(), depth))),
                Truth::Yes => match self.act(at, &rule.act, &mut places) {
                    Next::Rule => {}
                    Next::End(end) => break end,
                },
            }
        };
        let care = self.care;
        doubts.into_iter().rev().fold(end, |otherwise, (at, held)| held.or(otherwise, at, care))
    }

    /// How it would end if this rule held.
    fn if_held(&mut self, at: At<'a>, act: &'a Act, mut places: Vec<Place<'a>>, depth: usize) -> End<'a> {
        match self.act(at, act, &mut places) {
            Next::End(end) => end,
            Next::Rule if depth < DEEPEST => self.follow(places, depth + 1),
            Next::Rule => End::Unknown(at),
        }
    }

    fn act(&self, at: At<'a>, act: &'a Act, places: &mut Vec<Place<'a>>) -> Next<'a> {
        let end = match act {
            Act::Continue => return Next::Rule,
            Act::Accept => End::Accepted(Some(at)),
            Act::Drop => End::Dropped(at),
            // No kernel loads such a rule, but a text or a damaged dump may hold one.
            Act::Nat(nat) if !nat.suits(self.sight.stage) => End::Unknown(at),
            Act::Nat(nat) => End::Translated(at, *nat),
            Act::Unknown => End::Unknown(at),
            Act::Return => {
                places.pop();
                return Next::Rule;
            }
            Act::Jump(name) => return self.enter(at, name, places),
            Act::Goto(name) => {
                places.pop();
                return self.enter(at, name, places);
            }
            Act::Decide(decision) => match decision.decide(&self.sight) {
                Ok(None | Some(Act::Decide(_))) => return Next::Rule,
                Ok(Some(act)) => return self.act(at, act, places),
                Err(Doubt) => End::Unknown(at),
            },
        };
        Next::End(end)
    }

    fn enter(&self, at: At<'a>, name: &str, places: &mut Vec<Place<'a>>) -> Next<'a> {
        match self.place(name) {
            Some(place) if places.len() < DEEPEST => {
                places.push(place);
                Next::Rule
            }
            _ => Next::End(End::Unknown(at)),
        }
    }

    /// What comes behind the last rule.
    fn end(&self) -> End<'a> {
        match self.base {
            None => End::Returned,
            Some((chain, base)) if base.drops => {
                End::Dropped(At { table: self.table, chain, text: &base.policy })
            }
            Some(_) => End::Accepted(None),
        }
    }

    fn at(&self, chain: &'a str, rule: &'a Rule) -> At<'a> {
        At { table: self.table, chain, text: &rule.text }
    }
}

impl<'a> End<'a> {
    /// Both are possible, because of a rule of which nobody can tell whether it holds.
    fn or(self, other: Self, why: At<'a>, care: Care) -> Self {
        use End::{Accepted, Dropped, Returned, Translated};
        let goes_on = |end| match end {
            Translated(_, Nat::Source(_) | Nat::Masquerade) => care == Care::Way,
            Accepted(_) => true,
            _ => false,
        };
        match (self, other) {
            (Dropped(_), Dropped(_)) | (Returned, Returned) => other,
            (Translated(_, one), Translated(_, another)) if one == another => other,
            (a, b) if goes_on(a) && goes_on(b) => other,
            _ => Self::Unknown(why),
        }
    }
}
