//! Where subnets come from when none is given.

use std::fmt;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use crate::{Error, number};

/// A prefix and the length of the subnets that it is cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Pool {
    base: IpNet,
    prefix_len: u8,
}

/// Pools in the order in which they are used up.
///
/// The default is 172.17.0.0/16 to 172.31.0.0/16, each one subnet, then 192.168.0.0/16 and 10.128.0.0/9 in subnets
/// of length 24.
///
/// ```
/// use linkspan_ipam::{Pool, Pools};
///
/// let pools = Pools::new(vec![Pool::new("10.0.0.0/8".parse()?, 24)?]);
/// let taken = ["10.0.0.0/23".parse()?, "10.0.3.7/32".parse()?];
/// assert_eq!(pools.choose(&taken)?.to_string(), "10.0.2.0/24");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pools(Vec<Pool>);

impl Pools {
    /// Lists pools; the first is used up first.
    #[must_use]
    pub fn new(pools: Vec<Pool>) -> Self {
        Self(pools)
    }

    /// Returns the pools.
    #[must_use]
    pub fn pools(&self) -> &[Pool] {
        &self.0
    }

    /// Chooses the lowest subnet of the first pool that has one which overlaps none of the taken prefixes.
    ///
    /// Prefixes of length 0 and 1 do not count: they are default routes, whole or in halves as VPN clients set them.
    ///
    /// # Errors
    ///
    /// [`Error::NoSubnet`] where everything is taken.
    pub fn choose(&self, taken: &[IpNet]) -> Result<IpNet, Error> {
        let counted = taken.iter().filter(|net| net.prefix_len() > 1);
        let mut spans: Vec<(u128, u128)> =
            counted.map(number::span).map(std::ops::RangeInclusive::into_inner).collect();
        spans.sort_unstable();
        let free = self.0.iter().find_map(|pool| pool.lowest_free(&spans));
        free.ok_or_else(|| Error::NoSubnet { pools: self.clone() })
    }
}

impl Default for Pools {
    fn default() -> Self {
        let pool = |a, b, len, prefix_len| Pool {
            base: Ipv4Net::new_assert([a, b, 0, 0].into(), len).into(),
            prefix_len,
        };
        let single = (17..=31).map(|second| pool(172, second, 16, 16));
        Self(single.chain([pool(192, 168, 16, 24), pool(10, 128, 9, 24)]).collect())
    }
}

impl Pool {
    /// Cuts a prefix into subnets of this length.
    ///
    /// # Errors
    ///
    /// [`Error::HostBits`] where the prefix has some, [`Error::PoolSize`] where the subnets would be larger than it
    /// or longer than addresses are.
    pub fn new(base: IpNet, prefix_len: u8) -> Result<Self, Error> {
        if base.trunc() != base {
            return Err(Error::HostBits { given: base, right: base.trunc() });
        }
        let fits = (base.prefix_len()..=base.max_prefix_len()).contains(&prefix_len);
        if fits { Ok(Self { base, prefix_len }) } else { Err(Error::PoolSize { base, prefix_len }) }
    }

    /// Returns the prefix.
    #[must_use]
    pub fn base(&self) -> IpNet {
        self.base
    }

    /// Returns the length of its subnets.
    #[must_use]
    pub fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// Goes once through the taken intervals, sorted by their start, and jumps over each that is in the way.
    fn lowest_free(&self, taken: &[(u128, u128)]) -> Option<IpNet> {
        let (mut start, end) = number::span(&self.base).into_inner();
        let last_of_first =
            number::span(&IpNet::new(self.base.network(), self.prefix_len).ok()?).into_inner().1;
        let rest = last_of_first - start;
        for &(from, to) in taken {
            if to < start {
                continue;
            }
            if from > start + rest {
                break;
            }
            // The first subnet that begins after the interval.
            start = (to | rest).checked_add(1).filter(|next| *next <= end)?;
        }
        IpNet::new(number::address(start, &self.base), self.prefix_len).ok()
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by /{}", self.base, self.prefix_len)
    }
}

impl fmt::Display for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, pool) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{pool}")?;
        }
        Ok(())
    }
}

/// A pool as it is stored.
#[derive(Serialize, Deserialize)]
struct Written {
    base: IpNet,
    prefix_len: u8,
}

impl TryFrom<Written> for Pool {
    type Error = Error;

    fn try_from(written: Written) -> Result<Self, Error> {
        Self::new(written.base, written.prefix_len)
    }
}

impl From<Pool> for Written {
    fn from(Pool { base, prefix_len }: Pool) -> Self {
        Self { base, prefix_len }
    }
}

#[cfg(test)]
mod tests {
    use ipnet::IpNet;
    use proptest::prelude::{Strategy, any, prop, proptest};

    use super::{Pool, Pools};
    use crate::Error;

    fn nets(text: &str) -> Vec<IpNet> {
        text.split_whitespace().map(|net| net.parse().unwrap()).collect()
    }

    /// Pools as `BASE:LEN ...`.
    fn pools(text: &str) -> Pools {
        let pool = |text: &str| {
            let (base, len) = text.rsplit_once(':').unwrap();
            Pool::new(base.parse().unwrap(), len.parse().unwrap()).unwrap()
        };
        Pools::new(text.split_whitespace().map(pool).collect())
    }

    fn check(given: &str, taken: &str, expected: &str) {
        let given = if given.is_empty() { Pools::default() } else { pools(given) };
        let chosen = given.choose(&nets(taken)).map_or_else(|error| error.to_string(), |net| net.to_string());
        assert_eq!(chosen, expected, "taken: {taken}");
    }

    #[test]
    fn default_pools_are_used_in_dockers_order() {
        check("", "", "172.17.0.0/16");
        check("", "172.17.0.0/16", "172.18.0.0/16");
        check("", "172.17.0.0/16 172.18.0.0/16 172.20.0.0/16", "172.19.0.0/16");
        check("", "172.16.0.0/12", "192.168.0.0/24");
        check("", "172.16.0.0/12 192.168.0.0/24 192.168.1.0/24", "192.168.2.0/24");
        check("", "172.16.0.0/12 192.168.0.0/16", "10.128.0.0/24");
        check("", "172.16.0.0/12 192.168.0.0/16 10.128.0.0/10", "10.192.0.0/24");
    }

    #[test]
    fn the_lowest_free_subnet_is_chosen_whatever_the_order_of_what_is_taken() {
        let pool = "10.0.0.0/8:24";
        check(pool, "", "10.0.0.0/24");
        check(pool, "10.0.1.0/24 10.0.0.0/24", "10.0.2.0/24");
        check(pool, "10.0.0.0/24 10.0.2.0/24", "10.0.1.0/24");
        check(pool, "10.0.0.255/32", "10.0.1.0/24");
        check(pool, "10.0.0.0/9 10.0.0.5/32", "10.128.0.0/24");
        check(pool, "9.0.0.0/8 11.0.0.0/8 fd00::/8", "10.0.0.0/24");
    }

    #[test]
    fn default_routes_in_halves_do_not_take_everything() {
        check("", "0.0.0.0/0 0.0.0.0/1 128.0.0.0/1 172.17.0.0/16", "172.18.0.0/16");
        check("fd00::/48:64", "::/0 8000::/1", "fd00::/64");
    }

    #[test]
    fn full_pools_are_named() {
        check("10.0.0.0/23:24", "10.0.0.0/24 10.0.1.0/24", "no free subnet in 10.0.0.0/23 by /24");
        check(
            "10.0.0.0/24:24 fd00::/64:64",
            "0.0.0.0/2 fc00::/7",
            "no free subnet in 10.0.0.0/24 by /24, fd00::/64 by /64",
        );
        check("ffff::/16:17", "ffff::/17 ffff:8000::/17", "no free subnet in ffff::/16 by /17");
        check("255.255.255.0/24:25", "255.255.255.0/24", "no free subnet in 255.255.255.0/24 by /25");
    }

    #[test]
    fn a_pool_cannot_be_cut_into_larger_pieces_than_itself() {
        let check = |base: &str, len, expected: &str| {
            assert_eq!(Pool::new(base.parse().unwrap(), len).unwrap_err().to_string(), expected);
        };
        check("10.0.0.0/16", 15, "pool 10.0.0.0/16 cannot be cut into subnets of prefix length 15");
        check("10.0.0.0/16", 33, "pool 10.0.0.0/16 cannot be cut into subnets of prefix length 33");
        check("10.0.0.1/16", 24, "subnet 10.0.0.1/16 has host bits set, 10.0.0.0/16 has not");
    }

    #[test]
    fn pools_are_stored_as_they_are_and_checked_when_read() {
        let stored = serde_json::to_string(&pools("10.0.0.0/8:24")).unwrap();
        assert_eq!(stored, r#"[{"base":"10.0.0.0/8","prefix_len":24}]"#);
        assert_eq!(serde_json::from_str::<Pools>(&stored).unwrap(), pools("10.0.0.0/8:24"));
        assert!(serde_json::from_str::<Pools>(r#"[{"base":"10.0.0.0/8","prefix_len":7}]"#).is_err());
    }

    #[test]
    fn a_pool_too_large_to_scan_gives_its_answer_all_the_same() {
        let taken: Vec<IpNet> = (0..30_000_u128)
            .map(|nth| IpNet::new_assert(std::net::IpAddr::V6((nth << 98 | 0xfd << 120).into()), 30))
            .collect();
        assert_eq!(pools("::/0:128").choose(&taken).unwrap().to_string(), "::/128");
        assert_eq!(pools("fd00::/8:128").choose(&taken).unwrap().to_string(), "fd01:d4c0::/128");
    }

    fn anywhere() -> impl Strategy<Value = IpNet> {
        (any::<u16>(), 2..=32_u8).prop_map(|(low, len)| {
            let [high, low] = low.to_be_bytes();
            IpNet::new_assert([10, 0, high, low].into(), len).trunc()
        })
    }

    proptest! {
        #[test]
        fn the_choice_is_what_trying_each_in_turn_would_find(
            taken in prop::collection::vec(anywhere(), 0..20), base in 16..=24_u8, more in 0..=4_u8,
        ) {
            let base = IpNet::new_assert([10, 0, 0, 0].into(), base);
            let pool = Pool::new(base, base.prefix_len() + more).unwrap();
            let tried = base.subnets(pool.prefix_len()).unwrap().find(|subnet| {
                !taken.iter().any(|other| other.contains(subnet) || subnet.contains(other))
            });
            match Pools::new(vec![pool]).choose(&taken) {
                Ok(chosen) => assert_eq!(Some(chosen), tried),
                Err(Error::NoSubnet { .. }) => assert_eq!(tried, None),
                Err(other) => panic!("{other}"),
            }
        }
    }
}
