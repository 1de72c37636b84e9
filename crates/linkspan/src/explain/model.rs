//! What was seen: the host, what is attached to it, and the insides of containers as far as they were looked at.

use super::Place;
use super::routing::Routed;
use crate::{AttachedEndpoint, Attachment, AttachmentId};
use ipnet::IpNet;
use linkspan_nat_rules::foreign::Foreign;
use linkspan_nat_rules::walk::Rules;
use linkspan_net_types::IfName;
use linkspan_veth_bridge::survey::{BridgePort, Survey, SurveyedLink};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// All that an explanation is made of.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) host: Machine,
    pub(crate) attachments: Vec<Attachment>,
    /// The insides that were looked at; `None` where the namespace is gone.
    pub(crate) inside: BTreeMap<AttachmentId, Option<Machine>>,
    /// The bridges of the networks on record.
    pub(crate) bridges: BTreeSet<IfName>,
}

/// One machine: the host, or a container.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) survey: Survey,
    /// What is loaded there, to be walked through, and to be mended.
    pub(crate) rules: Rules,
    pub(crate) loaded: Foreign,
}

impl Machine {
    /// A machine as it was seen, whose bridges of ours are these.
    pub(crate) fn new(survey: Survey, loaded: Foreign, bridges: impl IntoIterator<Item = IfName>) -> Self {
        Self { survey, rules: Rules::everything(loaded.clone(), bridges), loaded }
    }

    pub(crate) const fn routed<'a>(&'a self, at: &'a Place) -> Routed<'a> {
        Routed { at, survey: &self.survey }
    }

    /// Whether it answers for an address on one of its links: an IPv4 address is the whole machine's, one of IPv6
    /// its link's (`arp_process` of `net/ipv4/arp.c`, `ndisc_recv_ns` of `net/ipv6/ndisc.c`).
    pub(crate) fn answers_for(&self, address: IpAddr, link: &str) -> bool {
        let on_link = |own: &str| address.is_ipv4() || own == link;
        let addresses = &self.survey.addresses;
        addresses.iter().any(|own| own.address == address && !own.tentative && on_link(&own.link))
    }

    pub(crate) fn link(&self, name: &str) -> Option<&SurveyedLink> {
        self.survey.links.get(name)
    }
}

/// An endpoint as it stands on the host: its port, and the bridge that it is a port of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plugged<'a> {
    pub(crate) of: &'a Attachment,
    /// Its link inside.
    pub(crate) inside: IfName,
    pub(crate) port: IfName,
    pub(crate) flags: BridgePort,
    /// Whether the port is switched on.
    pub(crate) up: bool,
}

impl Model {
    pub(crate) fn attachment(&self, id: AttachmentId) -> Option<&Attachment> {
        self.attachments.iter().find(|attachment| attachment.id == id)
    }

    /// The endpoints whose ports are on a bridge, whatever the record says of it.
    pub(crate) fn plugged<'a>(&'a self, bridge: &str) -> impl Iterator<Item = Plugged<'a>> {
        let endpoints = self.attachments.iter().flat_map(|of| of.endpoints.iter().map(move |e| (of, e)));
        endpoints.filter_map(move |(of, endpoint)| {
            let link = self.host.link(endpoint.host_link.as_str())?;
            let on_it = link.master.as_deref() == Some(bridge);
            let flags = link.port.filter(|_| on_it)?;
            let (inside, port, up) = (endpoint.link, endpoint.host_link, link.up);
            Some(Plugged { of, inside, port, flags, up })
        })
    }

    /// A port of a bridge that belongs to no endpoint on record.
    pub(crate) fn stranger<'a>(&'a self, bridge: &'a str) -> Option<&'a str> {
        let ports = self.host.survey.links.iter().filter(|(_, link)| link.master.as_deref() == Some(bridge));
        let known = |name: &str| self.plugged(bridge).any(|plugged| plugged.port.as_str() == name);
        ports.map(|(name, _)| name.as_str()).find(|name| !known(name))
    }

    /// The endpoint on record whose container has this address.
    pub(crate) fn holder(&self, address: IpAddr) -> Option<&Attachment> {
        let has = |of: &&Attachment| {
            of.endpoints
                .iter()
                .flat_map(AttachedEndpoint::addresses)
                .map(IpNet::addr)
                .any(|own| own == address)
        };
        self.attachments.iter().find(has)
    }
}
