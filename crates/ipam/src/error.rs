//! What can go wrong with addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{Owner, Pools, Reserve};

/// Says why an address or a subnet cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no [`Owner`].
    #[error("owner `{}` is not 1 to 128 letters, digits, `_`, `.` or `-`", text.escape_debug())]
    Owner {
        /// The text as it was given.
        text: String,
    },
    /// The text is no prefix.
    #[error("subnet `{}` is not an address with the length of a prefix, such as 10.88.0.0/24", text.escape_debug())]
    NotAPrefix {
        /// The text as it was given.
        text: String,
    },
    /// The prefix names an address, not a subnet.
    #[error("subnet {given} has host bits set, {right} has not")]
    HostBits {
        /// The prefix as it was given.
        given: IpNet,
        /// The subnet that it lies in.
        right: IpNet,
    },
    /// The subnet has no room for a gateway and one more.
    #[error("subnet {subnet} holds a single address")]
    TooSmall {
        /// The subnet.
        subnet: IpNet,
    },
    /// The subnet holds addresses that no host can have.
    #[error("subnet {subnet} overlaps {special}, which hosts cannot use")]
    Special {
        /// The subnet.
        subnet: IpNet,
        /// The loopback, multicast, unspecified or IPv4-mapped prefix.
        special: IpNet,
    },
    /// The address is not in the subnet.
    #[error("address {address} is not in subnet {subnet}")]
    OutOfSubnet {
        /// The address.
        address: IpAddr,
        /// The subnet.
        subnet: IpNet,
    },
    /// The range is not part of the subnet.
    #[error("range {range} is not part of subnet {subnet}")]
    RangeOutOfSubnet {
        /// The range.
        range: IpNet,
        /// The subnet.
        subnet: IpNet,
    },
    /// The subnet keeps the address for itself.
    #[error("address {address} is {why}")]
    Reserved {
        /// The address.
        address: IpAddr,
        /// What it is kept for.
        why: Reserve,
    },
    /// The text does not name an auxiliary address.
    #[error("auxiliary name `{}` is not 1 to 128 letters, digits, `_`, `.` or `-`", name.escape_debug())]
    AuxName {
        /// The name as it was given.
        name: String,
    },
    /// Two auxiliary addresses have one name.
    #[error("auxiliary name `{name}` is given twice")]
    AuxTwice {
        /// The name.
        name: String,
    },
    /// Somebody else has the address.
    #[error("address {address} is leased to `{owner}`")]
    Taken {
        /// The address.
        address: IpAddr,
        /// Who has it.
        owner: Owner,
    },
    /// The address is reserved for somebody else.
    #[error("address {address} is kept for `{owner}`")]
    Kept {
        /// The address.
        address: IpAddr,
        /// Whom it is kept for.
        owner: Owner,
    },
    /// Every address that may be handed out is taken.
    #[error("no free address in {subnet}")]
    Exhausted {
        /// The subnet; where it has a range, that is what is exhausted.
        subnet: IpNet,
    },
    /// Another network has some of the subnet's addresses.
    #[error("subnet {subnet} overlaps {other} of `{name}`")]
    Overlap {
        /// The subnet.
        subnet: IpNet,
        /// What it overlaps.
        other: IpNet,
        /// Whose that is.
        name: String,
    },
    /// The subnets of a pool would be larger than the pool, or smaller than an address.
    #[error("pool {base} cannot be cut into subnets of prefix length {prefix_len}")]
    PoolSize {
        /// The pool.
        base: IpNet,
        /// The prefix length of its subnets.
        prefix_len: u8,
    },
    /// Every subnet of every pool is taken.
    #[error("no free subnet in {pools}")]
    NoSubnet {
        /// The pools.
        pools: Pools,
    },
    /// The text is no [`Change`](crate::Change).
    #[error("`{}` is not a change of leases", text.escape_debug())]
    Change {
        /// The text as it was given.
        text: String,
    },
    /// The file that keeps the leases cannot be used.
    #[cfg(feature = "kernel")]
    #[error("cannot use the lease book")]
    Book(#[from] linkspan_records::Error),
}
