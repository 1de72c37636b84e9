//! From the kernel's messages to what they say. No bytes make it panic.

use super::uapi;
use crate::{AddressGeneration, BridgeFacts, Group, Ipv6Setup, Link, LinkKind, PortFlags, Route};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use linkspan_net_types::{IfIndex, Mac};
use linkspan_netlink::{Attribute, Attributes};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A link as one message tells it: addresses and the master's name are told elsewhere.
#[derive(Debug, PartialEq)]
pub(super) struct Told {
    pub(super) index: IfIndex,
    pub(super) name: String,
    pub(super) master: Option<IfIndex>,
    pub(super) link: Link,
}

pub(super) fn link(message: &[u8]) -> Option<Told> {
    let header = message.first_chunk::<{ uapi::LINK_HEADER }>()?;
    let index = IfIndex::new(word(header, 4)?)?;
    let mut told = Told { index, name: String::new(), master: None, link: Link::default() };
    told.link.up = word(header, 8)? & uapi::IFF_UP != 0;
    for attribute in behind::<{ uapi::LINK_HEADER }>(message) {
        told.take(attribute);
    }
    (!told.name.is_empty()).then_some(told)
}

impl Told {
    fn take(&mut self, attribute: Attribute<'_>) {
        match attribute.kind() {
            uapi::IFLA_IFNAME => self.name = attribute.text().unwrap_or_default().to_owned(),
            uapi::IFLA_ADDRESS => self.link.mac = attribute.array().and_then(Mac::from_bytes),
            uapi::IFLA_MTU => self.link.mtu = attribute.u32().unwrap_or_default(),
            uapi::IFLA_GROUP => self.link.group = attribute.u32().and_then(Group::new),
            uapi::IFLA_MASTER => self.master = attribute.u32().and_then(IfIndex::new),
            uapi::IFLA_LINKINFO => self.take_info(&attribute.nested()),
            uapi::IFLA_AF_SPEC => self.take_families(&attribute.nested()),
            _ => {}
        }
    }

    fn take_info(&mut self, info: &Attributes<'_>) {
        let data = info.get(uapi::IFLA_INFO_DATA).map(|a| a.nested());
        self.link.kind = match info.get(uapi::IFLA_INFO_KIND).and_then(|a| a.text()) {
            Some("bridge") => LinkKind::Bridge(bridge(data.as_ref())),
            Some("veth") => LinkKind::Veth,
            Some(other) => LinkKind::Other(other.to_owned()),
            None => LinkKind::Device,
        };
        if info.get(uapi::IFLA_INFO_SLAVE_KIND).and_then(|a| a.text()) == Some("bridge") {
            let data = info.get(uapi::IFLA_INFO_SLAVE_DATA).map(|a| a.nested());
            let set = |kind| is_set(data.as_ref(), kind);
            self.link.port = Some(PortFlags {
                hairpin: set(uapi::IFLA_BRPORT_MODE),
                isolated: set(uapi::IFLA_BRPORT_ISOLATED),
            });
        }
    }

    fn take_families(&mut self, families: &Attributes<'_>) {
        if let Some(inet) = families.get(uapi::AF_INET.into()) {
            let conf = inet.nested().get(uapi::IFLA_INET_CONF);
            let place = usize::from(uapi::IPV4_DEVCONF_ROUTE_LOCALNET) - 1;
            self.link.route_localnet = conf.and_then(|a| setting(&a, place)).is_some_and(|n| n != 0);
        }
        self.link.ipv6 = families.get(uapi::AF_INET6.into()).and_then(|inet6| {
            let conf = inet6.nested().get(uapi::IFLA_INET6_CONF)?;
            let hears_routers = setting(&conf, uapi::DEVCONF_ACCEPT_RA)? != 0;
            let generation = generation(setting(&conf, uapi::DEVCONF_ADDR_GEN_MODE)?);
            Some(Ipv6Setup { hears_routers, generation })
        });
    }
}

fn bridge(data: Option<&Attributes<'_>>) -> BridgeFacts {
    let calls = [uapi::IFLA_BR_NF_CALL_IPTABLES, uapi::IFLA_BR_NF_CALL_IP6TABLES];
    BridgeFacts { calls_iptables: calls.iter().any(|&kind| is_set(data, kind)), ports: None }
}

fn generation(mode: i32) -> AddressGeneration {
    match mode {
        uapi::IN6_ADDR_GEN_MODE_EUI64 => AddressGeneration::Eui64,
        mode if mode == i32::from(uapi::IN6_ADDR_GEN_MODE_NONE) => AddressGeneration::None,
        mode => AddressGeneration::Other(mode),
    }
}

fn is_set(data: Option<&Attributes<'_>>, kind: u16) -> bool {
    data.and_then(|data| data.get(kind)).and_then(|a| a.u8()).is_some_and(|byte| byte != 0)
}

/// One number of the array that a link's settings come as.
fn setting(conf: &Attribute<'_>, place: usize) -> Option<i32> {
    word(conf.payload(), place * 4).map(u32::cast_signed)
}

/// The attributes behind a fixed header.
fn behind<const HEADER: usize>(message: &[u8]) -> Attributes<'_> {
    Attributes::new(message.get(HEADER..).unwrap_or_default())
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|&word| u32::from_ne_bytes(word))
}

/// An address and the index of its link.
pub(super) fn address(message: &[u8]) -> Option<(IfIndex, IpNet)> {
    let &[family, prefix, _, _, a, b, c, d] = message.first_chunk::<{ uapi::ADDRESS_HEADER }>()?;
    let index = IfIndex::new(u32::from_ne_bytes([a, b, c, d]))?;
    let attributes = behind::<{ uapi::ADDRESS_HEADER }>(message);
    // Of a point-to-point address IFA_ADDRESS is the other end's; IPv6 has IFA_LOCAL only there.
    let local = attributes.get(uapi::IFA_LOCAL).or_else(|| attributes.get(uapi::IFA_ADDRESS))?;
    Some((index, net(ip(family, &local)?, prefix)?))
}

/// A group that a link has joined.
pub(super) fn group(message: &[u8]) -> Option<Ipv6Addr> {
    let group = behind::<{ uapi::ADDRESS_HEADER }>(message).get(uapi::IFA_MULTICAST)?;
    group.array::<16>().map(Ipv6Addr::from)
}

/// A unicast route and the index of its link.
pub(super) fn route(message: &[u8]) -> Option<(Option<IfIndex>, Route)> {
    let &[family, prefix, _, _, table, _, _, kind, ..] = message.first_chunk::<{ uapi::ROUTE_HEADER }>()?;
    if kind != uapi::RTN_UNICAST || table != uapi::RT_TABLE_MAIN {
        return None;
    }
    let attributes = behind::<{ uapi::ROUTE_HEADER }>(message);
    let find = |kind| attributes.get(kind);
    let destination = match find(uapi::RTA_DST) {
        Some(destination) => ip(family, &destination)?,
        None => unspecified(family)?,
    };
    let route = Route {
        destination: net(destination, prefix)?,
        gateway: find(uapi::RTA_GATEWAY).and_then(|a| ip(family, &a)),
        link: None,
        metric: find(uapi::RTA_PRIORITY).and_then(|a| a.u32()).unwrap_or_default(),
    };
    Some((find(uapi::RTA_OIF).and_then(|a| a.u32()).and_then(IfIndex::new), route))
}

pub(super) fn unspecified(family: u8) -> Option<IpAddr> {
    match family {
        uapi::AF_INET => Some(Ipv4Addr::UNSPECIFIED.into()),
        uapi::AF_INET6 => Some(Ipv6Addr::UNSPECIFIED.into()),
        _ => None,
    }
}

pub(super) fn ip(family: u8, attribute: &Attribute<'_>) -> Option<IpAddr> {
    match family {
        uapi::AF_INET => attribute.array::<4>().map(IpAddr::from),
        uapi::AF_INET6 => attribute.array::<16>().map(IpAddr::from),
        _ => None,
    }
}

fn net(address: IpAddr, prefix: u8) -> Option<IpNet> {
    match address {
        IpAddr::V4(v4) => Ipv4Net::new(v4, prefix).ok().map(IpNet::V4),
        IpAddr::V6(v6) => Ipv6Net::new(v6, prefix).ok().map(IpNet::V6),
    }
}

#[cfg(test)]
mod tests;
