//! IPv6 subnets for networks that were given none.

use ipnet::{IpNet, Ipv6Net};

use crate::{Error, Pool, Pools, sha1};

/// Chooses the lowest free /64 of this host's own unique local /48 (RFC 4193).
///
/// The /48 is `fd`, then the last 40 bits of a SHA-1 digest as in section 3.2.2, of the machine id instead of the
/// time of day: the same host has the same prefix for ever. Forty bits do not give the machine id away, which
/// machine-id(5) asks to keep confidential.
///
/// ```
/// use linkspan_ipam::ula_subnet;
///
/// let first = ula_subnet(b"4d1f0e7c29d24b6fa4b1c9b5d3f0a6e8", &[])?;
/// let second = ula_subnet(b"4d1f0e7c29d24b6fa4b1c9b5d3f0a6e8", &[first.into()])?;
/// assert!(first.to_string().starts_with("fd") && first.prefix_len() == 64);
/// assert_eq!(first.network().segments()[..3], second.network().segments()[..3]);
/// # Ok::<(), linkspan_ipam::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::NoSubnet`] where all 65,536 are taken.
pub fn ula_subnet(machine_id: &[u8], taken: &[IpNet]) -> Result<Ipv6Net, Error> {
    let pools = Pools::new(vec![Pool::new(prefix(machine_id).into(), 64)?]);
    match pools.choose(taken)? {
        IpNet::V6(net) => Ok(net),
        IpNet::V4(_) => Err(Error::NoSubnet { pools }),
    }
}

/// Returns the host's /48.
fn prefix(machine_id: &[u8]) -> Ipv6Net {
    let [.., a, b, c, d, e] = sha1::digest(&[b"linkspan".as_slice(), machine_id].concat());
    let words = [[0xfd, a], [b, c], [d, e]].map(u16::from_be_bytes);
    Ipv6Net::new_assert([words[0], words[1], words[2], 0, 0, 0, 0, 0].into(), 48)
}

#[cfg(test)]
mod tests {
    use ipnet::Ipv6Net;
    use proptest::prelude::proptest;

    use super::{prefix, ula_subnet};

    #[test]
    fn one_host_has_one_prefix_and_another_host_another() {
        assert_eq!(prefix(b"a"), prefix(b"a"));
        assert_ne!(prefix(b"a"), prefix(b"b"));
    }

    #[test]
    fn the_prefix_of_a_machine_never_changes() {
        // A host that is updated keeps its networks: this text is a promise.
        assert_eq!(prefix(b"00000000000000000000000000000000").to_string(), "fdef:a87c:58c8::/48");
    }

    #[test]
    fn what_is_taken_is_skipped() {
        let base = u128::from(prefix(b"host").network());
        let nth = |nth: u128| Ipv6Net::new_assert((base | nth << 64).into(), 64);
        assert_eq!(ula_subnet(b"host", &[]).unwrap(), nth(0));
        assert_eq!(ula_subnet(b"host", &[nth(0).into(), nth(1).into(), nth(3).into()]).unwrap(), nth(2));
        let error = ula_subnet(b"host", &[prefix(b"host").into()]).unwrap_err().to_string();
        assert_eq!(error, format!("no free subnet in {} by /64", prefix(b"host")));
    }

    proptest! {
        #[test]
        fn every_prefix_is_unique_local_and_locally_assigned(machine_id: Vec<u8>) {
            assert!("fd00::/8".parse::<Ipv6Net>().unwrap().contains(&prefix(&machine_id)));
        }
    }
}
