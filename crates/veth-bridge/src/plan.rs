//! Decides: from what is wanted and what is seen to the steps between.
//!
//! A plan holds the difference only, so planning again after it was performed gives an empty one, and a
//! half-made thing is finished rather than refused. Nothing here looks at the host.

use crate::address::{is_link_local, overlap};
use crate::draft::Draft;
use crate::paper::default_route;
use crate::{
    Bridge, Error, Family, Group, Link, LinkKind, Ownership, Place, Plan, Route, Seen, Space, Step, Veth,
};
use ipnet::IpNet;
use linkspan_net_types::{IfName, Mtu};
use std::net::IpAddr;

/// `BR_MAX_PORTS` of the kernel's `net/bridge/br_private.h`, less port 0 which is none.
const BRIDGE_PORTS: usize = 1023;

/// Plans what makes the bridge as it is wanted, up and with its addresses.
///
/// One of ours is made or brought in line; where someone else made another of its name since, which its MAC
/// tells, that one is refused and not touched. IPv6 comes to it only by the wanted addresses, never from its MAC
/// or a router's advertisement. An adopted one only gets what it lacks, and is not made again.
///
/// ```
/// use linkspan_veth_bridge::{Bridge, Mac, Mtu, Seen, plan};
///
/// let bridge = Bridge::new("br-web".parse()?, Mac::of_address("10.88.0.1".parse()?), Mtu::new(1400).unwrap())
///     .with_address("10.88.0.1/24".parse()?);
/// let plan = plan::bridge(&bridge, &Seen::default())?;
/// assert_eq!(
///     plan.to_string(),
///     "create bridge br-web mac 02:42:0a:58:00:01\n\
///      set br-web mtu 1400\n\
///      add address 10.88.0.1/24 to br-web\n\
///      set br-web up\n"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::NotABridge`], [`Error::NotOurs`], [`Error::NoBridge`] where an adopted one is gone,
/// [`Error::MtuBelowIpv6`], [`Error::NoIpv6`].
pub fn bridge(wanted: &Bridge, seen: &Seen) -> Result<Plan, Error> {
    let name = *wanted.name();
    let present = match seen.host.links.get(name.as_str()) {
        Some(Link { kind, .. }) if !matches!(kind, LinkKind::Bridge(_)) => {
            return Err(Error::NotABridge { name, kind: kind.clone() });
        }
        present => present,
    };
    match wanted.ownership() {
        Ownership::Ours => own_bridge(wanted, seen, present),
        Ownership::Adopted(_) => adopted_bridge(wanted, seen, present.ok_or(Error::NoBridge { name })?),
    }
}

/// Plans the removal of the bridge: one of ours is deleted, from an adopted one goes what was added.
///
/// What is gone already needs no step. A bridge with another MAC than the one we gave ours was made by someone
/// else since, and stays.
pub fn remove_bridge(wanted: &Bridge, seen: &Seen) -> Plan {
    let mut draft = Draft::from(seen);
    let name = *wanted.name();
    let present = seen.host.links.get(name.as_str());
    match (wanted.ownership(), present.filter(|link| matches!(link.kind, LinkKind::Bridge(_)))) {
        (Ownership::Ours, Some(link)) if link.mac == Some(wanted.mac()) => {
            draft.push(Step::DeleteBridge { name });
        }
        (Ownership::Adopted(original), Some(_)) => draft.give_back(wanted, original),
        _ => {}
    }
    draft.plan()
}

/// Plans the forwarding that a network with these families needs; it is never switched off again.
///
/// ```
/// use linkspan_veth_bridge::{Family, Seen, plan};
///
/// let plan = plan::forwarding(&[Family::V4], &Seen::default());
/// assert_eq!(plan.to_string(), "switch IPv4 forwarding on\n");
/// ```
pub fn forwarding(families: &[Family], seen: &Seen) -> Plan {
    let off = |family: &&Family| match family {
        Family::V4 => !seen.forwarding.v4,
        Family::V6 => seen.forwarding.v6 == Some(false),
    };
    families.iter().filter(off).map(|&family| Step::EnableForwarding { family }).collect::<Vec<_>>().into()
}

/// Plans what gives the container its end of the pair, with addresses and default routes, and the host its own.
///
/// The pair is made, or a half-made one is finished. `lo` is switched on and stays so. A container without a
/// wanted IPv6 address gets none at all, not even a link-local one.
///
/// # Errors
/// [`Error::ContainerUnseen`], [`Error::NoBridge`], [`Error::NotABridge`], [`Error::BridgeFull`],
/// [`Error::NotAVeth`], [`Error::NameTaken`], [`Error::Strayed`], [`Error::Overlap`],
/// [`Error::DefaultRouteTaken`], [`Error::GatewayOffLink`], [`Error::MtuBelowIpv6`], [`Error::NoIpv6`]: the
/// plan is refused whole, before any change.
pub fn attach(wanted: &Veth, seen: &Seen) -> Result<Plan, Error> {
    let container = seen.container.as_ref().ok_or(Error::ContainerUnseen)?;
    fits_bridge(wanted, seen)?;
    let present = is_present(wanted, seen, container)?;
    fits_container(wanted, seen, container)?;
    let mut draft = Draft::from(seen);
    if !present {
        draft.push(create(wanted));
    }
    draft.host_end(wanted);
    draft.inside_end(wanted);
    Ok(draft.plan())
}

/// Plans what brings the host end of a pair in line, where the container cannot be looked at.
///
/// A pair that is gone is not made again: for that the container's namespace is needed.
///
/// ```
/// use linkspan_veth_bridge::{BridgeFacts, HostEnd, InsideEnd, Link, LinkKind, Mtu, Port, Seen, Veth, plan};
///
/// let host = HostEnd::port("vethls0".parse()?, "fe:00:00:00:00:01".parse()?, Port::of("br0".parse()?));
/// let pair = Veth::new(host, InsideEnd::new("eth0".parse()?, "02:42:0a:58:00:02".parse()?), Mtu::ETHERNET);
///
/// // Someone deleted the bridge, and it was made again.
/// let mac = Some("fe:00:00:00:00:01".parse()?);
/// let end = Link { kind: LinkKind::Veth, mac, mtu: 1500, up: true, ..Link::default() };
/// let bridge = Link { kind: LinkKind::Bridge(BridgeFacts::default()), ..Link::default() };
/// let mut seen = Seen::default();
/// seen.host.links = [("vethls0".to_owned(), end), ("br0".to_owned(), bridge)].into();
/// assert_eq!(plan::host_end(&pair, &seen)?.to_string(), "set vethls0 master br0\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::NoBridge`], [`Error::NotABridge`], [`Error::BridgeFull`], [`Error::NotAVeth`].
pub fn host_end(wanted: &Veth, seen: &Seen) -> Result<Plan, Error> {
    let name = *wanted.host().name();
    let mut draft = Draft::from(seen);
    match seen.host.links.get(name.as_str()).map(|link| &link.kind) {
        None => {}
        Some(LinkKind::Veth) => {
            fits_bridge(wanted, seen)?;
            draft.host_end(wanted);
        }
        Some(kind) => return Err(Error::NotAVeth { name, kind: kind.clone() }),
    }
    Ok(draft.plan())
}

/// Plans the removal of the pair, which needs nothing but the host's side.
///
/// The container's addresses and routes on it go with it.
pub fn detach(wanted: &Veth, seen: &Seen) -> Plan {
    let (host, inside) = (*wanted.host().name(), *wanted.inside().name());
    let there = seen.host.links.get(host.as_str()).is_some_and(|link| link.kind == LinkKind::Veth);
    if there { vec![Step::DeleteVeth { host, inside }].into() } else { Plan::default() }
}

/// Plans to cut the container off at once and leave the pair to the kernel, which deletes it when the
/// container's namespace ends.
///
/// A namespace that someone still holds keeps its pair: that one needs [`detach`].
pub fn cut_off(wanted: &Veth, seen: &Seen) -> Plan {
    let at = Place::host(*wanted.host().name());
    let up = seen.host.links.get(at.link.as_str()).is_some_and(|link| link.kind == LinkKind::Veth && link.up);
    if up { vec![Step::SetDown { at }].into() } else { Plan::default() }
}

/// Plans the removal of many pairs at the cost of little more than one.
///
/// The group must be the caller's alone for as long as this takes: every link in it is deleted. Host ends that
/// were not seen are left out.
///
/// ```
/// use linkspan_veth_bridge::{Group, Link, LinkKind, Seen, plan};
///
/// let mut seen = Seen::default();
/// seen.host.links.insert("vethls1".to_owned(), Link { kind: LinkKind::Veth, ..Link::default() });
/// let names = ["vethls0".parse()?, "vethls1".parse()?];
/// let plan = plan::detach_together(&names, Group::new(7).unwrap(), &seen);
/// assert_eq!(plan.to_string(), "put vethls1 into group 7\ndelete every link of group 7\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn detach_together(host_ends: &[IfName], group: Group, seen: &Seen) -> Plan {
    let there = |name: &&IfName| seen.host.links.get(name.as_str()).is_some_and(|l| l.kind == LinkKind::Veth);
    let marked = host_ends.iter().filter(there);
    let mut steps: Vec<_> = marked.map(|&name| Step::SetGroup { at: Place::host(name), group }).collect();
    if !steps.is_empty() {
        steps.push(Step::DeleteGroup { group });
    }
    steps.into()
}

/// Plans that the container's default route of the gateway's family leads by this gateway and link, whatever
/// it was before.
///
/// # Errors
/// [`Error::ContainerUnseen`], [`Error::GatewayOffLink`].
pub fn reroute(link: &IfName, gateway: IpAddr, seen: &Seen) -> Result<Plan, Error> {
    let container = seen.container.as_ref().ok_or(Error::ContainerUnseen)?;
    let present = container.links.get(link.as_str());
    if !present.is_some_and(|link| link.addresses.iter().any(|address| address.contains(&gateway))) {
        return Err(Error::GatewayOffLink { gateway, link: *link });
    }
    let link = *link;
    Ok(match rival(&link, gateway, container) {
        Some(_) => vec![Step::ReplaceDefaultRoute { link, gateway }].into(),
        None if container.default_routes.contains(&default_route(&link, gateway)) => Plan::default(),
        None => vec![Step::AddDefaultRoute { link, gateway }].into(),
    })
}

fn own_bridge(wanted: &Bridge, seen: &Seen, present: Option<&Link>) -> Result<Plan, Error> {
    let (name, mac) = (*wanted.name(), wanted.mac());
    // Its MAC is in the message that makes it, so a half-made one of ours has it too.
    if let Some(link) = present.filter(|link| link.mac != Some(mac)) {
        return Err(Error::NotOurs { name, mac: link.mac, ours: mac });
    }
    let at = Place::host(name);
    if wanted.has_ipv6() {
        needs_ipv6(name, wanted.mtu(), seen)?;
    }
    let mut draft = Draft::from(seen);
    if present.is_none() {
        draft.push(Step::CreateBridge { name, mac, group: wanted.group() });
    }
    // The MTU is not in the message that makes it: a bridge that was never given one takes its ports' lowest,
    // and 1500 when the last port leaves.
    draft.in_line(at, mac, wanted.mtu(), wanted.group());
    draft.stop_automatic_ipv6(at);
    draft.ignore_routers(name);
    draft.route_localnet(name, wanted.route_localnet());
    draft.add_addresses_with_link_local(at, wanted.addresses(), mac);
    // Last: one that is up is whole, and whoever finds it down finishes it.
    draft.set_up(at);
    Ok(draft.plan())
}

fn adopted_bridge(wanted: &Bridge, seen: &Seen, present: &Link) -> Result<Plan, Error> {
    let name = *wanted.name();
    let at = Place::host(name);
    if wanted.has_ipv6() {
        needs_ipv6(name, Mtu::new(present.mtu).unwrap_or_default(), seen)?;
    }
    let mut draft = Draft::from(seen);
    draft.route_localnet(name, wanted.route_localnet());
    draft.set_up(at);
    draft.add_addresses(at, wanted.addresses());
    if let Some(mac) = present.mac.filter(|_| !draft.is_empty()) {
        // One that was never given a MAC takes the lowest of its ports', and the neighbours that know the one it
        // has would lose it. Whether it was given one only sysfs tells, of the namespace that it was mounted in;
        // so it is given together with something else, or this would be planned each time.
        draft.push(Step::SetMac { at, mac });
    }
    Ok(draft.plan())
}

/// The wanted bridge is a bridge and has room.
fn fits_bridge(wanted: &Veth, seen: &Seen) -> Result<(), Error> {
    let Some(port) = wanted.host().bridge_port() else { return Ok(()) };
    let name = *port.bridge();
    let Some(link) = seen.host.links.get(name.as_str()) else { return Err(Error::NoBridge { name }) };
    let LinkKind::Bridge(facts) = &link.kind else {
        return Err(Error::NotABridge { name, kind: link.kind.clone() });
    };
    let own = seen.host.links.get(wanted.host().name().as_str());
    let joined = own.is_some_and(|own| own.master.as_deref() == Some(name.as_str()));
    match facts.ports.filter(|&ports| ports >= BRIDGE_PORTS && !joined) {
        Some(ports) => Err(Error::BridgeFull { name, ports }),
        None => Ok(()),
    }
}

/// Whether the pair is there; half of one, or another link in its place, is refused.
fn is_present(wanted: &Veth, seen: &Seen, container: &Space) -> Result<bool, Error> {
    let (host, inside) = (*wanted.host().name(), *wanted.inside().name());
    let near = seen.host.links.get(host.as_str());
    let far = container.links.get(inside.as_str());
    match (near.map(|link| &link.kind), far.map(|link| &link.kind)) {
        (None, None) => Ok(false),
        (None, Some(_)) => Err(Error::NameTaken { name: inside }),
        (Some(LinkKind::Veth), Some(LinkKind::Veth)) => Ok(true),
        (Some(LinkKind::Veth), _) => Err(Error::Strayed { host, inside }),
        (Some(kind), _) => Err(Error::NotAVeth { name: host, kind: kind.clone() }),
    }
}

/// Addresses and gateways go together with each other and with what the container has.
fn fits_container(wanted: &Veth, seen: &Seen, container: &Space) -> Result<(), Error> {
    let inside = wanted.inside();
    if wanted.has_ipv6() {
        needs_ipv6(*inside.name(), wanted.mtu(), seen)?;
    }
    for wanted in inside.addresses() {
        if let Some((link, present)) = overlapping(wanted, inside.name(), container) {
            return Err(Error::Overlap { wanted: *wanted, present, link: link.to_owned() });
        }
    }
    for gateway in inside.gateways() {
        if !inside.addresses().iter().any(|address| address.contains(&gateway)) {
            return Err(Error::GatewayOffLink { gateway, link: *inside.name() });
        }
        if let Some(present) = rival(inside.name(), gateway, container) {
            return Err(Error::DefaultRouteTaken { gateway, present });
        }
    }
    Ok(())
}

fn needs_ipv6(link: IfName, mtu: Mtu, seen: &Seen) -> Result<(), Error> {
    match (seen.has_ipv6(), mtu.carries_ipv6()) {
        (false, _) => Err(Error::NoIpv6 { link }),
        (true, false) => Err(Error::MtuBelowIpv6 { link, mtu }),
        (true, true) => Ok(()),
    }
}

/// An address of another link of the container in the subnet of a wanted one.
fn overlapping<'a>(wanted: &IpNet, own: &IfName, container: &'a Space) -> Option<(&'a str, IpNet)> {
    let others = container.links.iter().filter(|(name, _)| !["lo", own.as_str()].contains(&name.as_str()));
    let mut addresses =
        others.flat_map(|(name, link)| link.addresses.iter().map(move |a| (name.as_str(), *a)));
    addresses.find(|(_, present)| !is_link_local(present) && overlap(wanted, present))
}

/// The gateway of another default route in the place of the one by this gateway and link.
fn rival(link: &IfName, gateway: IpAddr, container: &Space) -> Option<Option<IpAddr>> {
    let own = default_route(link, gateway);
    let in_its_place = |r: &&Route| (r.destination, r.metric) == (own.destination, own.metric);
    container.default_routes.iter().filter(in_its_place).find(|r| **r != own).map(|r| r.gateway)
}

fn create(wanted: &Veth) -> Step {
    Step::CreateVeth {
        host: *wanted.host().name(),
        host_mac: wanted.host().mac(),
        inside: *wanted.inside().name(),
        inside_mac: wanted.inside().mac(),
        mtu: wanted.mtu(),
        group: wanted.group(),
        bridge: wanted.host().bridge_port().map(|port| *port.bridge()),
    }
}
