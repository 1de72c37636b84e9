use crate::plan::RulesPlan;
use crate::{ContainerName, Left};
use linkspan_veth_bridge as links;
use std::fmt;
use std::path::PathBuf;

/// What was brought back, or would be; empty where the host is as the records say.
///
/// Its text is one line for each thing.
#[derive(Debug)]
pub struct Reconciled {
    pub(crate) rebuilt: Vec<PathBuf>,
    pub(crate) rules: RulesPlan,
    pub(crate) links: links::Plan,
    pub(crate) containers: Vec<Mended>,
    pub(crate) left: Vec<Left>,
}

/// What was missing of the links of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mended {
    pub(crate) name: ContainerName,
    pub(crate) links: links::Plan,
}

impl Mended {
    /// The container.
    pub const fn name(&self) -> &ContainerName {
        &self.name
    }

    /// Its links, their addresses, routes and flags, on both sides.
    pub const fn links(&self) -> &links::Plan {
        &self.links
    }
}

impl Reconciled {
    /// The files that could not be read, and were written anew from what the others say.
    pub fn rebuilt(&self) -> &[PathBuf] {
        &self.rebuilt
    }

    /// The rules that were missing, or too many.
    pub const fn rules(&self) -> &RulesPlan {
        &self.rules
    }

    /// What was missing of the bridges.
    pub const fn links(&self) -> &links::Plan {
        &self.links
    }

    /// What was missing of the containers' links, for each of which anything was.
    pub fn containers(&self) -> &[Mended] {
        &self.containers
    }

    /// What cannot be brought back, and why.
    pub fn left(&self) -> &[Left] {
        &self.left
    }

    /// What cannot be brought back, to hand it on.
    pub fn into_left(self) -> Vec<Left> {
        self.left
    }

    /// Whether nothing is missing, or nothing of it can be brought back.
    pub fn is_empty(&self) -> bool {
        let files_and_containers = self.rebuilt.is_empty() && self.containers.is_empty();
        files_and_containers && self.rules.is_empty() && self.links.is_empty()
    }
}

impl fmt::Display for Reconciled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rebuilt.iter().try_for_each(|path| writeln!(f, "rebuild {}", path.display()))?;
        write!(f, "{}{}", self.rules, self.links)?;
        self.containers.iter().try_for_each(|Mended { name, links }| {
            links.steps().iter().try_for_each(|step| writeln!(f, "{name}: {step}"))
        })
    }
}
