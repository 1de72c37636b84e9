//! A subnet, and which of its addresses can be had.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::owner::is_token;
use crate::{Error, number};

/// Prefixes that no host on a link has an address in.
static SPECIAL: [IpNet; 7] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(0, 0, 0, 0), 8)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
    IpNet::V6(Ipv6Net::new_assert(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), 96)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8)),
];

/// The subnet of a network: its prefix, its gateway, and where in it addresses are handed out.
///
/// Reserved are the gateway, the auxiliary addresses, and what the family itself reserves: of IPv4 the network and
/// the broadcast address, but neither in a /31 (RFC 3021); of IPv6 the subnet-router anycast address, all zeros
/// (RFC 4291, 2.6.1), but not in a /127 (RFC 6164).
///
/// ```
/// use linkspan_ipam::Subnet;
///
/// let subnet = Subnet::new("10.88.0.0/16".parse()?)?;
/// assert_eq!(subnet.gateway().to_string(), "10.88.0.1");
/// let subnet = subnet.with_gateway("10.88.255.254".parse()?)?.with_range("10.88.8.0/24".parse()?)?;
/// assert_eq!(subnet.gateway().to_string(), "10.88.255.254");
/// let wrong = Subnet::new("10.88.0.5/16".parse()?).expect_err("an address, not a subnet");
/// assert_eq!(wrong.to_string(), "subnet 10.88.0.5/16 has host bits set, 10.88.0.0/16 has not");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Subnet {
    net: IpNet,
    gateway: IpAddr,
    range: Option<IpNet>,
    aux: BTreeMap<String, IpAddr>,
    open: Open,
}

/// The numbers that are handed out, worked out once: leasing asks for them again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Open {
    /// The lowest; above `last` where there is none.
    pub(crate) first: u128,
    pub(crate) last: u128,
    /// What lies between them and is reserved, in ascending order.
    holes: Vec<u128>,
}

/// Says what a subnet keeps an address for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reserve {
    /// It names the IPv4 network.
    Network,
    /// It reaches every host of the IPv4 network.
    Broadcast,
    /// It reaches any router of the IPv6 subnet.
    SubnetRouter,
    /// It is the gateway's.
    Gateway,
    /// It is an auxiliary address of this name.
    Aux(String),
}

impl Subnet {
    /// Makes a subnet whose gateway is its first host address.
    ///
    /// # Errors
    ///
    /// [`Error::HostBits`] where the prefix has some, [`Error::TooSmall`] for a /32 or /128, [`Error::Special`]
    /// where it overlaps loopback, multicast, unspecified or IPv4-mapped addresses.
    pub fn new(net: IpNet) -> Result<Self, Error> {
        refuse_host_bits(net)?;
        if net.prefix_len() == net.max_prefix_len() {
            return Err(Error::TooSmall { subnet: net });
        }
        if let Some(&special) = SPECIAL.iter().find(|special| overlap(&net, special)) {
            return Err(Error::Special { subnet: net, special });
        }
        let first = number::of(net.network()) + u128::from(!is_pair(&net));
        let gateway = number::address(first, &net);
        Ok(Self { net, gateway, range: None, aux: BTreeMap::new(), open: Open::default() }.worked_out())
    }

    /// Gives the gateway this address.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfSubnet`], or [`Error::Reserved`] where the family or an auxiliary name has the address.
    pub fn with_gateway(mut self, gateway: IpAddr) -> Result<Self, Error> {
        match self.check(gateway) {
            Ok(()) | Err(Error::Reserved { why: Reserve::Gateway, .. }) => {}
            Err(error) => return Err(error),
        }
        self.gateway = gateway;
        Ok(self.worked_out())
    }

    /// Hands addresses out of this part of the subnet alone, unless one is asked for by itself.
    ///
    /// # Errors
    ///
    /// [`Error::HostBits`] or [`Error::RangeOutOfSubnet`].
    pub fn with_range(mut self, range: IpNet) -> Result<Self, Error> {
        refuse_host_bits(range)?;
        if !self.net.contains(&range) {
            return Err(Error::RangeOutOfSubnet { range, subnet: self.net });
        }
        self.range = Some(range);
        Ok(self.worked_out())
    }

    /// Reserves an address under a name, for a host that is no container. A gateway of one's own is set before.
    ///
    /// # Errors
    ///
    /// [`Error::AuxName`] for a name that is not 1 to 128 bytes of `[A-Za-z0-9_.-]`, [`Error::AuxTwice`] for one that
    /// is used, [`Error::OutOfSubnet`] or [`Error::Reserved`] for an address that cannot be had.
    pub fn with_aux(mut self, name: &str, address: IpAddr) -> Result<Self, Error> {
        if !is_token(name) {
            return Err(Error::AuxName { name: name.to_owned() });
        }
        if self.aux.contains_key(name) {
            return Err(Error::AuxTwice { name: name.to_owned() });
        }
        self.check(address)?;
        self.aux.insert(name.to_owned(), address);
        Ok(self.worked_out())
    }

    /// Returns the prefix.
    #[must_use]
    pub fn net(&self) -> IpNet {
        self.net
    }

    /// Returns the gateway's address.
    #[must_use]
    pub fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// Returns the part that addresses are handed out of, where that is not the whole.
    #[must_use]
    pub fn range(&self) -> Option<IpNet> {
        self.range
    }

    /// Returns the auxiliary addresses by name.
    #[must_use]
    pub fn aux(&self) -> &BTreeMap<String, IpAddr> {
        &self.aux
    }

    /// Says whether a container can have this address; it may be outside the range.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfSubnet`], or [`Error::Reserved`] with what it is reserved for.
    pub fn check(&self, address: IpAddr) -> Result<(), Error> {
        if !self.net.contains(&address) {
            return Err(Error::OutOfSubnet { address, subnet: self.net });
        }
        let why = match number::of(address) {
            number if number == number::of(self.gateway) => Reserve::Gateway,
            number => match self.by_family(number).or_else(|| self.by_name(address)) {
                Some(why) => why,
                None => return Ok(()),
            },
        };
        Err(Error::Reserved { address, why })
    }

    /// Returns the numbers that are handed out.
    pub(crate) fn open(&self) -> &Open {
        &self.open
    }

    fn worked_out(mut self) -> Self {
        let (first, last) = number::span(&self.range.unwrap_or(self.net)).into_inner();
        let (low, high) = number::span(&self.net).into_inner();
        let ends = [low, high].into_iter().filter(|end| self.by_family(*end).is_some());
        let given = self.aux.values().chain([&self.gateway]).copied().map(number::of);
        self.open = Open::within(first, last, ends.chain(given).collect());
        self
    }

    fn by_family(&self, number: u128) -> Option<Reserve> {
        let (first, last) = number::span(&self.net).into_inner();
        match self.net {
            _ if is_pair(&self.net) => None,
            IpNet::V4(_) if number == first => Some(Reserve::Network),
            IpNet::V4(_) if number == last => Some(Reserve::Broadcast),
            IpNet::V6(_) if number == first => Some(Reserve::SubnetRouter),
            _ => None,
        }
    }

    fn by_name(&self, address: IpAddr) -> Option<Reserve> {
        let named = self.aux.iter().find(|(_, aux)| **aux == address);
        named.map(|(name, _)| Reserve::Aux(name.clone()))
    }
}

impl Open {
    fn within(mut first: u128, mut last: u128, mut reserved: BTreeSet<u128>) -> Self {
        // No number here is the first or last of all: no subnet may hold those.
        while reserved.remove(&first) {
            first += 1;
        }
        while first <= last && reserved.remove(&last) {
            last -= 1;
        }
        Self {
            first,
            last,
            holes: reserved.into_iter().filter(|hole| (first..=last).contains(hole)).collect(),
        }
    }

    /// Says whether this number, which is between the first and the last, is reserved.
    pub(crate) fn is_hole(&self, number: u128) -> bool {
        !self.holes.is_empty() && self.holes.binary_search(&number).is_ok()
    }
}

/// Refuses a subnet that has an address in common with one of the others, which are given with their names.
///
/// ```
/// let others = [("web", "10.88.0.0/16".parse()?), ("db", "10.89.0.0/16".parse()?)];
/// let wrong = linkspan_ipam::refuse_overlap("10.89.4.0/24".parse()?, others).expect_err("it is part of db's");
/// assert_eq!(wrong.to_string(), "subnet 10.89.4.0/24 overlaps 10.89.0.0/16 of `db`");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Error::Overlap`] with the first that it overlaps.
pub fn refuse_overlap<N: Display>(
    subnet: IpNet,
    others: impl IntoIterator<Item = (N, IpNet)>,
) -> Result<(), Error> {
    match others.into_iter().find(|(_, other)| overlap(&subnet, other)) {
        Some((name, other)) => Err(Error::Overlap { subnet, other, name: name.to_string() }),
        None => Ok(()),
    }
}

/// Says whether two prefixes share addresses: then one is part of the other.
fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

fn refuse_host_bits(given: IpNet) -> Result<(), Error> {
    let right = given.trunc();
    if given == right { Ok(()) } else { Err(Error::HostBits { given, right }) }
}

/// Says whether the subnet is a point-to-point one of two addresses, neither of them reserved by the family.
fn is_pair(net: &IpNet) -> bool {
    net.prefix_len() + 1 == net.max_prefix_len()
}

impl Display for Reserve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network => f.write_str("the network address"),
            Self::Broadcast => f.write_str("the broadcast address"),
            Self::SubnetRouter => f.write_str("the subnet-router anycast address"),
            Self::Gateway => f.write_str("the gateway"),
            Self::Aux(name) => write!(f, "the auxiliary address `{name}`"),
        }
    }
}

/// A subnet as it is stored.
#[derive(Serialize, Deserialize)]
struct Written {
    net: IpNet,
    gateway: IpAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    range: Option<IpNet>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    aux: BTreeMap<String, IpAddr>,
}

impl FromStr for Subnet {
    type Err = Error;

    /// Reads a prefix such as `10.88.0.0/24`; the rest is as [`new`](Self::new) gives it.
    ///
    /// # Errors
    ///
    /// [`Error::NotAPrefix`], and those of [`new`](Self::new).
    fn from_str(text: &str) -> Result<Self, Error> {
        let net = text.parse().map_err(|_| Error::NotAPrefix { text: text.to_owned() })?;
        Self::new(net)
    }
}

impl TryFrom<Written> for Subnet {
    type Error = Error;

    fn try_from(written: Written) -> Result<Self, Error> {
        let subnet = Self::new(written.net)?.with_gateway(written.gateway)?;
        let subnet = match written.range {
            Some(range) => subnet.with_range(range)?,
            None => subnet,
        };
        written.aux.iter().try_fold(subnet, |subnet, (name, address)| subnet.with_aux(name, *address))
    }
}

impl From<Subnet> for Written {
    fn from(Subnet { net, gateway, range, aux, .. }: Subnet) -> Self {
        Self { net, gateway, range, aux }
    }
}

#[cfg(test)]
mod tests {
    use super::Subnet;
    use crate::Error;

    /// Builds a subnet from words `NET [gateway=IP] [range=NET] [NAME=IP]...`.
    fn build(text: &str) -> Result<Subnet, Error> {
        let mut words = text.split(' ');
        let mut subnet = Subnet::new(words.next().unwrap().parse().unwrap())?;
        for word in words {
            subnet = match word.split_once('=').unwrap() {
                ("gateway", address) => subnet.with_gateway(address.parse().unwrap())?,
                ("range", net) => subnet.with_range(net.parse().unwrap())?,
                (name, address) => subnet.with_aux(name, address.parse().unwrap())?,
            };
        }
        Ok(subnet)
    }

    fn check(text: &str, expected: &str) {
        let told = build(text).map_or_else(|error| error.to_string(), |subnet| subnet.gateway().to_string());
        assert_eq!(told, expected, "{text}");
    }

    fn check_address(subnet: &str, address: &str, expected: &str) {
        let told = build(subnet).unwrap().check(address.parse().unwrap());
        assert_eq!(told.map_or_else(|error| error.to_string(), |()| "free".into()), expected);
    }

    #[test]
    fn a_text_is_read_as_its_prefix() {
        let read =
            |text: &str| text.parse::<Subnet>().map_or_else(|e| e.to_string(), |s| s.net().to_string());
        assert_eq!(read("10.0.0.0/24"), "10.0.0.0/24");
        assert_eq!(read("10.0.0.5/24"), "subnet 10.0.0.5/24 has host bits set, 10.0.0.0/24 has not");
        let wrong = "is not an address with the length of a prefix, such as 10.88.0.0/24";
        assert_eq!(read("10.0.0.0"), format!("subnet `10.0.0.0` {wrong}"));
        assert_eq!(read("x\n"), format!("subnet `x\\n` {wrong}"));
    }

    #[test]
    fn the_gateway_is_the_first_host_address_of_the_subnet_unless_given() {
        check("10.0.0.0/24", "10.0.0.1");
        check("10.0.0.0/24 range=10.0.0.128/25", "10.0.0.1");
        check("10.0.0.0/31", "10.0.0.0");
        check("fd00::/64", "fd00::1");
        check("fd00::/127", "fd00::");
        check("10.0.0.0/24 gateway=10.0.0.254", "10.0.0.254");
        check("10.0.0.0/24 gateway=10.0.0.1", "10.0.0.1");
    }

    #[test]
    fn a_subnet_is_refused_with_what_is_wrong_with_it() {
        check("10.0.0.7/24", "subnet 10.0.0.7/24 has host bits set, 10.0.0.0/24 has not");
        check("fd00::1/64", "subnet fd00::1/64 has host bits set, fd00::/64 has not");
        check("10.0.0.7/32", "subnet 10.0.0.7/32 holds a single address");
        check("fd00::/128", "subnet fd00::/128 holds a single address");
        check("127.0.0.0/16", "subnet 127.0.0.0/16 overlaps 127.0.0.0/8, which hosts cannot use");
        check("0.0.0.0/0", "subnet 0.0.0.0/0 overlaps 0.0.0.0/8, which hosts cannot use");
        check("239.1.0.0/16", "subnet 239.1.0.0/16 overlaps 224.0.0.0/4, which hosts cannot use");
        check("ff02::/16", "subnet ff02::/16 overlaps ff00::/8, which hosts cannot use");
        check(
            "::ffff:10.0.0.0/104",
            "subnet ::ffff:10.0.0.0/104 overlaps ::ffff:0.0.0.0/96, which hosts cannot use",
        );
    }

    #[test]
    fn a_gateway_is_an_address_that_a_host_can_have() {
        check("10.0.0.0/24 gateway=10.0.1.1", "address 10.0.1.1 is not in subnet 10.0.0.0/24");
        check("10.0.0.0/24 gateway=fd00::1", "address fd00::1 is not in subnet 10.0.0.0/24");
        check("10.0.0.0/24 gateway=10.0.0.0", "address 10.0.0.0 is the network address");
        check("10.0.0.0/24 gateway=10.0.0.255", "address 10.0.0.255 is the broadcast address");
        check("fd00::/64 gateway=fd00::", "address fd00:: is the subnet-router anycast address");
        check("10.0.0.0/24 nas=10.0.0.9 gateway=10.0.0.9", "address 10.0.0.9 is the auxiliary address `nas`");
    }

    #[test]
    fn a_range_is_part_of_the_subnet() {
        check("10.0.0.0/24 range=10.0.0.0/24", "10.0.0.1");
        check("10.0.0.0/24 range=10.0.1.0/25", "range 10.0.1.0/25 is not part of subnet 10.0.0.0/24");
        check("10.0.0.0/24 range=10.0.0.0/16", "range 10.0.0.0/16 is not part of subnet 10.0.0.0/24");
        check("10.0.0.0/24 range=fd00::/64", "range fd00::/64 is not part of subnet 10.0.0.0/24");
        check("10.0.0.0/24 range=10.0.0.1/25", "subnet 10.0.0.1/25 has host bits set, 10.0.0.0/25 has not");
    }

    #[test]
    fn an_auxiliary_address_has_its_own_name_and_place() {
        check("10.0.0.0/24 nas=10.0.0.9 printer=10.0.0.10", "10.0.0.1");
        check("10.0.0.0/24 gateway=10.0.0.254 nas=10.0.0.1", "10.0.0.254");
        check("10.0.0.0/24 nas=10.0.0.1", "address 10.0.0.1 is the gateway");
        check("10.0.0.0/24 nas=10.0.0.9 nas=10.0.0.10", "auxiliary name `nas` is given twice");
        check("10.0.0.0/24 nas=10.0.0.9 b=10.0.0.9", "address 10.0.0.9 is the auxiliary address `nas`");
        check(
            "10.0.0.0/24 n\\s=10.0.0.9",
            "auxiliary name `n\\\\s` is not 1 to 128 letters, digits, `_`, `.` or `-`",
        );
    }

    #[test]
    fn what_is_reserved_cannot_be_had_and_says_why() {
        let subnet = "10.0.0.0/24 range=10.0.0.128/25 nas=10.0.0.9";
        check_address(subnet, "10.0.0.0", "address 10.0.0.0 is the network address");
        check_address(subnet, "10.0.0.1", "address 10.0.0.1 is the gateway");
        check_address(subnet, "10.0.0.9", "address 10.0.0.9 is the auxiliary address `nas`");
        check_address(subnet, "10.0.0.255", "address 10.0.0.255 is the broadcast address");
        check_address(subnet, "10.0.1.0", "address 10.0.1.0 is not in subnet 10.0.0.0/24");
        check_address(subnet, "10.0.0.2", "free");
        check_address(subnet, "10.0.0.128", "free");
        check_address("10.0.0.0/31", "10.0.0.1", "free");
        check_address("10.0.0.0/31", "10.0.0.0", "address 10.0.0.0 is the gateway");
        check_address("fd00::/64", "fd00::ffff:ffff:ffff:ffff", "free");
    }

    #[test]
    fn a_subnet_is_stored_as_it_is_and_checked_when_read() {
        let subnet = build("10.0.0.0/24 gateway=10.0.0.254 range=10.0.0.128/25 nas=10.0.0.1").unwrap();
        let stored = serde_json::to_string(&subnet).unwrap();
        assert_eq!(
            stored,
            r#"{"net":"10.0.0.0/24","gateway":"10.0.0.254","range":"10.0.0.128/25","aux":{"nas":"10.0.0.1"}}"#
        );
        assert_eq!(serde_json::from_str::<Subnet>(&stored).unwrap(), subnet);
        for wrong in
            [stored.replace("/24", "/32"), stored.replace("254", "255"), stored.replace("\"nas\"", "\"\"")]
        {
            assert!(serde_json::from_str::<Subnet>(&wrong).is_err(), "{wrong}");
        }
    }
}
