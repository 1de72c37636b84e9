//! Numbers of the kernel's interface, by header.

use linkspan_netlink::Kind;

// linux/rtnetlink.h
pub(super) const RTM_NEWLINK: Kind = Kind::new(16);
pub(super) const RTM_DELLINK: Kind = Kind::new(17);
pub(super) const RTM_GETLINK: Kind = Kind::new(18);
pub(super) const RTM_NEWADDR: Kind = Kind::new(20);
pub(super) const RTM_DELADDR: Kind = Kind::new(21);
pub(super) const RTM_GETADDR: Kind = Kind::new(22);
pub(super) const RTM_NEWROUTE: Kind = Kind::new(24);
pub(super) const RTM_GETROUTE: Kind = Kind::new(26);
pub(super) const RTM_GETRULE: Kind = Kind::new(34);
pub(super) const RTM_GETMULTICAST: Kind = Kind::new(58);
pub(super) const RT_TABLE_MAIN: u8 = 254;
pub(super) const RTPROT_STATIC: u8 = 4;
pub(super) const RTN_UNICAST: u8 = 1;
pub(super) const RTA_DST: u16 = 1;
pub(super) const RTA_OIF: u16 = 4;
pub(super) const RTA_GATEWAY: u16 = 5;
pub(super) const RTA_PRIORITY: u16 = 6;
pub(super) const RTA_PREFSRC: u16 = 7;
pub(super) const RTA_MULTIPATH: u16 = 9;
pub(super) const RTA_TABLE: u16 = 15;
pub(super) const RTA_VIA: u16 = 18;
pub(super) const RTA_ENCAP: u16 = 22;
pub(super) const RTNH_F_DEAD: u32 = 1;
pub(super) const RTM_F_CLONED: u32 = 0x200;
pub(super) const RTEXT_FILTER_SKIP_STATS: u32 = 8;
/// The sizes of `struct ifinfomsg`, `ifaddrmsg` and `rtmsg`.
pub(super) const LINK_HEADER: usize = 16;
pub(super) const ADDRESS_HEADER: usize = 8;
pub(super) const ROUTE_HEADER: usize = 12;

// linux/if.h
pub(super) const IFF_UP: u32 = 1;
pub(super) const IFF_LOOPBACK: u32 = 8;

// linux/if_link.h
pub(super) const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MTU: u16 = 4;
pub(super) const IFLA_MASTER: u16 = 10;
pub(super) const IFLA_LINKINFO: u16 = 18;
pub(super) const IFLA_AF_SPEC: u16 = 26;
pub(super) const IFLA_GROUP: u16 = 27;
pub(super) const IFLA_NET_NS_FD: u16 = 28;
pub(super) const IFLA_EXT_MASK: u16 = 29;
pub(super) const IFLA_NUM_TX_QUEUES: u16 = 31;
pub(super) const IFLA_NUM_RX_QUEUES: u16 = 32;
pub(super) const IFLA_INFO_KIND: u16 = 1;
pub(super) const IFLA_INFO_DATA: u16 = 2;
pub(super) const IFLA_INFO_SLAVE_KIND: u16 = 4;
pub(super) const IFLA_INFO_SLAVE_DATA: u16 = 5;
pub(super) const IFLA_BR_NF_CALL_IPTABLES: u16 = 36;
pub(super) const IFLA_BR_NF_CALL_IP6TABLES: u16 = 37;
pub(super) const IFLA_BRPORT_STATE: u16 = 1;
pub(super) const IFLA_BRPORT_MODE: u16 = 4;
pub(super) const IFLA_BRPORT_ISOLATED: u16 = 33;
pub(super) const IFLA_INET_CONF: u16 = 1;
pub(super) const IFLA_INET6_CONF: u16 = 2;
pub(super) const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
pub(super) const IN6_ADDR_GEN_MODE_EUI64: i32 = 0;
pub(super) const IN6_ADDR_GEN_MODE_NONE: u8 = 1;

// linux/veth.h
pub(super) const VETH_INFO_PEER: u16 = 1;

// linux/ip.h; the array that the kernel reports begins with number 1
pub(super) const IPV4_DEVCONF_FORWARDING: u16 = 1;
pub(super) const IPV4_DEVCONF_RP_FILTER: u16 = 8;
pub(super) const IPV4_DEVCONF_ACCEPT_LOCAL: u16 = 23;
pub(super) const IPV4_DEVCONF_ROUTE_LOCALNET: u16 = 26;

// linux/ipv6.h
pub(super) const DEVCONF_ACCEPT_RA: usize = 3;
pub(super) const DEVCONF_ADDR_GEN_MODE: usize = 47;

// linux/if_addr.h
pub(super) const IFA_ADDRESS: u16 = 1;
pub(super) const IFA_LOCAL: u16 = 2;
pub(super) const IFA_BROADCAST: u16 = 4;
pub(super) const IFA_MULTICAST: u16 = 7;
pub(super) const IFA_FLAGS: u16 = 8;
pub(super) const IFA_F_NODAD: u8 = 2;
pub(super) const IFA_F_SECONDARY: u32 = 1;
pub(super) const IFA_F_OPTIMISTIC: u32 = 4;
pub(super) const IFA_F_DADFAILED: u32 = 8;
pub(super) const IFA_F_DEPRECATED: u32 = 0x20;
pub(super) const IFA_F_TENTATIVE: u32 = 0x40;

// linux/if_bridge.h
pub(super) const BR_STATE_FORWARDING: u8 = 3;

// linux/fib_rules.h
pub(super) const FRA_DST: u16 = 1;
pub(super) const FRA_SRC: u16 = 2;
pub(super) const FRA_IIFNAME: u16 = 3;
pub(super) const FRA_PRIORITY: u16 = 6;
pub(super) const FRA_SUPPRESS_IFGROUP: u16 = 13;
pub(super) const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
pub(super) const FRA_TABLE: u16 = 15;
pub(super) const FRA_PAD: u16 = 18;
pub(super) const FRA_PROTOCOL: u16 = 21;
pub(super) const FR_ACT_TO_TBL: u8 = 1;
pub(super) const FIB_RULE_INVERT: u32 = 2;
/// The size of `struct fib_rule_hdr`.
pub(super) const RULE_HEADER: usize = 12;

// bits/socket.h
pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;
