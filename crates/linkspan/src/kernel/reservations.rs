//! Keeping addresses, and letting go of them.
//!
//! The state folder alone says what is kept, and leases follow it whenever an address is wanted. An address is kept
//! there before its lease ends, so that nobody else has it in between, whoever is killed.

use crate::kernel::host::Host;
use crate::kernel::undone::Undone;
use crate::reservation::{Reservation, Reservations};
use crate::{Attachment, ContainerName, DefinedNetwork, Error, NetworkId, NetworkName, Residue};
use linkspan_ipam::Owner;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

impl Host {
    /// The addresses of a network that are kept for containers, whether those are attached or not.
    ///
    /// # Errors
    /// [`Error::NoSuchNetwork`], [`Error::Records`].
    ///
    /// ```no_run
    /// let host = linkspan::Host::open()?;
    /// for kept in host.reservations(&"web".parse()?)? {
    ///     println!("{} is for {}", kept.address(), kept.container());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reservations(&self, network: &NetworkName) -> Result<Vec<Reservation>, Error> {
        self.reservations_of(&self.defined(network)?)
    }

    /// Lets go of an address that is kept, and returns whom it was kept for; `None` where it was not, which is as good.
    ///
    /// A container that has the address at this moment goes on having it. A name that is reserved is always that of a
    /// network: where it is not defined, as the default network that nobody is on, it keeps nothing.
    ///
    /// # Errors
    /// [`Error::NoSuchNetwork`], [`Error::Records`].
    ///
    /// ```no_run
    /// let host = linkspan::Host::open()?;
    /// if let Some(container) = host.release_address(&"web".parse()?, "10.88.0.2".parse()?)? {
    ///     println!("it was kept for {container}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release_address(
        &self,
        network: &NetworkName,
        address: IpAddr,
    ) -> Result<Option<ContainerName>, Error> {
        self.remove(|_| {
            let _changing = self.state.lock_reservations()?;
            // Not before: whoever forgets the network at this moment removes what is written here.
            let network = match self.defined(network) {
                Err(Error::NoSuchNetwork { name }) if name.is_reserved() => return Ok(None),
                defined => defined?.id,
            };
            let mut reservations = self.state.reservations(network)?.unwrap_or_default();
            let before = BTreeMap::from([(network, reservations.clone())]);
            let Some(released) = reservations.release(address) else { return Ok(None) };
            let written = self.state.reserve(network, &reservations);
            written.map_err(|refused| refused.after(self.keep_again(&before)))?;
            // Whoever wants an address looks at the reservations first: that the leases say the same is for repair.
            let _ = self.run.book(network).follow(|| self.kept(network));
            Ok(Some(released))
        })
    }

    /// The addresses that are kept of a network which was found before; none where it is gone.
    ///
    /// # Errors
    /// [`Error::Records`].
    pub fn reservations_of(&self, network: &DefinedNetwork) -> Result<Vec<Reservation>, Error> {
        Ok(self.state.reservations(network.id)?.unwrap_or_default().list())
    }

    fn defined(&self, network: &NetworkName) -> Result<DefinedNetwork, Error> {
        self.network(network)?.ok_or_else(|| Error::NoSuchNetwork { name: network.clone() })
    }

    /// Keeps the addresses of these containers, of all or, where it is refused, of none. Their records are locked, so
    /// nobody removes their networks.
    ///
    /// Whoever is killed in between has kept those of some networks.
    pub(crate) fn keep_addresses<'a>(
        &self,
        attachments: impl IntoIterator<Item = &'a Attachment>,
    ) -> Result<(), Error> {
        let endpoints: Vec<_> = attachments
            .into_iter()
            .flat_map(|a| a.endpoints.iter().map(move |endpoint| (&a.name, endpoint)))
            .collect();
        let networks: BTreeSet<_> = endpoints.iter().map(|(_, endpoint)| endpoint.network_id).collect();
        if endpoints.is_empty() {
            return Ok(());
        }
        let _changing = self.state.lock_reservations()?;
        let there = |network| Ok((network, self.state.reservations(network)?.unwrap_or_default()));
        let before = networks.into_iter().map(there).collect::<Result<BTreeMap<_, _>, Error>>()?;
        let mut after = before.clone();
        for (name, endpoint) in endpoints {
            let addresses = endpoint.addresses.iter().map(ipnet::IpNet::addr);
            after.entry(endpoint.network_id).or_default().keep(name, addresses);
        }
        let kept = after.iter().try_for_each(|(network, reservations)| self.reserve(*network, reservations));
        kept.map_err(|refused| refused.after(self.keep_again(&before)))
    }

    /// Leases are told before and after: so they know what is on file whoever is killed, should the file be lost.
    fn reserve(&self, network: NetworkId, reservations: &Reservations) -> Result<(), Error> {
        self.run.book(network).follow(|| Ok::<_, Error>(reservations.owners()))?;
        self.state.reserve(network, reservations)?;
        // Whoever wanted an address in between made them follow what was on file.
        self.run.book(network).follow(|| self.kept(network))
    }

    /// Puts the reservations back that were there before.
    fn keep_again(&self, before: &BTreeMap<NetworkId, Reservations>) -> Result<(), Error> {
        let mut undone = Undone::default();
        for (network, reservations) in before {
            let there = self.state.reservations(*network).map(Option::unwrap_or_default);
            let back = there.and_then(|there| match there == *reservations {
                true => Ok(()),
                false => self.state.reserve(*network, reservations),
            });
            undone.note(Residue::Records { of: network.to_string() }, back);
            // Who wants an address makes them follow too.
            let _ = self.run.book(*network).follow(|| self.kept(*network));
        }
        undone.finish()
    }

    /// What is kept of a network, as its leases know it.
    pub(crate) fn kept(&self, network: NetworkId) -> Result<BTreeMap<IpAddr, Owner>, Error> {
        Ok(self.state.reservations(network)?.map(|reservations| reservations.owners()).unwrap_or_default())
    }
}
