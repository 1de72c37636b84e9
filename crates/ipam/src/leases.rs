//! Who has which address of a network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::holdings::Holdings;
use crate::{AddressSet, Change, Error, Lessee, Owner, Subnet};

/// The leases and reservations of one network, of all its subnets.
///
/// An address has at most one owner. A *reservation* keeps an address for one owner, also while nobody has it
/// leased: it outlives the lease, and nobody else gets the address.
///
/// ```
/// use linkspan_ipam::{Error, Leases, Owner, Subnet, Wanted};
///
/// let subnet = Subnet::new("10.88.0.0/24".parse()?)?;
/// let (web, db): (Owner, Owner) = ("web".parse()?, "db".parse()?);
/// let mut leases = Leases::new();
/// let address = leases.lease(&subnet, &web, Wanted::This("10.88.0.9".parse()?))?;
/// assert!(matches!(leases.lease(&subnet, &db, Wanted::This(address)), Err(Error::Taken { owner, .. }) if owner == web));
///
/// leases.keep(address, &web)?;
/// leases.release_all(&web);
/// assert!(matches!(leases.lease(&subnet, &db, Wanted::This(address)), Err(Error::Kept { owner, .. }) if owner == web));
/// assert_eq!(leases.lease(&subnet, &web, Wanted::Any)?, address);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    held: Holdings,
    kept: Holdings,
    /// What is held or kept.
    taken: AddressSet,
}

/// Says which address is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One that is kept for the owner, or else the lowest free one of the subnet's range.
    Any,
    /// This one, inside the range or outside.
    This(IpAddr),
}

impl Leases {
    /// Begins with nothing leased.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the owner an address. With [`Wanted::Any`] each call gives another one; wanting [`Wanted::This`] again
    /// is fine.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub fn lease<'a>(
        &mut self,
        subnet: &Subnet,
        lessee: impl Into<Lessee<'a>>,
        wanted: Wanted,
    ) -> Result<IpAddr, Error> {
        let lessee = lessee.into();
        let address = self.find(subnet, lessee, wanted)?;
        self.apply(&Change::Lease(address, lessee.owner.clone()));
        Ok(address)
    }

    /// Finds the address that [`lease`](Self::lease) would give, and changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Exhausted`] where no address of the subnet is free; for a wanted one, [`Error::OutOfSubnet`],
    /// [`Error::Reserved`], [`Error::Kept`] or [`Error::Taken`].
    pub fn find<'a>(
        &self,
        subnet: &Subnet,
        lessee: impl Into<Lessee<'a>>,
        wanted: Wanted,
    ) -> Result<IpAddr, Error> {
        let lessee = lessee.into();
        match wanted {
            Wanted::This(address) => {
                subnet.check(address)?;
                self.refuse_others(address, lessee)?;
                Ok(address)
            }
            Wanted::Any => match self.kept_and_free(subnet, lessee.name) {
                Some(address) => Ok(address),
                None => self.taken.lowest_free(subnet),
            },
        }
    }

    /// Finds an address as [`find`](Self::find) does, but passes over leases whose owner is dead.
    ///
    /// Whether an owner lives is asked only where an address that it has stands in the way: the wanted one, one that is
    /// kept for the lessee's name, or each of an exhausted subnet until a dead owner's is found, the lowest first. No
    /// owner is asked about twice.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub fn find_or_reclaim<'a>(
        &self,
        subnet: &Subnet,
        lessee: impl Into<Lessee<'a>>,
        wanted: Wanted,
        alive: &mut dyn FnMut(&Owner) -> bool,
    ) -> Result<IpAddr, Error> {
        let lessee = lessee.into();
        let mut living = BTreeSet::from([lessee.owner.clone()]);
        let dead = &mut |holder: &Owner| {
            if living.contains(holder) {
                return false;
            }
            let lives = alive(holder);
            if lives {
                living.insert(holder.clone());
            }
            !lives
        };
        if wanted == Wanted::Any
            && let Some(address) = self.kept_and_had(subnet, lessee.name, dead)
        {
            return Ok(address);
        }
        match self.find(subnet, lessee, wanted) {
            Err(Error::Taken { address, owner: holder }) if dead(&holder) => Ok(address),
            Err(exhausted @ Error::Exhausted { .. }) => {
                self.lowest_of_the_dead(subnet, lessee.name, dead).ok_or(exhausted)
            }
            found => found,
        }
    }

    /// Gives an address back and returns who had it.
    pub fn release(&mut self, address: IpAddr) -> Option<Owner> {
        let owner = self.owner_of(address).cloned();
        self.apply(&Change::Release(address));
        owner
    }

    /// Gives back all that an owner has, and returns it. Reservations stay.
    pub fn release_all(&mut self, owner: &Owner) -> Vec<IpAddr> {
        let addresses: Vec<IpAddr> = self.addresses_of(owner).collect();
        for address in &addresses {
            self.apply(&Change::Release(*address));
        }
        addresses
    }

    /// Keeps an address for an owner, who need not have it leased.
    ///
    /// # Errors
    ///
    /// [`Error::Kept`] or [`Error::Taken`] where another owner is in the way.
    pub fn keep(&mut self, address: IpAddr, owner: &Owner) -> Result<(), Error> {
        self.check_keep(address, owner)?;
        self.apply(&Change::Keep(address, owner.clone()));
        Ok(())
    }

    /// Says whether [`keep`](Self::keep) would, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`keep`](Self::keep).
    pub fn check_keep(&self, address: IpAddr, owner: &Owner) -> Result<(), Error> {
        self.refuse_others(address, owner.into())
    }

    /// Finds the changes that make these the reservations, and no others; leases stay as they are.
    ///
    /// ```
    /// use linkspan_ipam::{Change, Leases};
    ///
    /// let mut leases = Leases::new();
    /// leases.keep("10.88.0.2".parse()?, &"web".parse()?)?;
    /// let kept = [("10.88.0.3".parse()?, "db".parse()?)].into();
    /// let changes = leases.changes_to_keep(&kept);
    /// assert_eq!(changes, ["unkeep 10.88.0.2".parse()?, "keep 10.88.0.3 db".parse::<Change>()?]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn changes_to_keep(&self, kept: &BTreeMap<IpAddr, Owner>) -> Vec<Change> {
        let surplus = self.reservations().filter(|(address, _)| !kept.contains_key(address));
        let missing = kept.iter().filter(|(address, name)| self.kept_for(**address) != Some(*name));
        let missing = missing.map(|(address, name)| Change::Keep(*address, name.clone()));
        surplus.map(|(address, _)| Change::Unkeep(address)).chain(missing).collect()
    }

    /// Ends the reservation of an address and returns whom it was kept for. A lease of it stays.
    pub fn release_reservation(&mut self, address: IpAddr) -> Option<Owner> {
        let owner = self.kept_for(address).cloned();
        self.apply(&Change::Unkeep(address));
        owner
    }

    /// Returns who has the address leased.
    #[must_use]
    pub fn owner_of(&self, address: IpAddr) -> Option<&Owner> {
        self.held.owner_of(address)
    }

    /// Returns whom the address is kept for.
    #[must_use]
    pub fn kept_for(&self, address: IpAddr) -> Option<&Owner> {
        self.kept.owner_of(address)
    }

    /// Returns the addresses that an owner has leased, in ascending order.
    pub fn addresses_of(&self, owner: &Owner) -> impl Iterator<Item = IpAddr> {
        self.held.of(owner)
    }

    /// Returns everybody who has an address leased, in the order of their names.
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.held.owners()
    }

    /// Returns the leases in the order of their addresses.
    pub fn leases(&self) -> impl Iterator<Item = (IpAddr, &Owner)> {
        self.held.iter()
    }

    /// Returns the reservations in the order of their addresses.
    pub fn reservations(&self) -> impl Iterator<Item = (IpAddr, &Owner)> {
        self.kept.iter()
    }

    /// Returns how many addresses are leased.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Says whether no address is leased.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes a change, whatever it is: the decision was another's. It gives an address to one owner at a time.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Lease(address, owner) => {
                self.held.insert(*address, owner);
                self.taken.insert(*address);
            }
            Change::Keep(address, owner) => {
                self.kept.insert(*address, owner);
                self.taken.insert(*address);
            }
            Change::Release(address) => {
                if self.held.remove(*address) && self.kept_for(*address).is_none() {
                    self.taken.remove(*address);
                }
            }
            Change::Unkeep(address) => {
                if self.kept.remove(*address) && self.owner_of(*address).is_none() {
                    self.taken.remove(*address);
                }
            }
        }
    }

    /// Returns the shortest list of changes that makes these leases.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        let held = self.leases().map(|(address, owner)| Change::Lease(address, owner.clone()));
        let kept = self.reservations().map(|(address, owner)| Change::Keep(address, owner.clone()));
        held.chain(kept).collect()
    }

    /// Refuses an address that another owner has or that is kept for another.
    fn refuse_others(&self, address: IpAddr, Lessee { owner, name }: Lessee<'_>) -> Result<(), Error> {
        let other = |found: Option<&Owner>, this| found.filter(|found| *found != this).cloned();
        if let Some(owner) = other(self.kept_for(address), name) {
            return Err(Error::Kept { address, owner });
        }
        match other(self.owner_of(address), owner) {
            Some(owner) => Err(Error::Taken { address, owner }),
            None => Ok(()),
        }
    }

    fn kept_and_free(&self, subnet: &Subnet, name: &Owner) -> Option<IpAddr> {
        let free = |address: &IpAddr| self.owner_of(*address).is_none() && subnet.check(*address).is_ok();
        self.kept.of(name).find(free)
    }

    /// An address that is kept for this name and that a dead owner has, where none that is kept for it is free.
    fn kept_and_had(
        &self,
        subnet: &Subnet,
        name: &Owner,
        dead: &mut dyn FnMut(&Owner) -> bool,
    ) -> Option<IpAddr> {
        if self.kept_and_free(subnet, name).is_some() {
            return None;
        }
        let mut kept = self.kept.of(name).filter(|address| subnet.check(*address).is_ok());
        kept.find(|address| self.owner_of(*address).is_some_and(&mut *dead))
    }

    fn lowest_of_the_dead(
        &self,
        subnet: &Subnet,
        name: &Owner,
        dead: &mut dyn FnMut(&Owner) -> bool,
    ) -> Option<IpAddr> {
        let mut leases = self.held.within(subnet.open().first..=subnet.open().last);
        let found = leases.find(|(address, holder)| {
            let ours =
                subnet.check(*address).is_ok() && self.kept_for(*address).is_none_or(|kept| kept == name);
            ours && dead(holder)
        });
        found.map(|(address, _)| address)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::IpAddr;

    use ipnet::IpNet;
    use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};

    use super::{Leases, Wanted};
    use crate::{Change, Error, Lessee, Owner, Subnet};

    fn owner(text: &str) -> Owner {
        text.parse().unwrap()
    }

    fn subnet(text: &str) -> Subnet {
        Subnet::new(text.parse().unwrap()).unwrap()
    }

    /// Carries out words such as `web`, `web=10.0.0.9`, `-10.0.0.9`, `-web`, `keep:web=10.0.0.9`, `unkeep:10.0.0.9`
    /// and compares what the last of them says. A leading `!` names the dead.
    fn check(net: &str, words: &str, expected: &str) {
        let subnet = subnet(net);
        let mut leases = Leases::new();
        let dead: Vec<Owner> =
            words.split(' ').filter_map(|word| word.strip_prefix('!')).map(owner).collect();
        let mut told = String::new();
        for word in words.split(' ').filter(|word| !word.starts_with('!')) {
            told = act(&mut leases, &subnet, word, &dead);
        }
        assert_eq!(told, expected, "{words}");
    }

    fn act(leases: &mut Leases, subnet: &Subnet, word: &str, dead: &[Owner]) -> String {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let told = |result: Result<IpAddr, Error>| {
            result.map_or_else(|error| error.to_string(), |at| at.to_string())
        };
        if let Some(kept) = word.strip_prefix("keep:") {
            let (name, at) = kept.split_once('=').unwrap();
            return told(leases.keep(address(at), &owner(name)).map(|()| address(at)));
        }
        if let Some(at) = word.strip_prefix("unkeep:") {
            return leases
                .release_reservation(address(at))
                .map_or("nobody".into(), |owner| owner.to_string());
        }
        if let Some(given_back) = word.strip_prefix('-') {
            return match given_back.parse() {
                Ok(at) => leases.release(at).map_or("nobody".into(), |owner| owner.to_string()),
                Err(_) => format!("{:?}", leases.release_all(&owner(given_back))),
            };
        }
        let (name, wanted) = match word.split_once('=') {
            Some((name, at)) => (name, Wanted::This(address(at))),
            None => (word, Wanted::Any),
        };
        let mut alive = |holder: &Owner| !dead.contains(holder);
        let found = leases.find_or_reclaim(subnet, &owner(name), wanted, &mut alive);
        told(found.inspect(|at| leases.apply(&Change::Lease(*at, owner(name)))))
    }

    #[test]
    fn the_lowest_free_address_is_handed_out() {
        check("10.0.0.0/24", "a", "10.0.0.2");
        check("10.0.0.0/24", "a b c", "10.0.0.4");
        check("10.0.0.0/24", "a b c -10.0.0.3 d", "10.0.0.3");
        check("10.0.0.0/24", "a=10.0.0.2 b", "10.0.0.3");
        check("fd00::/64", "a b", "fd00::3");
    }

    #[test]
    fn a_wanted_address_is_had_unless_another_has_it() {
        check("10.0.0.0/24", "a=10.0.0.9", "10.0.0.9");
        check("10.0.0.0/24", "a=10.0.0.9 a=10.0.0.9", "10.0.0.9");
        check("10.0.0.0/24", "a=10.0.0.9 b=10.0.0.9", "address 10.0.0.9 is leased to `a`");
        check("10.0.0.0/24", "a=10.0.0.9 -a b=10.0.0.9", "10.0.0.9");
        check("10.0.0.0/24", "a=10.0.0.1", "address 10.0.0.1 is the gateway");
        check("10.0.0.0/24", "a=10.0.1.1", "address 10.0.1.1 is not in subnet 10.0.0.0/24");
        check("10.0.0.0/24", "a=fd00::2", "address fd00::2 is not in subnet 10.0.0.0/24");
    }

    #[test]
    fn an_exhausted_subnet_says_so() {
        check("10.0.0.0/30", "a b", "no free address in 10.0.0.0/30");
        check("10.0.0.0/30", "a -a b", "10.0.0.2");
        check("10.0.0.0/31", "a b", "no free address in 10.0.0.0/31");
    }

    #[test]
    fn a_reservation_outlives_the_lease_and_is_for_one_owner() {
        check("10.0.0.0/24", "a keep:a=10.0.0.2 -a b", "10.0.0.3");
        check("10.0.0.0/24", "a keep:a=10.0.0.2 -a b=10.0.0.2", "address 10.0.0.2 is kept for `a`");
        check("10.0.0.0/24", "keep:a=10.0.0.9 a", "10.0.0.9");
        check("10.0.0.0/24", "keep:a=10.0.0.9 a=10.0.0.9", "10.0.0.9");
        check("10.0.0.0/24", "keep:a=10.0.0.9 a a", "10.0.0.2");
        check("10.0.0.0/24", "keep:a=10.9.9.9 a", "10.0.0.2");
        check("10.0.0.0/24", "keep:a=10.0.0.2 unkeep:10.0.0.2", "a");
        check("10.0.0.0/24", "keep:a=10.0.0.2 unkeep:10.0.0.2 b", "10.0.0.2");
        check("10.0.0.0/24", "a keep:a=10.0.0.2 unkeep:10.0.0.2 b", "10.0.0.3");
        check("10.0.0.0/24", "keep:a=10.0.0.2 keep:b=10.0.0.2", "address 10.0.0.2 is kept for `a`");
        check("10.0.0.0/24", "a keep:b=10.0.0.2", "address 10.0.0.2 is leased to `a`");
        check("10.0.0.0/30", "keep:a=10.0.0.2 b", "no free address in 10.0.0.0/30");
    }

    #[test]
    fn releasing_what_nobody_has_is_fine() {
        check("10.0.0.0/24", "-10.0.0.2", "nobody");
        check("10.0.0.0/24", "-a", "[]");
        check("10.0.0.0/24", "unkeep:10.0.0.2", "nobody");
    }

    #[test]
    fn the_address_of_a_dead_owner_is_free_when_it_is_in_the_way() {
        check("10.0.0.0/24", "!a a=10.0.0.9 b=10.0.0.9", "10.0.0.9");
        check("10.0.0.0/24", "!a a b", "10.0.0.3");
        check("10.0.0.0/29", "!c a b c d e f", "10.0.0.4");
        check("10.0.0.0/29", "!c a b c d e f g", "no free address in 10.0.0.0/29");
        check("10.0.0.0/30", "!a a a", "no free address in 10.0.0.0/30");
        check("10.0.0.0/30", "!a a keep:a=10.0.0.2 b", "no free address in 10.0.0.0/30");
        check("10.0.0.0/24", "!a a keep:a=10.0.0.2 b=10.0.0.2", "address 10.0.0.2 is kept for `a`");
    }

    #[test]
    fn nobody_is_asked_for_without_need_nor_twice() {
        let subnet = subnet("10.0.0.0/29");
        let mut leases = Leases::new();
        for name in ["a", "a", "b", "a", "b"] {
            let nobody = &mut |_: &Owner| panic!("nothing stands in the way");
            let at = leases.find_or_reclaim(&subnet, &owner(name), Wanted::Any, nobody).unwrap();
            leases.apply(&Change::Lease(at, owner(name)));
        }
        let mut asked = Vec::new();
        let alive = &mut |holder: &Owner| {
            asked.push(holder.to_string());
            true
        };
        let full = leases.find_or_reclaim(&subnet, &owner("c"), Wanted::Any, alive);
        assert!(matches!(full, Err(Error::Exhausted { .. })));
        assert_eq!(asked, ["a", "b"]);
    }

    #[test]
    fn a_crash_costs_a_name_no_address_that_is_kept_for_it() {
        let subnet = subnet("10.0.0.0/24");
        let (last, next, name) = (owner("run-1"), owner("run-2"), owner("web"));
        let mut leases = Leases::new();
        leases.apply(&Change::Lease(at(9), last.clone()));
        leases.apply(&Change::Keep(at(9), name.clone()));
        let lessee = Lessee::of(&next).named(&name);
        let found = |dead: bool| {
            leases
                .find_or_reclaim(&subnet, lessee, Wanted::Any, &mut |holder| !dead || *holder != last)
                .unwrap()
        };
        assert_eq!((found(true), found(false)), (at(9), at(2)));
    }

    #[test]
    fn a_mapped_address_is_the_address_that_it_maps_to() {
        let mut leases = Leases::new();
        leases.apply(&Change::Lease("::ffff:10.0.0.2".parse().unwrap(), owner("a")));
        leases.apply(&Change::Release("10.0.0.2".parse().unwrap()));
        assert_eq!(leases, Leases::new());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Lease(Owner, Option<u8>),
        Release(u8),
        ReleaseAll(Owner),
        Keep(Owner, u8),
        Unkeep(u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let names = || prop::sample::select(vec![owner("a"), owner("b"), owner("c")]);
        let step = prop_oneof![
            6 => (names(), any::<bool>(), 0..16_u8).prop_map(|(name, any, at)| Step::Lease(name, (!any).then_some(at))),
            2 => (0..16_u8).prop_map(Step::Release),
            1 => names().prop_map(Step::ReleaseAll),
            2 => (names(), 0..16_u8).prop_map(|(name, at)| Step::Keep(name, at)),
            1 => (0..16_u8).prop_map(Step::Unkeep),
        ];
        prop::collection::vec(step, 0..60)
    }

    /// The same, thought out slowly.
    #[derive(Default)]
    struct Model {
        held: BTreeMap<IpAddr, Owner>,
        kept: BTreeMap<IpAddr, Owner>,
    }

    impl Model {
        fn may_have(&self, at: IpAddr, name: &Owner) -> bool {
            [&self.held, &self.kept].iter().all(|map| map.get(&at).is_none_or(|other| other == name))
        }

        fn lease(&mut self, subnet: &Subnet, name: &Owner, wanted: Option<IpAddr>) -> Option<IpAddr> {
            let free = |at: &IpAddr| subnet.check(*at).is_ok() && !self.held.contains_key(at);
            let found = match wanted {
                Some(at) => Some(at).filter(|at| subnet.check(*at).is_ok() && self.may_have(*at, name)),
                None => {
                    let kept =
                        self.kept.iter().find(|(at, other)| free(at) && *other == name).map(|(at, _)| *at);
                    kept.or_else(|| subnet.net().hosts().find(|at| free(at) && !self.kept.contains_key(at)))
                }
            };
            found.inspect(|at| drop(self.held.insert(*at, name.clone())))
        }
    }

    fn at(low: u8) -> IpAddr {
        [10, 0, 0, low].into()
    }

    fn carry_out(leases: &mut Leases, model: &mut Model, subnet: &Subnet, step: &Step) {
        match step {
            Step::Lease(name, low) => {
                let wanted = low.map_or(Wanted::Any, |low| Wanted::This(at(low)));
                let expected = model.lease(subnet, name, low.map(at));
                assert_eq!(leases.lease(subnet, name, wanted).ok(), expected, "{step:?}");
            }
            Step::Release(low) => assert_eq!(leases.release(at(*low)), model.held.remove(&at(*low))),
            Step::ReleaseAll(name) => {
                leases.release_all(name);
                model.held.retain(|_, holder| holder != name);
            }
            Step::Keep(name, low) => {
                let free = model.may_have(at(*low), name);
                assert_eq!(leases.keep(at(*low), name).is_ok(), free);
                if free {
                    model.kept.insert(at(*low), name.clone());
                }
            }
            Step::Unkeep(low) => {
                assert_eq!(leases.release_reservation(at(*low)), model.kept.remove(&at(*low)));
            }
        }
    }

    /// What becomes of containers, each of which has one run at a time, by its number.
    #[derive(Clone, Debug)]
    enum Event {
        Start(usize, Option<u8>),
        Stop(usize, Stay),
        Crash(usize),
        LetGo(u8),
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Stay {
        Free,
        Kept,
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            4 => (0..4_usize, prop::option::of(2..8_u8)).prop_map(|(who, low)| Event::Start(who, low)),
            2 => (0..4_usize, prop::sample::select(vec![Stay::Free, Stay::Kept])).prop_map(|(who, stay)| Event::Stop(who, stay)),
            1 => (0..4_usize).prop_map(Event::Crash),
            1 => (2..8_u8).prop_map(Event::LetGo),
        ];
        prop::collection::vec(event, 0..80)
    }

    /// Containers with their runs, and the reservations as they are on record beside the leases.
    #[derive(Default)]
    struct Stage {
        leases: Leases,
        kept: BTreeMap<IpAddr, Owner>,
        runs: BTreeMap<usize, (Owner, IpAddr)>,
        begun: usize,
    }

    impl Stage {
        fn play(&mut self, subnet: &Subnet, event: &Event) {
            match *event {
                Event::Start(who, low) if !self.runs.contains_key(&who) => self.start(subnet, who, low),
                Event::Start(..) => {}
                Event::Stop(who, stay) => {
                    let Some((run, address)) = self.runs.remove(&who) else { return };
                    if stay == Stay::Kept {
                        self.kept.retain(|_, name| *name != nth(who));
                        self.kept.insert(address, nth(who));
                    }
                    self.leases.release_all(&run);
                }
                Event::Crash(who) => drop(self.runs.remove(&who)),
                Event::LetGo(low) => drop(self.kept.remove(&at(low))),
            }
        }

        fn start(&mut self, subnet: &Subnet, who: usize, low: Option<u8>) {
            self.begun += 1;
            let (run, name) = (owner(&format!("run-{}", self.begun)), nth(who));
            let wanted = low.map_or(Wanted::Any, |low| Wanted::This(at(low)));
            for change in self.leases.changes_to_keep(&self.kept) {
                self.leases.apply(&change);
            }
            let alive = &mut |holder: &Owner| self.runs.values().any(|(run, _)| run == holder);
            let lessee = Lessee::of(&run).named(&name);
            let Ok(address) = self.leases.find_or_reclaim(subnet, lessee, wanted, alive) else { return };
            let has_it = self.runs.iter().find(|(_, (_, other))| *other == address);
            assert_eq!(has_it, None, "{address} is leased twice");
            let kept_for = self.kept.get(&address);
            assert!(kept_for.is_none_or(|kept| *kept == name), "{address} is kept for {kept_for:?}");
            if let (Wanted::Any, Some((kept, _))) =
                (wanted, self.kept.iter().find(|(_, kept)| **kept == name))
            {
                assert_eq!(address, *kept, "it is kept for {name}");
            }
            self.leases.apply(&Change::Lease(address, run.clone()));
            self.runs.insert(who, (run, address));
        }
    }

    /// The name of a container.
    fn nth(who: usize) -> Owner {
        owner(["a", "b", "c", "d"][who])
    }

    proptest! {
        #[test]
        fn an_address_that_is_leased_or_kept_never_has_two_owners(events in events()) {
            let subnet = subnet("10.0.0.0/29");
            let mut stage = Stage::default();
            events.iter().for_each(|event| stage.play(&subnet, event));
        }

        #[test]
        fn leases_are_what_slow_thinking_would_give(steps in steps()) {
            let subnet = subnet("10.0.0.0/28");
            let (mut leases, mut model) = (Leases::new(), Model::default());
            for step in &steps {
                carry_out(&mut leases, &mut model, &subnet, step);
                let held: BTreeMap<IpAddr, Owner> = leases.leases().map(|(at, name)| (at, name.clone())).collect();
                assert_eq!((leases.len(), &held), (model.held.len(), &model.held));
            }
            let mut again = Leases::new();
            leases.changes().iter().for_each(|change| again.apply(change));
            assert_eq!(again, leases, "the shortest history gives the same leases");
        }

        #[test]
        fn two_leases_never_collide(count in 0..300_usize, net in prop::sample::select(vec!["10.0.0.0/24", "fd00::/64"])) {
            let subnet = subnet(net);
            let mut leases = Leases::new();
            let names = [owner("a"), owner("b")];
            let had = (0..count).filter_map(|nth| leases.lease(&subnet, &names[nth % 2], Wanted::Any).ok());
            let had: Vec<IpAddr> = had.collect();
            let room = if net.contains(':') { usize::MAX } else { 253 };
            assert!(had.is_sorted_by(|one, next| one < next));
            assert_eq!(had.len(), count.min(room));
        }

        #[test]
        fn release_then_lease_gives_the_address_back(count in 1..200_usize, which in any::<prop::sample::Index>()) {
            let subnet = subnet("10.0.0.0/24");
            let mut leases = Leases::new();
            let had: Vec<IpAddr> =
                (0..count).map(|_| leases.lease(&subnet, &owner("a"), Wanted::Any).unwrap()).collect();
            let before = leases.clone();
            let one = had[which.index(had.len())];
            leases.release(one);
            assert_eq!(leases.lease(&subnet, &owner("a"), Wanted::Any).unwrap(), one);
            assert_eq!(leases, before);
        }

        #[test]
        fn arbitrary_changes_never_give_one_address_to_two(changes in prop::collection::vec(any::<(u8, IpAddr, bool)>(), 0..40)) {
            let mut leases = Leases::new();
            for (verb, address, first) in changes {
                let name = owner(if first { "a" } else { "b" });
                leases.apply(&match verb % 4 {
                    0 | 1 => Change::Lease(address, name),
                    2 => Change::Keep(address, name),
                    _ => Change::Release(address),
                });
            }
            let all: usize = leases.owners().map(|owner| leases.addresses_of(owner).count()).sum();
            assert_eq!(all, leases.len());
        }

        #[test]
        fn a_range_is_where_addresses_come_from(len in 24..=31_u8, low: u8, count in 1..20_usize) {
            let range = IpNet::new_assert([10, 0, 0, low].into(), len).trunc();
            let subnet = subnet("10.0.0.0/24").with_range(range).unwrap();
            let mut leases = Leases::new();
            for _ in 0..count {
                match leases.lease(&subnet, &owner("a"), Wanted::Any) {
                    Ok(address) => assert!(range.contains(&address)),
                    Err(error) => assert!(matches!(error, Error::Exhausted { .. })),
                }
            }
        }
    }
}
