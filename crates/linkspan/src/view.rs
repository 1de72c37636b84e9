use crate::plan::{Plan, RulesPlan};
use linkspan_nat_rules::nftables;
use linkspan_veth_bridge as links;
use std::collections::BTreeSet;

/// All that an attachment could change, as it is seen at one moment: the host's links, the container's
/// links, and our rules.
///
/// Applying a plan to it on paper gives what is seen after the plan was performed.
#[derive(Clone, Debug)]
pub struct View {
    pub(crate) links: links::Seen,
    pub(crate) rules: Option<nftables::Seen>,
}

impl View {
    /// What is seen once the plan is performed.
    #[must_use]
    pub fn after(&self, plan: &Plan) -> Self {
        let networks = plan.networks().iter().map(|network| (network.links(), network.rules()));
        networks.chain([(plan.links(), plan.rules())]).fold(self.clone(), |view, (links, rules)| {
            let links = view.links.after(links);
            let rules = view.rules.map(|seen| match rules {
                RulesPlan::Nftables(plan) => seen.after(plan),
                RulesPlan::Iptables(_) | RulesPlan::None => seen,
            });
            Self { links, rules }
        })
    }

    /// One line for each link, default route, setting and element that is seen.
    ///
    /// Rules are among them where nftables carries them; iptables has no elements.
    pub fn lines(&self) -> BTreeSet<String> {
        let spaces = [("host", Some(&self.links.host)), ("container", self.links.container.as_ref())];
        let mut lines = BTreeSet::new();
        for (side, space) in spaces {
            let Some(space) = space else { continue };
            lines.extend(space.links.iter().map(|(name, link)| format!("{side}: link {name}: {link:?}")));
            lines.extend(space.default_routes.iter().map(|route| format!("{side}: route {route:?}")));
        }
        lines.insert(format!("host: forwarding {:?}", self.links.forwarding));
        if let Some(rules) = &self.rules {
            lines.insert(format!("host: table {:?}", rules.table()));
            lines.extend(rules.elements().map(|element| format!("host: element {element}")));
        }
        lines
    }
}
