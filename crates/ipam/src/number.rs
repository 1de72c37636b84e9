//! Addresses of both families as numbers, and prefixes as intervals of them.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;

/// Returns the address as a number: an IPv4 address as the IPv6 one that it maps to (RFC 4291, 2.5.5.2), so that
/// both families share one line of numbers.
#[inline]
pub(crate) fn of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// Returns the address that has this number, an IPv4 one where it is mapped.
pub(crate) fn canonical(number: u128) -> IpAddr {
    IpAddr::V6(number.into()).to_canonical()
}

/// Returns the address of the same family as `like` that has this number.
#[inline]
pub(crate) fn address(number: u128, like: &IpNet) -> IpAddr {
    match like {
        IpNet::V4(_) => {
            let [.., a, b, c, d] = number.to_be_bytes();
            Ipv4Addr::new(a, b, c, d).into()
        }
        IpNet::V6(_) => IpAddr::V6(number.into()),
    }
}

/// Returns the numbers of all addresses of a prefix.
pub(crate) fn span(net: &IpNet) -> RangeInclusive<u128> {
    of(net.network())..=of(net.broadcast())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use ipnet::IpNet;
    use proptest::prelude::{any, proptest};

    use super::{address, canonical, of, span};

    proptest! {
        #[test]
        fn a_number_leads_back_to_its_address(given in any::<IpAddr>(), len in 0..=32_u8) {
            let like = IpNet::new_assert(given, len);
            assert_eq!(address(of(given), &like), given);
            assert_eq!(canonical(of(given)), given.to_canonical());
        }

        #[test]
        fn an_address_is_in_the_span_of_its_prefixes(given in any::<IpAddr>(), len in 0..=32_u8) {
            assert!(span(&IpNet::new_assert(given, len)).contains(&of(given)));
        }
    }
}
