use crate::{Error, LinkKind, Seen};
use ipnet::IpNet;
use linkspan_net_types::{IfName, Mac, Mtu};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;

/// A bridge as it is wanted on the host.
///
/// ```
/// use linkspan_veth_bridge::{Bridge, Mac, Mtu};
///
/// let gateway = "10.88.0.1/24".parse()?;
/// let bridge = Bridge::new("br-web".parse()?, Mac::of_address("10.88.0.1".parse()?), Mtu::ETHERNET)
///     .with_address(gateway)
///     .with_route_localnet();
/// assert_eq!(bridge.addresses(), [gateway]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge {
    name: IfName,
    mac: Mac,
    mtu: Mtu,
    addresses: Vec<IpNet>,
    group: Option<Group>,
    route_localnet: bool,
    ownership: Ownership,
}

impl Bridge {
    /// A bridge of ours without addresses.
    ///
    /// The MAC is pinned because the kernel would give the bridge the lowest of its ports' MACs, which
    /// changes as containers come and go.
    pub const fn new(name: IfName, mac: Mac, mtu: Mtu) -> Self {
        let ownership = Ownership::Ours;
        Self { name, mac, mtu, addresses: Vec::new(), group: None, route_localnet: false, ownership }
    }

    /// Adds an address of the host on the bridge, with the length of its subnet's prefix; one that is there
    /// already is not added twice.
    #[must_use]
    pub fn with_address(mut self, address: IpNet) -> Self {
        if !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
        self
    }

    /// Puts the bridge into a group of links (`IFLA_GROUP` of `linux/if_link.h`); an adopted one stays in its own.
    #[must_use]
    pub const fn with_group(mut self, group: Group) -> Self {
        self.group = Some(group);
        self
    }

    /// Lets packets from and to 127.0.0.0/8 cross the bridge, as a port published on 127.0.0.1 needs
    /// (`route_localnet` of the kernel's ip-sysctl).
    ///
    /// It also lets a container reach what the host serves on its loopback addresses, unless a packet filter
    /// drops that. This crate has no filter: whoever asks for this adds the drop first.
    #[must_use]
    pub const fn with_route_localnet(mut self) -> Self {
        self.route_localnet = true;
        self
    }

    /// Says whose bridge it is.
    #[must_use]
    pub fn with_ownership(mut self, ownership: Ownership) -> Self {
        self.ownership = ownership;
        self
    }

    /// Its name on the host.
    pub const fn name(&self) -> &IfName {
        &self.name
    }

    /// Its MAC; an adopted bridge keeps its own.
    pub const fn mac(&self) -> Mac {
        self.mac
    }

    /// Its MTU in bytes; an adopted bridge keeps its own.
    pub const fn mtu(&self) -> Mtu {
        self.mtu
    }

    /// The host's addresses on it, first one first.
    pub fn addresses(&self) -> &[IpNet] {
        &self.addresses
    }

    /// Its group of links.
    pub const fn group(&self) -> Option<Group> {
        self.group
    }

    /// Whether packets from and to 127.0.0.0/8 may cross it.
    pub const fn route_localnet(&self) -> bool {
        self.route_localnet
    }

    /// Whose bridge it is.
    pub const fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    /// Whether the host has an IPv6 address on it.
    pub fn has_ipv6(&self) -> bool {
        self.addresses.iter().any(|address| matches!(address, IpNet::V6(_)))
    }
}

/// Whose bridge it is, and so what its removal means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ownership {
    /// Made by us: it is configured whole, and deleted in the end.
    #[default]
    Ours,
    /// There before us: it is only added to, and in the end what was added leaves it.
    ///
    /// It stays up, and keeps the MAC that it had when the first thing was added: a bridge that was never given one
    /// would change it with its ports. One that lacks nothing of what is wanted is left alone, its MAC too, for
    /// nothing that can be asked of it tells whether that was given; give it one by hand where its neighbours are
    /// to know it.
    Adopted(Original),
}

impl Ownership {
    /// Whose the bridge of this name is, judged before the first change: ours where there is none.
    ///
    /// The answer belongs in the caller's record of the network. Asked again after the bridge was made, it
    /// would take our own bridge for someone else's.
    ///
    /// ```
    /// use linkspan_veth_bridge::{Ownership, Seen};
    ///
    /// assert_eq!(Ownership::of(&"br0".parse()?, &Seen::default())?, Ownership::Ours);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NotABridge`] where a link of another kind has the name.
    pub fn of(name: &IfName, seen: &Seen) -> Result<Self, Error> {
        let Some(link) = seen.host.links.get(name.as_str()) else { return Ok(Self::Ours) };
        match &link.kind {
            LinkKind::Bridge(_) => Ok(Self::Adopted(Original {
                addresses: link.addresses.clone(),
                route_localnet: link.route_localnet,
            })),
            kind => Err(Error::NotABridge { name: *name, kind: kind.clone() }),
        }
    }
}

/// What an adopted bridge had before us, of what we add and take away again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Original {
    /// The host's addresses on it.
    pub addresses: BTreeSet<IpNet>,
    /// Whether packets from and to 127.0.0.0/8 might cross it.
    pub route_localnet: bool,
}

/// A group of links: a number by which the kernel deletes many links at once (`IFLA_GROUP`).
///
/// Zero is the group of every link that was put into none, so no value of this type can delete those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Group(NonZeroU32);

impl Group {
    /// The group with this number; `None` for zero.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Its number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
