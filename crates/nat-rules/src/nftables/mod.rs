//! The rules of an instance as one nftables table, `inet INSTANCE`.
//!
//! Sets, chains and rules are made once and are the same on every host; a network adds a handful of
//! elements and a port adds one, so the ten-thousandth port costs what the first did. A change is one
//! transaction of the kernel: it is made whole or not at all.
//!
//! ```
//! use linkspan_nat_rules::nftables::{self, Seen};
//! use linkspan_nat_rules::{Change, Instance, Network};
//!
//! let web = Network::new("ls-web".parse()?).with_subnet("10.88.1.0/24".parse()?);
//! let change = Change::new().add_network(web);
//! let plan = nftables::plan(Instance::default(), &change, &Seen::default())?;
//! assert!(plan.to_string().starts_with("add table inet linkspan\nadd element inet linkspan bridges { \"ls-web\" }\n"));
//!
//! // On paper, a change and its opposite are nothing.
//! let seen = Seen::default().after(&plan);
//! let undo = nftables::plan(Instance::default(), &change.inverse(), &seen)?;
//! assert_eq!(seen.after(&undo), Seen::default());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod element;
pub(crate) mod layout;
mod plan;
mod seen;
pub(crate) mod text;

pub(crate) use element::{Cell, Slot, Value};
pub use element::{Element, Set};
pub use layout::{Chain, LAYOUT};
#[cfg(feature = "kernel")]
pub(crate) use plan::remembered;
pub use plan::{Plan, Step, plan, prune, reconcile};
pub use seen::{Seen, Table};
pub use text::text;

use crate::Ruleset;
use std::collections::BTreeSet;

/// The elements that these rules are made of.
pub(crate) fn elements_of(rules: &Ruleset) -> BTreeSet<Element> {
    let networks = rules.networks().flat_map(Element::of_network);
    networks.chain(rules.published().map(Element::of_publish)).collect()
}
