//! Who has which name, namespace and port of the host: one ledger, so that one commit claims all or nothing;
//! a namespace that is only being made is claimed by another.

use crate::{AttachmentId, ContainerName};
use linkspan_net_types::{Port, Protocol};
use linkspan_netns::Cookie;
use linkspan_records::State;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// One thing that only one attachment can have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claim {
    Name(ContainerName),
    Namespace(Cookie),
    Port(HostPort),
}

/// A port of the host, at one address or (`None`) at every address of both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostPort {
    pub(crate) protocol: Protocol,
    pub(crate) port: Port,
    pub(crate) address: Option<IpAddr>,
}

impl HostPort {
    /// Whether a packet could be for both.
    fn overlaps(self, other: Self) -> bool {
        let same_family = |a: IpAddr, b: IpAddr| a.is_ipv4() == b.is_ipv4();
        let addresses = match (self.address, other.address) {
            (Some(a), Some(b)) => a == b || same_family(a, b) && (a.is_unspecified() || b.is_unspecified()),
            _ => true,
        };
        (self.protocol, self.port) == (other.protocol, other.port) && addresses
    }
}

/// Who has which ports, looked up by number: a host may have thousands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortMap<T>(BTreeMap<(Protocol, Port), Vec<(HostPort, T)>>);

impl<T> Default for PortMap<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: PartialEq> PortMap<T> {
    /// Whose port a packet for this one could be for.
    pub(crate) fn overlapping(&self, port: HostPort) -> impl Iterator<Item = &T> {
        let there = self.0.get(&(port.protocol, port.port)).into_iter().flatten();
        there.filter(move |(other, _)| other.overlaps(port)).map(|(_, holder)| holder)
    }

    pub(crate) fn insert(&mut self, port: HostPort, holder: T) {
        self.0.entry((port.protocol, port.port)).or_default().push((port, holder));
    }

    fn remove(&mut self, port: HostPort, holder: &T) {
        let key = (port.protocol, port.port);
        if let Some(there) = self.0.get_mut(&key) {
            there.retain(|(_, other)| other != holder);
            if there.is_empty() {
                self.0.remove(&key);
            }
        }
    }
}

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Claimed(AttachmentId, Claim),
    Freed(AttachmentId),
}

/// What is claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    names: BTreeMap<ContainerName, AttachmentId>,
    namespaces: BTreeMap<Cookie, AttachmentId>,
    ports: PortMap<AttachmentId>,
    holders: BTreeMap<AttachmentId, BTreeSet<Claim>>,
}

impl Claims {
    /// Who has the name.
    pub(crate) fn named(&self, name: &ContainerName) -> Option<AttachmentId> {
        self.names.get(name).copied()
    }

    /// Who holds what would be refused; a port may be in the way of several at one address each.
    pub(crate) fn holders(&self, claim: &Claim) -> Vec<AttachmentId> {
        match claim {
            Claim::Name(name) => self.names.get(name).copied().into_iter().collect(),
            Claim::Namespace(cookie) => self.namespaces.get(cookie).copied().into_iter().collect(),
            Claim::Port(port) => self.ports.overlapping(*port).copied().collect(),
        }
    }

    /// Whether nobody holds it.
    pub(crate) fn is_free(&self, claim: &Claim) -> bool {
        match claim {
            Claim::Port(port) => self.ports.overlapping(*port).next().is_none(),
            other => self.holders(other).is_empty(),
        }
    }

    /// Everybody who holds anything.
    pub(crate) fn claimants(&self) -> impl Iterator<Item = AttachmentId> + '_ {
        self.holders.keys().copied()
    }

    /// Whether nothing is claimed.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }

    fn take(&mut self, id: AttachmentId, claim: &Claim) {
        match claim {
            Claim::Name(name) => drop(self.names.insert(name.clone(), id)),
            Claim::Namespace(cookie) => drop(self.namespaces.insert(*cookie, id)),
            Claim::Port(port) => self.ports.insert(*port, id),
        }
        self.holders.entry(id).or_default().insert(claim.clone());
    }

    fn free(&mut self, id: AttachmentId) {
        for claim in self.holders.remove(&id).unwrap_or_default() {
            match claim {
                Claim::Name(name) => remove_of(&mut self.names, &name, id),
                Claim::Namespace(cookie) => remove_of(&mut self.namespaces, &cookie, id),
                Claim::Port(port) => self.ports.remove(port, &id),
            }
        }
    }
}

/// Removes what is this one's: another may have claimed it since the first one's record was lost.
fn remove_of<K: Ord>(map: &mut BTreeMap<K, AttachmentId>, key: &K, id: AttachmentId) {
    if map.get(key) == Some(&id) {
        map.remove(key);
    }
}

impl State for Claims {
    type Entry = Entry;
    const VERSION: u32 = 1;

    fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Claimed(id, claim) => self.take(*id, claim),
            Entry::Freed(id) => self.free(*id),
        }
    }

    fn entries(&self) -> Vec<Entry> {
        let of = |(&id, claims): (&AttachmentId, &BTreeSet<Claim>)| -> Vec<Entry> {
            claims.iter().map(|claim| Entry::Claimed(id, claim.clone())).collect()
        };
        self.holders.iter().flat_map(of).collect()
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Freed(id) => write!(f, "freed {id}"),
            Self::Claimed(id, Claim::Name(name)) => write!(f, "claimed {id} name {name}"),
            Self::Claimed(id, Claim::Namespace(cookie)) => write!(f, "claimed {id} netns {cookie}"),
            Self::Claimed(id, Claim::Port(HostPort { protocol, port, address: Some(address) })) => {
                write!(f, "claimed {id} port {protocol} {port} {address}")
            }
            Self::Claimed(id, Claim::Port(HostPort { protocol, port, address: None })) => {
                write!(f, "claimed {id} port {protocol} {port}")
            }
        }
    }
}

/// A line that this version did not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a claim")]
pub(crate) struct ParseEntryError;

impl FromStr for Entry {
    type Err = ParseEntryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        fn read<T: FromStr>(word: &str) -> Result<T, ParseEntryError> {
            word.parse().map_err(|_| ParseEntryError)
        }
        let words: Vec<_> = text.split(' ').collect();
        Ok(match words[..] {
            ["freed", id] => Self::Freed(read(id)?),
            ["claimed", id, "name", name] => Self::Claimed(read(id)?, Claim::Name(read(name)?)),
            ["claimed", id, "netns", cookie] => {
                Self::Claimed(read(id)?, Claim::Namespace(Cookie::new(read(cookie)?)))
            }
            ["claimed", id, "port", protocol, port, ref address @ ..] if address.len() < 2 => {
                let address = address.first().map(|a| read(a)).transpose()?;
                let port = HostPort { protocol: read(protocol)?, port: read(port)?, address };
                Self::Claimed(read(id)?, Claim::Port(port))
            }
            _ => return Err(ParseEntryError),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn port(address: Option<&str>) -> HostPort {
        let address = address.map(|a| a.parse().unwrap());
        HostPort { protocol: Protocol::Tcp, port: Port::new(80).unwrap(), address }
    }

    #[test]
    fn a_port_overlaps_where_one_packet_is_for_both() {
        let check = |a: Option<&str>, b: Option<&str>, expected: bool| {
            assert_eq!(port(a).overlaps(port(b)), expected, "{a:?} {b:?}");
            assert_eq!(port(b).overlaps(port(a)), expected, "{b:?} {a:?}");
        };
        check(None, None, true);
        check(None, Some("127.0.0.1"), true);
        check(None, Some("::1"), true);
        check(Some("0.0.0.0"), Some("127.0.0.1"), true);
        check(Some("0.0.0.0"), Some("::1"), false);
        check(Some("::"), Some("127.0.0.1"), false);
        check(Some("127.0.0.1"), Some("127.0.0.1"), true);
        check(Some("127.0.0.1"), Some("127.0.0.2"), false);
    }

    #[test]
    fn a_port_at_every_address_is_in_the_way_of_each() {
        let ids: [AttachmentId; 2] = ["0000000000000001", "0000000000000002"].map(|id| id.parse().unwrap());
        let mut claims = Claims::default();
        for (id, address) in ids.into_iter().zip(["127.0.0.1", "10.0.0.1"]) {
            claims.apply(&Entry::Claimed(id, Claim::Port(port(Some(address)))));
        }
        assert_eq!(claims.holders(&Claim::Port(port(None))), ids);
    }

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let id = (0u8..6).prop_map(|n| format!("{n:016x}").parse::<AttachmentId>().unwrap());
        let address = proptest::option::of(prop_oneof![
            Just("127.0.0.1".parse::<IpAddr>().unwrap()),
            Just("::".parse::<IpAddr>().unwrap())
        ]);
        let claim = prop_oneof![
            "[a-c]".prop_map(|name| Claim::Name(name.parse().unwrap())),
            (1u64..4).prop_map(|n| Claim::Namespace(Cookie::new(n))),
            (1u16..4, address).prop_map(|(n, address)| {
                let port = Port::new(n).unwrap();
                Claim::Port(HostPort { protocol: Protocol::Udp, port, address })
            }),
        ];
        let entry = prop_oneof![
            3 => (id.clone(), claim).prop_map(|(id, claim)| Entry::Claimed(id, claim)),
            1 => id.prop_map(Entry::Freed)
        ];
        proptest::collection::vec(entry, 0..40)
    }

    fn granted(history: &[Entry]) -> Claims {
        let mut claims = Claims::default();
        for entry in history {
            let free = |claim| claims.is_free(claim);
            if matches!(entry, Entry::Claimed(_, claim) if !free(claim)) {
                continue;
            }
            claims.apply(entry);
        }
        claims
    }

    proptest! {
        #[test]
        fn entries_round_trip_and_the_shortest_history_gives_the_same_state(history in entries()) {
            let claims = granted(&history);
            let mut again = Claims::default();
            for entry in claims.entries() {
                let read: Entry = entry.to_string().parse().unwrap();
                prop_assert_eq!(&read, &entry);
                again.apply(&read);
            }
            prop_assert_eq!(again.entries(), claims.entries());
        }

        #[test]
        fn no_two_hold_the_same_and_freeing_all_leaves_nothing(history in entries()) {
            let mut claims = granted(&history);
            let held: Vec<_> = claims.holders.iter().flat_map(|(id, c)| c.iter().map(|c| (c.clone(), *id))).collect();
            for (claim, id) in &held {
                prop_assert_eq!(claims.holders(claim), vec![*id]);
            }
            let ids: Vec<_> = claims.holders.keys().copied().collect();
            ids.into_iter().for_each(|id| claims.apply(&Entry::Freed(id)));
            prop_assert!(claims.is_empty() && claims.ports.0.is_empty() && claims.names.is_empty());
        }

        #[test]
        fn no_line_panics(text in ".*") {
            let _ = text.parse::<Entry>();
        }
    }
}
