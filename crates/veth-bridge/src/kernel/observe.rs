//! Questions to the kernel.

use super::read::{self, Told};
use super::uapi;
use super::{Inside, Links};
use crate::{Error, Link, LinkKind, Look, Route, Seen, Snapshot, Space};
use ipnet::IpNet;
use linkspan_net_types::{Errno, IfIndex, IfName};
use linkspan_netlink::{Batch, Body, Flags, Kind, Reply, Socket};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

pub(super) fn seen(links: &mut Links, look: &Look, container: Option<&mut Inside>) -> Result<Seen, Error> {
    let (forwarding, bridge_netfilter) = match look.is_alone() {
        true => Default::default(),
        false => links.settings.read(&links.home)?,
    };
    Ok(Seen {
        host: Space { links: looked_at(&mut links.route, look)?, default_routes: BTreeSet::new() },
        container: container.map(Inside::observe).transpose()?,
        forwarding,
        bridge_netfilter,
    })
}

pub(super) fn snapshot(socket: &mut Socket) -> Result<Snapshot, Error> {
    let told = list_links(socket)?;
    let (links, names) = complete(socket, told)?;
    Ok(Snapshot { links, routes: routes(socket, &names)? })
}

type Names = BTreeMap<IfIndex, String>;

/// What a link is known by.
enum Key<'a> {
    Name(&'a IfName),
    Index(IfIndex),
}

fn looked_at(socket: &mut Socket, look: &Look) -> Result<BTreeMap<String, Link>, Error> {
    let mut found = Vec::new();
    for name in look.links() {
        found.extend(link_of(socket, &Key::Name(name))?);
    }
    let mut names: Names = found.iter().map(|told| (told.index, told.name.clone())).collect();
    let mut links = BTreeMap::new();
    for Told { index, name, master, mut link } in found {
        if !look.skips_addresses() {
            link.addresses = match addresses(socket, Some(index)) {
                Ok(mut addresses) => addresses.remove(&index).unwrap_or_default(),
                // It went with its container's namespace between the two questions.
                Err(refused) if is_absent(&refused) => continue,
                Err(refused) => return Err(refused),
            };
        }
        let master = master.filter(|_| !look.is_alone());
        link.master = master.map(|master| name_of(socket, &mut names, master)).transpose()?.flatten();
        if let (true, LinkKind::Bridge(facts)) = (look.counts_ports(), &mut link.kind) {
            facts.ports = Some(count_ports(socket, index)?);
        }
        links.insert(name, link);
    }
    Ok(links)
}

fn is_absent(refused: &Error) -> bool {
    matches!(refused, Error::Look { source, .. } if source.errno() == Some(Errno::ENODEV))
}

fn name_of(socket: &mut Socket, names: &mut Names, index: IfIndex) -> Result<Option<String>, Error> {
    if let Some(name) = names.get(&index) {
        return Ok(Some(name.clone()));
    }
    let name = link_of(socket, &Key::Index(index))?.map(|told| told.name);
    names.extend(name.clone().map(|name| (index, name)));
    Ok(name)
}

/// All links of a container's namespace. One where nothing but a switched-off `lo` is has no address or route.
pub(super) fn space(socket: &mut Socket) -> Result<Space, Error> {
    let told = list_links(socket)?;
    if told.iter().all(|told| told.name == "lo" && !told.link.up) {
        let links = told.into_iter().map(|told| (told.name, told.link)).collect();
        return Ok(Space { links, default_routes: BTreeSet::new() });
    }
    let (links, names) = complete(socket, told)?;
    let routes = routes(socket, &names)?;
    Ok(Space { links, default_routes: routes.into_iter().filter(Route::is_default).collect() })
}

/// Gives links their addresses and the names of their masters.
fn complete(socket: &mut Socket, told: Vec<Told>) -> Result<(BTreeMap<String, Link>, Names), Error> {
    let names: Names = told.iter().map(|told| (told.index, told.name.clone())).collect();
    let mut addresses = addresses(socket, None)?;
    let links = told.into_iter().map(|Told { index, name, master, mut link }| {
        link.addresses = addresses.remove(&index).unwrap_or_default();
        link.master = master.and_then(|master| names.get(&master).cloned());
        (name, link)
    });
    Ok((links.collect(), names))
}

fn link_of(socket: &mut Socket, key: &Key<'_>) -> Result<Option<Told>, Error> {
    let answer = ask(socket, uapi::RTM_GETLINK, Flags::NONE, |body| {
        let mut header = [0; uapi::LINK_HEADER];
        if let Key::Index(index) = key {
            header[4..8].copy_from_slice(&index.get().to_ne_bytes());
        }
        body.bytes(&header);
        if let Key::Name(name) = key {
            body.text(uapi::IFLA_IFNAME, name.as_str());
        }
        body.u32(uapi::IFLA_EXT_MASK, uapi::RTEXT_FILTER_SKIP_STATS);
    });
    match answer {
        Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(None),
        answer => Ok(answer.map_err(unread("a link"))?.iter().find_map(|reply| read::link(reply.payload()))),
    }
}

fn list_links(socket: &mut Socket) -> Result<Vec<Told>, Error> {
    let answer = ask(socket, uapi::RTM_GETLINK, Flags::DUMP, |body| {
        body.bytes(&[0; uapi::LINK_HEADER]);
        body.u32(uapi::IFLA_EXT_MASK, uapi::RTEXT_FILTER_SKIP_STATS);
    });
    Ok(answer.map_err(unread("links"))?.iter().filter_map(|reply| read::link(reply.payload())).collect())
}

fn count_ports(socket: &mut Socket, bridge: IfIndex) -> Result<usize, Error> {
    let answer = ask(socket, uapi::RTM_GETLINK, Flags::DUMP, |body| {
        body.bytes(&[0; uapi::LINK_HEADER]);
        body.u32(uapi::IFLA_MASTER, bridge.get());
        body.u32(uapi::IFLA_EXT_MASK, uapi::RTEXT_FILTER_SKIP_STATS);
    });
    Ok(answer.map_err(unread("a bridge's ports"))?.len())
}

/// The addresses of one link or of all, by the link's index.
fn addresses(socket: &mut Socket, of: Option<IfIndex>) -> Result<BTreeMap<IfIndex, BTreeSet<IpNet>>, Error> {
    let answer = ask(socket, uapi::RTM_GETADDR, Flags::DUMP, |body| {
        let mut header = [0; uapi::ADDRESS_HEADER];
        header[4..].copy_from_slice(&of.map_or(0, IfIndex::get).to_ne_bytes());
        body.bytes(&header);
    });
    let mut addresses: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (index, address) in
        answer.map_err(unread("addresses"))?.iter().filter_map(|reply| read::address(reply.payload()))
    {
        addresses.entry(index).or_default().insert(address);
    }
    Ok(addresses)
}

/// The IPv6 groups that a link has joined.
pub(super) fn groups(socket: &mut Socket, link: IfIndex) -> Result<Vec<Ipv6Addr>, Error> {
    let answer = ask(socket, uapi::RTM_GETMULTICAST, Flags::DUMP, |body| {
        let mut header = [uapi::AF_INET6, 0, 0, 0, 0, 0, 0, 0];
        header[4..].copy_from_slice(&link.get().to_ne_bytes());
        body.bytes(&header);
    });
    Ok(answer.map_err(unread("groups"))?.iter().filter_map(|reply| read::group(reply.payload())).collect())
}

fn routes(socket: &mut Socket, names: &Names) -> Result<BTreeSet<Route>, Error> {
    let answer = ask(socket, uapi::RTM_GETROUTE, Flags::DUMP, |body| {
        let mut header = [0; uapi::ROUTE_HEADER];
        header[4] = uapi::RT_TABLE_MAIN;
        body.bytes(&header);
    });
    let named = |(index, route): (Option<IfIndex>, Route)| {
        let link = index.and_then(|index| names.get(&index).cloned());
        Route { link, ..route }
    };
    Ok(answer
        .map_err(unread("routes"))?
        .iter()
        .filter_map(|reply| read::route(reply.payload()))
        .map(named)
        .collect())
}

pub(super) fn ask(
    socket: &mut Socket,
    kind: Kind,
    flags: Flags,
    body: impl FnOnce(&mut Body<'_>),
) -> Result<Vec<Reply>, linkspan_netlink::Error> {
    let mut question = Batch::new();
    question.push(kind, flags, body);
    socket.request(&mut question)
}

pub(super) fn unread(what: &'static str) -> impl FnOnce(linkspan_netlink::Error) -> Error {
    move |source| Error::Look { what, source }
}
