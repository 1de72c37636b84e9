//! Networks: defining and planning them.

use crate::kernel::defining::Turn;
use crate::kernel::host::{Host, read};
use crate::kernel::up::Known;
use crate::network::{Surroundings, decide, nameservers};
use crate::plan::NetworkPlan;
use crate::{Container, DefinedNetwork, Error, Network, NetworkId, NetworkName};
use linkspan_net_types::IfName;
use linkspan_veth_bridge::Snapshot;
use linkspan_veth_bridge::kernel::Links;
use std::io;
use std::path::PathBuf;

/// `machine-id(5)`.
const MACHINE_ID: &str = "/etc/machine-id";
/// `resolv.conf(5)`.
const RESOLV_CONF: &str = "/etc/resolv.conf";

impl Host {
    /// Makes sure that there is such a network, and that it is up.
    ///
    /// Where one of that name is on record, it has to grant every wish, and is returned as it is.
    ///
    /// # Errors
    /// [`Error::NetworkDiffers`]; for the rest as [`create_network`](Self::create_network).
    pub fn ensure_network(&self, wanted: &Network) -> Result<DefinedNetwork, Error> {
        let suits = |there: &DefinedNetwork| match wanted.difference(there) {
            None => Ok(()),
            Some(what) => Err(Error::NetworkDiffers { name: there.name.clone(), what }),
        };
        self.make(|| match self.whole(wanted.name())? {
            Some(there) => suits(&there).map(|()| there),
            None => self.define(wanted, suits),
        })
    }

    /// Makes a network that was not there, and brings it up.
    ///
    /// # Errors
    /// [`Error::NetworkExists`], [`Error::NetworkReserved`], [`Error::SubnetOverlap`],
    /// [`Error::LinkTaken`], [`Error::Links`] where the name of its bridge is another link's.
    pub fn create_network(&self, wanted: &Network) -> Result<DefinedNetwork, Error> {
        if wanted.name().is_reserved() {
            return Err(Error::NetworkReserved { name: wanted.name().clone() });
        }
        let exists = |there: &DefinedNetwork| Err(Error::NetworkExists { name: there.name.clone() });
        self.make(|| self.define(wanted, exists))
    }

    fn define(
        &self,
        wanted: &Network,
        suits: impl Fn(&DefinedNetwork) -> Result<(), Error>,
    ) -> Result<DefinedNetwork, Error> {
        self.defining(|defining| {
            let there = self.state.find(wanted.name())?;
            // One that is being removed is no obstacle, but waited for.
            if let Some(there) = &there
                && let Some(busy) = self.under_way(defining, there.id)?
            {
                return Ok(Turn::Busy(busy));
            }
            let (network, known) = match there {
                Some(there) => (suits(&there).map(|()| there)?, Known::OnRecord),
                None => match self.up_by_name(wanted.name())? {
                    Some(up) => (suits(&up).map(|()| up)?, Known::Undefined),
                    None => (self.decide(wanted)?, Known::Undefined),
                },
            };
            Ok(self.bring_up(defining, &network, known)?.map(|_| network))
        })
    }

    /// What the network would be if it were defined at this moment.
    pub(crate) fn decide(&self, wanted: &Network) -> Result<DefinedNetwork, Error> {
        let name = wanted.name();
        if name.is_reserved() && !name.is_default_bridge() {
            return Err(Error::NetworkReserved { name: name.clone() });
        }
        let id = match name.is_default_bridge() {
            true => NetworkId::of_default(self.settings.instance.as_str()),
            false => NetworkId::at(self.moment()?, name.as_str()),
        };
        let around = Surroundings {
            others: self.networks()?,
            on_link: on_link(&self.links(Links::snapshot)?),
            nameservers: match read(RESOLV_CONF) {
                Err(Error::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
                text => nameservers(&text?),
            },
            machine_id: if wanted.needs_machine_id() { machine_id()? } else { Vec::new() },
        };
        decide(wanted, id, self.default_link(), &around)
    }

    /// The bridge of the default network: the instance's name and 0.
    fn default_link(&self) -> IfName {
        let name = format!("{}0", self.settings.instance);
        name.parse().expect("an instance is at most 12 letters, digits and dashes")
    }

    /// The networks of the endpoints as they are on record; the default one can always be had.
    pub(crate) fn definitions(&self, wanted: &Container) -> Result<Vec<DefinedNetwork>, Error> {
        let of = |name: &NetworkName| match self.network(name)? {
            Some(there) => Ok(there),
            None if name.is_default_bridge() => self.decide(&Network::bridge(name.clone())),
            None => Err(Error::NoSuchNetwork { name: name.clone() }),
        };
        wanted.endpoints().iter().map(|endpoint| of(endpoint.network())).collect()
    }

    /// Plans what making this network would change, and changes nothing.
    ///
    /// # Errors
    /// As [`create_network`](Self::create_network).
    pub fn plan_create_network(&self, wanted: &Network) -> Result<NetworkPlan, Error> {
        if let Some(there) = self.network(wanted.name())? {
            return Err(Error::NetworkExists { name: there.name });
        }
        self.plan_network(&self.decide(wanted)?)
    }
}

/// What the host reaches without a gateway.
fn on_link(snapshot: &Snapshot) -> Vec<ipnet::IpNet> {
    let direct = snapshot.routes.iter().filter(|route| route.gateway.is_none() && !route.is_default());
    direct.map(|route| route.destination).collect()
}

fn machine_id() -> Result<Vec<u8>, Error> {
    let path = PathBuf::from(MACHINE_ID);
    match read(&path) {
        // An image that never ran has an empty one, which all its hosts would share.
        Ok(id) if id.is_empty() => Err(Error::MachineId { path, source: io::ErrorKind::InvalidData.into() }),
        Ok(id) => Ok(id.into_bytes()),
        Err(Error::Read { path, source }) => Err(Error::MachineId { path, source }),
        Err(other) => Err(other),
    }
}
