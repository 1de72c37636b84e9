use super::element::Element;
use super::layout::{Act, Chain, Field, LAYOUT, Leads, Match, Rule, Shape, Type};
use super::{Set, elements_of};
use crate::{Instance, Ruleset};
use std::fmt::{self, Display};

/// The whole table of these rules as nft prints it, one element on a line.
///
/// It is for people and for tests; the kernel is spoken to by netlink, from the same source. Nothing in it
/// but addresses, numbers and names of links comes from outside.
///
/// ```
/// use linkspan_nat_rules::{Change, Instance, Network, Ruleset, nftables};
///
/// let web = Network::new("ls-web".parse()?).with_subnet("10.88.1.0/24".parse()?);
/// let rules = Ruleset::new().after(&Change::new().add_network(web))?;
/// let text = nftables::text(Instance::default(), &rules);
/// assert!(text.contains("elements = { 10.88.1.0/24 . \"ls-web\" }"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn text(instance: Instance, rules: &Ruleset) -> String {
    Table { instance, rules }.to_string()
}

struct Table<'a> {
    instance: Instance,
    rules: &'a Ruleset,
}

impl Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet {} {{", self.instance)?;
        writeln!(f, "\tcomment \"{COMMENT}\"")?;
        let elements = elements_of(self.rules);
        for set in Set::ALL {
            let of_set = elements.iter().filter(|e| e.set() == set);
            write_set(f, set.shape(), of_set)?;
        }
        writeln!(f, "\tchain {} {{\n\t}}", marker(LAYOUT))?;
        for chain in Chain::ALL {
            f.write_str("\n")?;
            write_chain(f, chain, self.instance)?;
        }
        f.write_str("}\n")
    }
}

/// The comment of the table, by which it is known for ours.
pub(crate) const COMMENT: &str = "made by linkspan";
const MARKER: &str = "layout_";

/// The name of the empty chain that says which layout the table has: unlike the comment of a table, a chain
/// can be replaced in a transaction.
pub(crate) fn marker(layout: u32) -> String {
    format!("{MARKER}{layout}")
}

/// The layout that the name of a chain says.
#[cfg(feature = "kernel")]
pub(crate) fn read_marker(chain: &str) -> Option<u32> {
    chain.strip_prefix(MARKER)?.parse().ok()
}

fn write_set<'a>(
    f: &mut fmt::Formatter<'_>,
    shape: Shape,
    elements: impl Iterator<Item = &'a Element>,
) -> fmt::Result {
    let word = if shape.leads.is_some() { "map" } else { "set" };
    write!(f, "\t{word} {} {{\n\t\ttype {}", shape.name, Concat(shape.key.iter().map(|t| t.name())))?;
    match shape.leads {
        None => {}
        Some(Leads::Verdict) => f.write_str(" : verdict")?,
        Some(Leads::To(types)) => write!(f, " : {}", Concat(types.iter().copied().map(Type::name)))?,
    }
    f.write_str(if shape.interval { "\n\t\tflags interval\n" } else { "\n" })?;
    let mut separator = "\t\telements = { ";
    for element in elements {
        write!(f, "{separator}{element}")?;
        separator = ",\n\t\t\t     ";
    }
    f.write_str(if separator.starts_with(',') { " }\n" } else { "" })?;
    f.write_str("\t}\n\n")
}

fn write_chain(f: &mut fmt::Formatter<'_>, chain: Chain, instance: Instance) -> fmt::Result {
    writeln!(f, "\tchain {} {{", Named { chain, instance })?;
    if let Some(hook) = chain.hook() {
        let (kind, name, priority) = (hook.kind, hook.name, hook.priority_name);
        writeln!(f, "\t\ttype {kind} hook {name} priority {priority}; policy accept;")?;
    }
    for rule in chain.rules() {
        writeln!(f, "\t\t{}", Ruled { rule, instance })?;
    }
    f.write_str("\t}\n")
}

/// A rule in the table of an instance.
pub(crate) struct Ruled<'a> {
    pub(crate) rule: &'a Rule,
    pub(crate) instance: Instance,
}

impl Display for Ruled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, instance } = *self;
        for condition in rule.when {
            write!(f, "{condition} ")?;
        }
        match rule.act {
            Act::Jump(chain) => write!(f, "jump {}", Named { chain, instance }),
            act => act.fmt(f),
        }
    }
}

impl Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(fields, set) => write!(f, "{} @{}", fields_text(fields), set.as_str()),
            Self::NotIn(fields, set) => write!(f, "{} != @{}", fields_text(fields), set.as_str()),
            Self::Begins(field, _, prefix) => write!(f, "{} {prefix}", field.text()),
            Self::Carries(_, name) => write!(f, "meta l4proto {name}"),
            Self::ToHost => f.write_str("fib daddr type local"),
            Self::NotToHost => f.write_str("fib daddr type != local"),
            Self::Published => f.write_str("ct status dnat"),
            Self::Answer => f.write_str("ct state established,related"),
        }
    }
}

impl Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Masquerade => f.write_str("masquerade"),
            Self::Jump(chain) => write!(f, "jump {}", chain.fixed_name()),
            Self::Decide(key, map) => write!(f, "{} vmap @{}", fields_text(key), map.as_str()),
            Self::Dnat4(key, map) => write!(f, "dnat ip to {} map @{}", fields_text(key), map.as_str()),
            Self::Dnat6(key, map) => write!(f, "dnat ip6 to {} map @{}", fields_text(key), map.as_str()),
            Self::Snat4(key, map) => write!(f, "snat ip to {} map @{}", fields_text(key), map.as_str()),
            Self::Snat6(key, map) => write!(f, "snat ip6 to {} map @{}", fields_text(key), map.as_str()),
        }
    }
}

fn fields_text(fields: &'static [Field]) -> impl Display {
    Concat(fields.iter().copied().map(Field::text))
}

/// Words with ` . ` between them.
struct Concat<I>(I);

impl<I: Iterator<Item = &'static str> + Clone> Display for Concat<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, word) in self.0.clone().enumerate() {
            write!(f, "{}{word}", if i == 0 { "" } else { " . " })?;
        }
        Ok(())
    }
}

/// The name of a chain in the table of an instance.
pub(crate) struct Named {
    pub(crate) chain: Chain,
    pub(crate) instance: Instance,
}

impl Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.chain {
            Chain::User => write!(f, "{}-user", self.instance),
            chain => f.write_str(chain.fixed_name()),
        }
    }
}

impl Chain {
    /// Its name, which but for the user's chain is the same in every instance.
    pub(crate) const fn fixed_name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::DnatOnly => "dnat_only",
            Self::ToNat => "to_nat",
            Self::ToRouted => "to_routed",
            Self::ToOpen => "to_open",
            Self::Publish => "publish",
            Self::Early => "early",
            Self::Forward => "forward",
            Self::Prerouting => "prerouting",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        }
    }
}
