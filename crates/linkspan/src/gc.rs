//! What is on the host that nobody needs any more, decided from what is on record and what was seen. Nothing here
//! looks or acts.

use crate::mark;
use crate::plan::RulesPlan;
use crate::{Attachment, AttachmentId, ContainerName, Left, NetworkId};
use linkspan_nat_rules::Instance;
use linkspan_net_types::IfName;
use linkspan_veth_bridge::{Link, LinkKind};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

/// What nobody needs any more: it is removed by [`Host::gc`](crate::Host::gc).
///
/// Its text is one line for each thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Garbage {
    pub(crate) unfinished: Vec<String>,
    pub(crate) dead: Vec<Attachment>,
    pub(crate) host_ends: Vec<IfName>,
    pub(crate) bridges: Vec<IfName>,
    pub(crate) rules: RulesPlan,
    pub(crate) leases: Vec<(NetworkId, AttachmentId)>,
    pub(crate) books: Vec<NetworkId>,
    pub(crate) reservations: Vec<NetworkId>,
    pub(crate) claims: Vec<AttachmentId>,
    pub(crate) damaged: Vec<PathBuf>,
    pub(crate) unseen: Vec<ContainerName>,
    pub(crate) unread: Vec<PathBuf>,
}

impl Garbage {
    /// The containers and networks that killed processes were at work on.
    pub fn unfinished(&self) -> &[String] {
        &self.unfinished
    }

    /// The attachments whose container is gone without having been detached.
    pub fn dead(&self) -> &[Attachment] {
        &self.dead
    }

    /// The links that this instance made, and that no record names.
    ///
    /// A link is this instance's by its MAC, which is a hash of the instance and the link's name and is there from the
    /// moment the link is. Links of others, and bridges that were adopted, have other addresses.
    pub fn orphans(&self) -> impl Iterator<Item = IfName> + '_ {
        self.host_ends.iter().chain(&self.bridges).copied()
    }

    /// What our table holds that no record wants.
    ///
    /// Where iptables carries the rules it is a rewriting of our chains, which brings back missing ones too.
    pub const fn rules(&self) -> &RulesPlan {
        &self.rules
    }

    /// The networks on which attachments that no record tells of have addresses, with those attachments.
    pub fn leases(&self) -> &[(NetworkId, AttachmentId)] {
        &self.leases
    }

    /// The networks that are no more, and of which there are leases.
    pub fn books(&self) -> &[NetworkId] {
        &self.books
    }

    /// The networks that are no more, and of which addresses are kept.
    pub fn reservations(&self) -> &[NetworkId] {
        &self.reservations
    }

    /// The attachments that no record tells of, and that have a name, a namespace or a port.
    pub fn claims(&self) -> &[AttachmentId] {
        &self.claims
    }

    /// The records that are empty, cut off or overwritten; what they stood for is among the orphans.
    pub fn damaged(&self) -> &[PathBuf] {
        &self.damaged
    }

    /// What may be garbage or not, and stays: the containers whose namespaces cannot be looked at.
    pub fn unseen(&self) -> &[ContainerName] {
        &self.unseen
    }

    /// The leases and claims that cannot be read: nothing of them is free until [`Host::reconcile`](crate::Host::reconcile) has
    /// written them anew.
    pub fn unread(&self) -> &[PathBuf] {
        &self.unread
    }

    /// Whether there is nothing to remove.
    pub fn is_empty(&self) -> bool {
        self.to_string().is_empty()
    }
}

impl fmt::Display for Garbage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.unfinished
            .iter()
            .try_for_each(|name| writeln!(f, "take back what a killed process was at with `{name}`"))?;
        self.dead.iter().try_for_each(|dead| {
            writeln!(f, "detach `{}` {}, whose container is gone", dead.name, dead.id)
        })?;
        self.host_ends
            .iter()
            .try_for_each(|link| writeln!(f, "delete veth {link}, which is on no record"))?;
        self.bridges
            .iter()
            .try_for_each(|link| writeln!(f, "delete bridge {link}, which is on no record"))?;
        self.rules.fmt(f)?;
        self.leases.iter().try_for_each(|(network, owner)| {
            writeln!(f, "release the addresses of {owner} on network {network}, which is on no record")
        })?;
        self.books.iter().try_for_each(|network| {
            writeln!(f, "remove the leases of network {network}, which is no more")
        })?;
        self.reservations.iter().try_for_each(|network| {
            writeln!(f, "let go of the addresses that are kept of network {network}, which is no more")
        })?;
        self.claims
            .iter()
            .try_for_each(|owner| writeln!(f, "free the claims of {owner}, which is on no record"))?;
        self.damaged
            .iter()
            .try_for_each(|path| writeln!(f, "remove {}, which cannot be read", path.display()))
    }
}

/// What [`Host::gc`](crate::Host::gc) came to.
#[derive(Debug)]
pub struct Collected {
    pub(crate) garbage: Garbage,
    pub(crate) left: Vec<Left>,
}

impl Collected {
    /// What there was to remove.
    pub const fn garbage(&self) -> &Garbage {
        &self.garbage
    }

    /// What could not be removed, and why; the next call tries again.
    pub fn left(&self) -> &[Left] {
        &self.left
    }

    /// What could not be removed, to hand it on.
    pub fn into_left(self) -> Vec<Left> {
        self.left
    }
}

/// What was looked at, on record and on the host.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) instance: Instance,
    pub(crate) unfinished: Vec<String>,
    pub(crate) dead: Vec<Attachment>,
    pub(crate) unseen: Vec<ContainerName>,
    /// Every attachment on record, or on its way there or away.
    pub(crate) attachments: BTreeSet<AttachmentId>,
    /// Every network that is defined, or up, or on its way there or away.
    pub(crate) networks: BTreeSet<NetworkId>,
    /// The links that a record names.
    pub(crate) recorded: BTreeSet<IfName>,
    /// All links of the host.
    pub(crate) links: BTreeMap<String, Link>,
    pub(crate) rules: RulesPlan,
    /// Who has leases on which network.
    pub(crate) lessees: Vec<Lessees>,
    /// The networks of which addresses are kept.
    pub(crate) keeping: Vec<NetworkId>,
    /// Who has claims, or the file in which that cannot be read.
    pub(crate) claimants: Result<Vec<AttachmentId>, PathBuf>,
    pub(crate) damaged: Vec<PathBuf>,
}

/// A network, and who has leases on it, or the file in which that cannot be read.
pub(crate) type Lessees = (NetworkId, Result<Vec<AttachmentId>, PathBuf>);

/// Decides what of it nobody needs.
pub(crate) fn garbage(survey: Survey) -> Garbage {
    let (host_ends, bridges) = orphans(&survey);
    let stray = |id: &AttachmentId| !survey.attachments.contains(id);
    let (known, gone): (Vec<_>, Vec<_>) =
        survey.lessees.iter().partition(|(network, _)| survey.networks.contains(network));
    let unread = known.iter().filter_map(|(_, owners)| owners.clone().err());
    let unread = unread.chain(survey.claimants.clone().err()).collect();
    let of = |(network, owners): &Lessees| -> Vec<_> {
        owners.iter().flatten().copied().filter(stray).map(|owner| (*network, owner)).collect()
    };
    let leases = known.into_iter().flat_map(of).collect();
    let books = gone.into_iter().map(|(network, _)| *network).collect();
    let reservations = survey.keeping.iter().copied().filter(|id| !survey.networks.contains(id)).collect();
    let claims = survey.claimants.iter().flatten().copied().filter(stray).collect();
    let Survey { unfinished, dead, unseen, rules, damaged, .. } = survey;
    Garbage {
        unfinished,
        dead,
        host_ends,
        bridges,
        rules,
        leases,
        books,
        reservations,
        claims,
        damaged,
        unseen,
        unread,
    }
}

/// The host ends and the bridges of ours that no record names.
fn orphans(survey: &Survey) -> (Vec<IfName>, Vec<IfName>) {
    let named = survey.links.iter().filter_map(|(name, link)| Some((name.parse::<IfName>().ok()?, link)));
    let ours = named.filter(|(name, link)| mark::is_ours(survey.instance, *name, link));
    // A bridge on no record is still that of a container which is on one.
    let has_port = |name: &IfName| {
        let mut ports = survey.recorded.iter().filter_map(|port| survey.links.get(port.as_str()));
        ports.any(|port| port.master.as_deref() == Some(name.as_str()))
    };
    let orphans = ours.filter(|(name, _)| !survey.recorded.contains(name) && !has_port(name));
    let (ends, bridges): (Vec<_>, Vec<_>) = orphans.partition(|(_, link)| link.kind == LinkKind::Veth);
    let names = |links: Vec<(IfName, &Link)>| links.into_iter().map(|(name, _)| name).collect();
    (names(ends), names(bridges))
}

#[cfg(test)]
mod tests {
    use super::*;
    use linkspan_net_types::Mac;
    use linkspan_veth_bridge::BridgeFacts;

    const BRIDGE: LinkKind = LinkKind::Bridge(BridgeFacts { calls_iptables: false, ports: None });

    fn id(number: u8) -> AttachmentId {
        format!("{number:016x}").parse().unwrap()
    }

    fn network(number: u8) -> NetworkId {
        format!("{number:012x}").parse().unwrap()
    }

    fn link(name: &str, kind: LinkKind, mac: Mac) -> (String, Link) {
        (name.to_owned(), Link { kind, mac: Some(mac), ..Link::default() })
    }

    /// A host with a link of ours on record, one that is on none, and links of others.
    fn survey() -> Survey {
        let ours = Instance::default();
        let end = |name: &str, of: Instance| {
            link(name, LinkKind::Veth, mark::of_host_end(of, name.parse().unwrap()))
        };
        let bridge = |name: &str| link(name, BRIDGE, mark::of_bridge(ours, name.parse().unwrap()));
        let links = [
            end("vethls1", ours),
            end("vethls2", ours),
            end("vethls3", "ci".parse().unwrap()),
            bridge("ls-a"),
            bridge("ls-b"),
            link("ls-c", BRIDGE, "02:00:00:00:00:01".parse().unwrap()),
            link("vethls4", LinkKind::Veth, "fe:00:00:00:00:01".parse().unwrap()),
        ];
        Survey {
            instance: ours,
            unfinished: Vec::new(),
            dead: Vec::new(),
            unseen: Vec::new(),
            attachments: [id(1)].into(),
            networks: [network(1)].into(),
            recorded: ["vethls1", "ls-a"].map(|name| name.parse().unwrap()).into(),
            links: links.into(),
            rules: RulesPlan::None,
            lessees: vec![(network(1), Ok(vec![id(1), id(2)])), (network(2), Ok(vec![id(1)]))],
            keeping: vec![network(1), network(3)],
            claimants: Ok(vec![id(1), id(3)]),
            damaged: vec!["/run/linkspan/pending/x".into()],
        }
    }

    #[test]
    fn what_no_record_names_is_garbage_and_what_others_made_is_not() {
        let expected = "\
delete veth vethls2, which is on no record
delete bridge ls-b, which is on no record
release the addresses of 0000000000000002 on network 000000000001, which is on no record
remove the leases of network 000000000002, which is no more
let go of the addresses that are kept of network 000000000003, which is no more
free the claims of 0000000000000003, which is on no record
remove /run/linkspan/pending/x, which cannot be read
";
        assert_eq!(garbage(survey()).to_string(), expected);
    }

    #[test]
    fn where_all_is_on_record_there_is_no_garbage() {
        let all = Survey {
            attachments: [id(1), id(2), id(3)].into(),
            networks: [network(1), network(2), network(3)].into(),
            recorded: ["vethls1", "vethls2", "ls-a", "ls-b"].map(|name| name.parse().unwrap()).into(),
            damaged: Vec::new(),
            ..survey()
        };
        assert!(garbage(all).is_empty());
    }
}
