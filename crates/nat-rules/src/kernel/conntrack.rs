use super::HEADER;
use super::element::octets;
use crate::Error;
use crate::conntrack::{Flow, Question, Stale};
use linkspan_net_types::{Errno, Protocol};
use linkspan_netlink::{Attributes, Batch, Body, Family, Flags, Kind, Reply, Socket};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// `IPCTNL_MSG_CT_GET`, `_DELETE`, `_GET_STATS` of `linux/netfilter/nfnetlink_conntrack.h`, where all the
/// numbers of this door come from but those that name another header.
const GET: Kind = Kind::conntrack(1);
const DELETE: Kind = Kind::conntrack(2);
const GET_STATS: Kind = Kind::conntrack(5);
/// `CTA_TUPLE_ORIG`, `CTA_TUPLE_REPLY`, `CTA_STATUS`, `CTA_ID`, `CTA_ZONE`, `CTA_FILTER`, `CTA_STATUS_MASK`.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const STATUS: u16 = 3;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
const STATUS_MASK: u16 = 26;
/// `CTA_TUPLE_IP`, `CTA_TUPLE_PROTO`; `CTA_PROTO_NUM`, `_SRC_PORT`, `_DST_PORT`.
const ADDRESSES: u16 = 1;
const TRANSPORT: u16 = 2;
const PROTOCOL: u16 = 1;
const SOURCE_PORT: u16 = 2;
const TARGET_PORT: u16 = 3;
/// `CTA_FILTER_ORIG_FLAGS`; `CTA_FILTER_F_CTA_PROTO_NUM` and `_DST_PORT` of the kernel's
/// `net/netfilter/nf_internals.h`.
const ORIGINAL_FLAGS: u16 = 1;
const BY_PROTOCOL: u32 = 1 << 3;
const BY_TARGET_PORT: u32 = 1 << 5;
/// `CTA_STATS_GLOBAL_ENTRIES`.
const ENTRIES: u16 = 1;
/// `IPS_SEEN_REPLY` and `IPS_DST_NAT` of `linux/netfilter/nf_conntrack_common.h`.
const SEEN_REPLY: u32 = 1 << 1;
const TRANSLATED: u32 = 1 << 5;
/// `NFPROTO_UNSPEC`, `NFPROTO_IPV4`, `NFPROTO_IPV6` of `linux/netfilter.h`.
const ANY_FAMILY: u8 = 0;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// More refusals than this overflow a socket's receive buffer.
const RUN: usize = 64;

/// `RTM_GETROUTE`, `RTA_DST` and `RTN_LOCAL` of `linux/rtnetlink.h`; the size of its `struct rtmsg`, and
/// where in it the type of the route is.
const GET_ROUTE: Kind = Kind::new(26);
const ROUTE_TARGET: u16 = 1;
const LOCAL: u8 = 2;
const ROUTE: usize = 12;
const ROUTE_TYPE: usize = 7;

/// The tracked connections of a network namespace.
///
/// It deletes just those that it is told of, each by all that names it, so that it cannot take another
/// that came in its place.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
    /// Asked which addresses are the host's; opened when the question first comes.
    routes: Option<Socket>,
    /// `None` where `routes` is open.
    namespace: Option<OwnedFd>,
}

impl Conntrack {
    /// Opens the tracked connections of the calling thread's network namespace.
    ///
    /// # Errors
    /// [`Error::Conntrack`].
    pub fn open() -> Result<Self, Error> {
        let open = |family| Socket::open(family).map_err(Error::Conntrack);
        let (socket, routes) = (open(Family::Netfilter)?, open(Family::Route)?);
        Ok(Self { socket, routes: Some(routes), namespace: None })
    }

    /// Opens the tracked connections of this network namespace.
    ///
    /// # Errors
    /// [`Error::Conntrack`].
    pub fn open_in(namespace: BorrowedFd<'_>) -> Result<Self, Error> {
        let socket = Socket::open_in(namespace, Family::Netfilter).map_err(Error::Conntrack)?;
        let copied = namespace.try_clone_to_owned();
        let namespace = copied.map_err(|e| Error::Conntrack(linkspan_netlink::Error::Enter(e)))?;
        Ok(Self { socket, routes: None, namespace: Some(namespace) })
    }

    /// Makes the kernel forget the connections that a change of the rules left behind, once it is made.
    /// Returns them.
    ///
    /// Where nothing is tracked this is one question of some microseconds. Else the kernel walks through
    /// its table, once for all or for each port, whichever is cheaper, and tells only of flows that may be
    /// meant (Linux 5.8; an older kernel tells of all).
    ///
    /// # Errors
    /// [`Error::Conntrack`]; [`Error::Flow`] with the first flow that was refused, when the others are
    /// forgotten.
    pub fn forget(&mut self, stale: &Stale) -> Result<Vec<Flow>, Error> {
        let tracked = if stale.is_empty() { 0 } else { self.tracked()? };
        if tracked == 0 {
            return Ok(Vec::new());
        }
        let mut left = BTreeMap::new();
        for question in stale.questions(tracked) {
            let entries = self.list(&question)?.into_iter().filter_map(Entry::read);
            left.extend(entries.filter(|e| stale.has(&e.flow, |_| true)).map(|e| (e.id, e)));
        }
        let hosts = self.hosts_of(left.values().map(|entry| entry.flow.to.ip()).collect())?;
        left.retain(|_, entry| stale.has(&entry.flow, |address| hosts.contains(&address)));
        let entries: Vec<_> = left.into_values().collect();
        self.delete(&entries)?;
        Ok(entries.iter().map(|entry| entry.flow).collect())
    }

    /// How many connections are tracked in the namespace.
    fn tracked(&mut self) -> Result<usize, Error> {
        let mut question = Batch::new();
        question.push(GET_STATS, Flags::NONE, |body| body.bytes(&[ANY_FAMILY, 0, 0, 0]));
        let replies = self.socket.request(&mut question).map_err(Error::Conntrack)?;
        let number = replies.first().and_then(|reply| reply.attributes(HEADER).get(ENTRIES)?.be32());
        // Where the kernel does not say, there may be any number.
        Ok(number.map_or(usize::MAX, |number| usize::try_from(number).unwrap_or(usize::MAX)))
    }

    fn list(&mut self, question: &Question) -> Result<Vec<Reply>, Error> {
        let mut batch = Batch::new();
        batch.push(GET, Flags::DUMP, |body| ask(body, question));
        self.socket.request(&mut batch).map_err(Error::Conntrack)
    }

    /// Which of these addresses are the host's.
    fn hosts_of(&mut self, addresses: BTreeSet<IpAddr>) -> Result<BTreeSet<IpAddr>, Error> {
        let mut hosts = BTreeSet::new();
        for address in addresses {
            if self.is_host(address)? {
                hosts.insert(address);
            }
        }
        Ok(hosts)
    }

    fn is_host(&mut self, address: IpAddr) -> Result<bool, Error> {
        if let Some(namespace) = &self.namespace {
            self.routes = Some(Socket::open_in(namespace.as_fd(), Family::Route).map_err(Error::Conntrack)?);
            self.namespace = None;
        }
        let Some(routes) = &mut self.routes else { return Ok(false) };
        let mut question = Batch::new();
        question.push(GET_ROUTE, Flags::NONE, |body| {
            let (family, length) = if address.is_ipv4() { (IPV4, 32) } else { (IPV6, 128) };
            let mut header = [0; ROUTE];
            header[..2].copy_from_slice(&[family, length]);
            body.bytes(&header);
            body.attr(ROUTE_TARGET, &octets(address));
        });
        match routes.request(&mut question) {
            Ok(routes) => Ok(routes.iter().any(|route| route.payload().get(ROUTE_TYPE) == Some(&LOCAL))),
            // No way leads there.
            Err(linkspan_netlink::Error::Refused(_)) => Ok(false),
            Err(e) => Err(Error::Conntrack(e)),
        }
    }

    /// Deletes the entries that are still there.
    fn delete(&mut self, entries: &[Entry]) -> Result<(), Error> {
        let mut refused = None;
        for run in entries.chunks(RUN) {
            let mut batch = Batch::new();
            run.iter().for_each(|entry| batch.push(DELETE, Flags::NONE, |body| entry.name(body)));
            match self.socket.send(&mut batch) {
                Err(linkspan_netlink::Error::Refused(refusals)) => {
                    let mut refusals = refusals.into_iter().filter(|r| r.errno != Errno::ENOENT);
                    let first = refusals.find_map(|r| Some((run.get(r.message)?.flow, r.errno)));
                    refused = refused.or(first);
                }
                sent => sent.map_err(Error::Conntrack)?,
            }
        }
        refused.map_or(Ok(()), |(flow, source)| Err(Error::Flow { flow, source }))
    }
}

fn ask(body: &mut Body<'_>, question: &Question) {
    let family = question.kind.map_or(ANY_FAMILY, |(v6, _)| if v6 { IPV6 } else { IPV4 });
    body.bytes(&[family, 0, 0, 0]);
    if let Some((_, protocol)) = question.kind {
        // Not by address: of IPv6 the kernel lists just the others (`!ipv6_addr_cmp`, up to Linux 6.18).
        let by_port = question.port.map_or(0, |_| BY_TARGET_PORT);
        body.nest(ORIGINAL, |body| {
            body.nest(TRANSPORT, |body| {
                body.u8(PROTOCOL, protocol.number());
                question.port.iter().for_each(|port| body.be16(TARGET_PORT, port.get()));
            });
        });
        body.nest(FILTER, |body| body.u32(ORIGINAL_FLAGS, BY_PROTOCOL | by_port));
    }
    if let Some(translated) = question.translated {
        body.be32(STATUS, if translated { TRANSLATED } else { 0 });
        body.be32(STATUS_MASK, TRANSLATED);
    }
}

/// A tracked connection as the kernel lists it.
#[derive(Clone, Debug)]
struct Entry {
    flow: Flow,
    id: u32,
    reply: Reply,
}

impl Entry {
    /// `None` for what has no ports, and for what lacks a part of its name.
    fn read(reply: Reply) -> Option<Self> {
        let attributes = reply.attributes(HEADER);
        let id = attributes.get(ID)?.be32()?;
        let (protocol, from, to) = tuple(&attributes.get(ORIGINAL)?.nested())?;
        let (_, answered_by, _) = tuple(&attributes.get(REPLY)?.nested())?;
        let status = attributes.get(STATUS)?.be32()?;
        let (translated, answered) = (status & TRANSLATED != 0, status & SEEN_REPLY != 0);
        let flow = Flow { protocol, from, to, answered_by, translated, answered };
        Some(Self { flow, id, reply })
    }

    /// Names this entry and no other. Without its tuple the message would mean the whole table, so `read`
    /// saw that one is there.
    fn name(&self, body: &mut Body<'_>) {
        let family = self.reply.payload().first().copied().unwrap_or_default();
        body.bytes(&[family, 0, 0, 0]);
        for attribute in self.reply.attributes(HEADER) {
            match attribute.kind() {
                ORIGINAL => body.nest(ORIGINAL, |body| body.bytes(attribute.payload())),
                kind @ (ZONE | ID) => body.attr(kind, attribute.payload()),
                _ => {}
            }
        }
    }
}

/// The protocol, the source and the target of one direction.
fn tuple(tuple: &Attributes<'_>) -> Option<(Protocol, SocketAddr, SocketAddr)> {
    let (addresses, transport) = (tuple.get(ADDRESSES)?.nested(), tuple.get(TRANSPORT)?.nested());
    let number = transport.get(PROTOCOL)?.u8()?;
    let protocol = Protocol::ALL.into_iter().find(|protocol| protocol.number() == number)?;
    let port = |kind| transport.get(kind)?.be16();
    let v4 = |kind| Some(IpAddr::from(Ipv4Addr::from(addresses.get(kind)?.array::<4>()?)));
    let v6 = |kind| Some(IpAddr::from(Ipv6Addr::from(addresses.get(kind)?.array::<16>()?)));
    // CTA_IP_V4_SRC, CTA_IP_V4_DST, CTA_IP_V6_SRC, CTA_IP_V6_DST.
    let (source, target) = (v4(1).or_else(|| v6(3))?, v4(2).or_else(|| v6(4))?);
    let from = SocketAddr::new(source, port(SOURCE_PORT)?);
    Some((protocol, from, SocketAddr::new(target, port(TARGET_PORT)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(family: u8, protocol: u8) -> Batch {
        let mut batch = Batch::new();
        batch.push(GET, Flags::NONE, |body| {
            body.nest(ADDRESSES, |body| match family {
                IPV4 => [1, 2].iter().for_each(|&kind| body.attr(kind, &[10, 0, 0, 1])),
                _ => [3, 4].iter().for_each(|&kind| body.attr(kind, &[1; 16])),
            });
            body.nest(TRANSPORT, |body| {
                body.u8(PROTOCOL, protocol);
                body.be16(SOURCE_PORT, 4000);
                body.be16(TARGET_PORT, 53);
            });
        });
        batch
    }

    #[test]
    fn a_direction_is_read_where_it_has_ports() {
        let check = |family, protocol, expected: Option<&str>| {
            let batch = written(family, protocol);
            let read = tuple(&Attributes::new(&batch.bytes()[16..]));
            let shown = read.map(|(protocol, from, to)| format!("{protocol} {from} {to}"));
            assert_eq!(shown.as_deref(), expected);
        };
        check(IPV4, 17, Some("udp 10.0.0.1:4000 10.0.0.1:53"));
        check(
            IPV6,
            6,
            Some("tcp [101:101:101:101:101:101:101:101]:4000 [101:101:101:101:101:101:101:101]:53"),
        );
        check(IPV4, 1, None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, cut: prop::sample::Index, by: u8) {
            let _ = tuple(&Attributes::new(&bytes));
            let batch = written(IPV4, 17);
            let mut bytes = batch.bytes()[16..].to_vec();
            let place = cut.index(bytes.len());
            bytes[place] ^= by;
            let _ = (tuple(&Attributes::new(&bytes)), tuple(&Attributes::new(&bytes[..place])));
        }
    }
}
