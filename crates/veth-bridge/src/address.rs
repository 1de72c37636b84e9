//! Arithmetic of addresses.

use ipnet::{IpNet, Ipv6Net};
use linkspan_net_types::Mac;
use std::net::Ipv6Addr;

/// The link-local address that belongs to a MAC: `fe80::/64` and its modified EUI-64 (RFC 4291, appendix A).
pub(crate) fn link_local(mac: Mac) -> Ipv6Net {
    let [a, b, c, d, e, f] = mac.bytes();
    let mut octets = [0; 16];
    octets[..2].copy_from_slice(&[0xfe, 0x80]);
    octets[8..].copy_from_slice(&[a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Net::new_assert(Ipv6Addr::from(octets), 64)
}

/// Whether the subnets of two addresses have an address in common.
pub(crate) fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one) || one.trunc() == other.trunc()
}

/// Whether an address is only meant for its own link, which every link may have (RFC 4291, section 2.5.6).
pub(crate) fn is_link_local(address: &IpNet) -> bool {
    matches!(address, IpNet::V6(v6) if v6.addr().is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_local_address_has_the_universal_bit_of_its_mac_flipped() {
        fn check(mac: &str, expected: &str) {
            assert_eq!(link_local(mac.parse().unwrap()).to_string(), expected, "{mac}");
        }
        check("02:42:0a:58:00:02", "fe80::42:aff:fe58:2/64");
        check("34:56:78:9a:bc:de", "fe80::3656:78ff:fe9a:bcde/64");
    }

    #[test]
    fn subnets_overlap_where_one_lies_in_the_other() {
        fn check(one: &str, other: &str, expected: bool) {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(overlap(&one, &other), expected, "{one} {other}");
            assert_eq!(overlap(&other, &one), expected, "{other} {one}");
        }
        check("10.88.0.2/24", "10.88.0.9/24", true);
        check("10.88.0.2/24", "10.88.0.200/25", true);
        check("10.88.0.2/24", "10.88.1.2/24", false);
        check("10.88.0.2/32", "10.88.0.2/32", true);
        check("fd00::2/64", "fd00:0:0:1::2/64", false);
        check("0.0.0.0/0", "fd00::2/64", false);
    }
}
