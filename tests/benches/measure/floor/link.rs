//! Links, addresses and routes (`linux/rtnetlink.h`, `linux/if_link.h`).

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::netlink::{MAKE, Netlink};

const ETHERNET: u32 = 1500;
const PREFIX: u8 = 16;
/// The first link of a namespace, and the one that is made in it first.
const LO: u32 = 1;
const ETH0: u32 = 2;
const UP: u32 = libc::IFF_UP.cast_unsigned();
/// `VETH_INFO_PEER`, `IFLA_INET6_ADDR_GEN_MODE`, `IN6_ADDR_GEN_MODE_NONE`.
const PEER: u16 = 1;
const ADDR_GEN_MODE: u16 = 8;
const NO_ADDRESSES: u8 = 1;

/// A host end that is to be a port of a bridge, and the address of the other end.
pub(super) struct Pair<'a> {
    pub(super) name: &'a str,
    pub(super) address: Ipv4Addr,
    pub(super) bridge: u32,
}

/// All of a container, on a socket of its namespace: the pair with the host end away in the host's, `lo` and
/// `eth0` up, the address, the route.
pub(super) fn container(to: &mut Netlink, pair: &Pair<'_>, host: RawFd) {
    veth(to, pair, host);
    set_up(to, LO);
    without_addresses_of_its_own(to, ETH0);
    set_up(to, ETH0);
    address(to, ETH0, pair.address);
    default_route(to, Ipv4Addr::from(u32::from(pair.address) & 0xffff_0000 | 1));
}

fn veth(to: &mut Netlink, pair: &Pair<'_>, host: RawFd) {
    to.message(libc::RTM_NEWLINK, MAKE, &link(0, UP, UP));
    to.text(libc::IFLA_IFNAME, pair.name);
    to.number(libc::IFLA_MTU, ETHERNET);
    one_queue(to);
    to.number(libc::IFLA_NET_NS_FD, host.cast_unsigned());
    to.number(libc::IFLA_MASTER, pair.bridge);
    to.nest(libc::IFLA_LINKINFO, |to| {
        to.attribute(libc::IFLA_INFO_KIND, b"veth");
        to.nest(libc::IFLA_INFO_DATA, |to| {
            to.nest(PEER, |to| {
                to.bytes(&link(0, 0, 0));
                to.text(libc::IFLA_IFNAME, "eth0");
                to.attribute(libc::IFLA_ADDRESS, &mac(pair.address));
                to.number(libc::IFLA_MTU, ETHERNET);
                one_queue(to);
            });
        });
    });
}

fn one_queue(to: &mut Netlink) {
    to.number(libc::IFLA_NUM_TX_QUEUES, 1);
    to.number(libc::IFLA_NUM_RX_QUEUES, 1);
}

fn set_up(to: &mut Netlink, index: u32) {
    to.message(libc::RTM_NEWLINK, 0, &link(index, UP, UP));
}

/// No link-local address, so no datagrams to every other port of the bridge.
fn without_addresses_of_its_own(to: &mut Netlink, index: u32) {
    to.message(libc::RTM_NEWLINK, 0, &link(index, 0, 0));
    to.nest(libc::IFLA_AF_SPEC, |to| {
        to.nest(u16::from(libc::AF_INET6.to_ne_bytes()[0]), |to| {
            to.attribute(ADDR_GEN_MODE, &[NO_ADDRESSES]);
        });
    });
}

pub(super) fn address(to: &mut Netlink, index: u32, address: Ipv4Addr) {
    let [a, b, c, d] = index.to_ne_bytes();
    to.message(libc::RTM_NEWADDR, MAKE, &[libc::AF_INET.to_ne_bytes()[0], PREFIX, 0, 0, a, b, c, d]);
    let broadcast = Ipv4Addr::from(u32::from(address) | 0xffff);
    to.attribute(libc::IFA_LOCAL, &address.octets());
    to.attribute(libc::IFA_ADDRESS, &address.octets());
    to.attribute(libc::IFA_BROADCAST, &broadcast.octets());
}

/// `struct rtmsg`: any destination, the main table, made by hand, for the whole world, to one machine.
fn default_route(to: &mut Netlink, gateway: Ipv4Addr) {
    let header = [
        libc::AF_INET.to_ne_bytes()[0],
        0,
        0,
        0,
        libc::RT_TABLE_MAIN,
        libc::RTPROT_STATIC,
        libc::RT_SCOPE_UNIVERSE,
        libc::RTN_UNICAST,
        0,
        0,
        0,
        0,
    ];
    to.message(libc::RTM_NEWROUTE, MAKE, &header);
    to.attribute(libc::RTA_GATEWAY, &gateway.octets());
}

pub(super) fn bridge(to: &mut Netlink, name: &str) {
    set_up(to, LO);
    to.message(libc::RTM_NEWLINK, MAKE, &link(0, UP, UP));
    to.text(libc::IFLA_IFNAME, name);
    to.nest(libc::IFLA_LINKINFO, |to| to.attribute(libc::IFLA_INFO_KIND, b"bridge"));
}

pub(super) fn delete(to: &mut Netlink, name: &str) {
    to.message(libc::RTM_DELLINK, 0, &link(0, 0, 0));
    to.text(libc::IFLA_IFNAME, name);
}

pub(super) fn set_down(to: &mut Netlink, name: &str) {
    to.message(libc::RTM_NEWLINK, 0, &link(0, 0, UP));
    to.text(libc::IFLA_IFNAME, name);
}

/// `struct ifinfomsg`.
fn link(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&change.to_ne_bytes());
    header
}

fn mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [2, 0x42, a, b, c, d]
}

/// Lets the kernel act on the carrier of a link at once.
#[derive(Debug)]
pub(super) struct Carrier(OwnedFd);

/// `struct ethtool_value` of `linux/ethtool.h`, with `ETHTOOL_GLINK`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

const GLINK: u32 = 0xa;
const SIOCETHTOOL: libc::Ioctl = 0x8946;

impl Carrier {
    pub(super) fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        Ok(Self(socket(AddressFamily::Inet, SockType::Datagram, flags, None)?))
    }

    #[allow(unsafe_code)]
    pub(super) fn settle(&self, name: &str) -> io::Result<()> {
        let mut value = Value { command: GLINK, data: 0 };
        let mut ifr_name = [0; libc::IFNAMSIZ];
        for (to, from) in ifr_name.iter_mut().zip(name.bytes()) {
            *to = libc::c_char::from_ne_bytes([from]);
        }
        let ifr_ifru = libc::__c_anonymous_ifr_ifru { ifru_data: (&raw mut value).cast() };
        let mut request = libc::ifreq { ifr_name, ifr_ifru };
        // SAFETY: SIOCETHTOOL reads and writes the request and the value it points to; both outlive the call.
        let asked = unsafe { libc::ioctl(self.0.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
        if asked == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}
