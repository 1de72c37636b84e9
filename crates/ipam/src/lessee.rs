//! Who wants an address, and as whom.

use crate::Owner;

/// Who wants an address: the owner of the lease, and the one for whom addresses may be kept.
///
/// They are the same unless it is said: a lease ends with its owner, which may be one run of a container, while an
/// address is kept for whoever comes by that container's name.
///
/// ```
/// use linkspan_ipam::{Leases, Lessee, Owner, Subnet, Wanted};
///
/// let subnet = Subnet::new("10.88.0.0/24".parse()?)?;
/// let (web, first, second): (Owner, Owner, Owner) = ("web".parse()?, "run-1".parse()?, "run-2".parse()?);
/// let mut leases = Leases::new();
/// let address = leases.lease(&subnet, Lessee::of(&first).named(&web), Wanted::Any)?;
/// leases.release_all(&first);
/// leases.keep(address, &web)?;
/// assert_eq!(leases.lease(&subnet, Lessee::of(&second).named(&web), Wanted::Any)?, address);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lessee<'a> {
    pub(crate) owner: &'a Owner,
    pub(crate) name: &'a Owner,
}

impl<'a> Lessee<'a> {
    /// An owner for whom addresses are kept by the same name.
    #[must_use]
    pub const fn of(owner: &'a Owner) -> Self {
        Self { owner, name: owner }
    }

    /// Says for whom addresses may be kept that this one gets.
    #[must_use]
    pub const fn named(self, name: &'a Owner) -> Self {
        Self { name, ..self }
    }
}

impl<'a> From<&'a Owner> for Lessee<'a> {
    fn from(owner: &'a Owner) -> Self {
        Self::of(owner)
    }
}
