//! Where the contestants work: each on a host of its own, in namespaces of this process.

use std::error::Error;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

use linkspan::lab::Lab;
use linkspan::{
    Attachment, AttachmentId, Container, DefinedNetwork, Endpoint, Host, NetNs, Network, Publish,
};

use crate::spot::Spot;

/// What keeps a measurement from being made.
pub(crate) type Trouble = Box<dyn Error>;

impl From<NetNs> for Spot {
    fn from(netns: NetNs) -> Self {
        OwnedFd::from(netns).into()
    }
}

/// A host with a remote machine at the other end of a cable.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) lab: Lab,
    pub(crate) host: Spot,
    pub(crate) remote: Spot,
}

impl World {
    /// Moves the calling thread there; the folders of worlds that were entered before are out of sight.
    pub(crate) fn enter() -> Result<Self, Trouble> {
        let lab = Lab::enter()?;
        let remote = lab.remote().netns().try_clone()?.into();
        Ok(Self { lab, host: Spot::here()?, remote })
    }
}

/// The addresses of the network that linkspan attaches to.
const SUBNET: &str = "10.88.0.0/16";
/// Where the namespaces are pinned.
const PINS: &str = "/run/linkspan-bench";

/// linkspan on the host where the calling thread is, with one network.
#[derive(Debug)]
pub(crate) struct Product {
    pub(crate) host: Host,
    network: DefinedNetwork,
    name: &'static str,
}

impl Product {
    /// Its folders are called by this name.
    pub(crate) fn open(name: &'static str) -> Result<Self, Trouble> {
        let [run, state] = folders(name);
        let host = Host::builder().run_dir(run).state_dir(state).open()?;
        let network = host.ensure_network(&Network::bridge("bench".parse()?).subnet(SUBNET.parse()?))?;
        Ok(Self { host, network, name })
    }

    /// A wish for a container that publishes its port 80 at these ports of the host.
    pub(crate) fn container(
        &self,
        name: &str,
        ports: impl IntoIterator<Item = u16>,
    ) -> Result<Container, Trouble> {
        let wanted = Container::new(name.parse()?).on(Endpoint::of(&self.network));
        Ok(ports.into_iter().fold(wanted, |wanted, port| wanted.publish(Publish::tcp(80).at(port))))
    }

    /// Makes a namespace, pins it, and attaches it.
    pub(crate) fn attach(&self, wanted: &Container) -> Result<Attached, Trouble> {
        let path = self.pin(wanted);
        let (_, attachment) = self.host.attach_new(&path, wanted)?;
        Ok(Attached { path, attachment })
    }

    /// The same for one that goes with its namespace.
    pub(crate) fn attach_lent(&self, wanted: &Container) -> Result<Lent, Trouble> {
        let (netns, attachment) = self.host.attach_new(self.pin(wanted), wanted)?;
        Ok(Lent { netns, attachment })
    }

    /// The same in two calls, as a runtime does that has its namespaces made by others.
    pub(crate) fn attach_made(&self, wanted: &Container) -> Result<Attached, Trouble> {
        let path = self.pin(wanted);
        let attachment = self.host.attach(&NetNs::create(&path)?, wanted)?;
        Ok(Attached { path, attachment })
    }

    fn pin(&self, wanted: &Container) -> String {
        format!("{PINS}/{}-{}", self.name, wanted.name())
    }

    /// Attaches a namespace that is there.
    pub(crate) fn attach_at(&self, netns: &Path, wanted: &Container) -> Result<AttachmentId, Trouble> {
        Ok(self.host.attach(&NetNs::open(netns)?, wanted)?.id())
    }

    /// Tells the command where this one's folders are.
    pub(crate) fn on_its_folders<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let [run, state] = folders(self.name);
        command.env("LINKSPAN_RUN_DIR", run).env("LINKSPAN_STATE_DIR", state)
    }

    /// Detaches, and removes the namespace.
    pub(crate) fn detach(&self, attached: &Attached) -> Result<(), Trouble> {
        self.host.detach(attached.attachment.id())?;
        Ok(NetNs::unpin(&attached.path)?)
    }

    /// Detaches and ends the namespace at once, and leaves the links to the kernel.
    pub(crate) fn detach_fast(&self, lent: Lent) -> Result<(), Trouble> {
        self.host.detach_and_end(lent.attachment.id(), lent.netns)?;
        Ok(())
    }
}

/// A container of linkspan, and the namespace that goes with it.
#[derive(Debug)]
pub(crate) struct Lent {
    netns: NetNs,
    attachment: Attachment,
}

/// Its run folder and its state folder.
fn folders(name: &str) -> [String; 2] {
    [format!("/run/linkspan-{name}"), format!("/var/lib/linkspan-{name}")]
}

/// A container of linkspan.
#[derive(Debug)]
pub(crate) struct Attached {
    path: String,
    attachment: Attachment,
}

impl Attached {
    pub(crate) fn netns(&self) -> Result<NetNs, Trouble> {
        Ok(NetNs::open(&self.path)?)
    }

    pub(crate) fn address(&self) -> IpAddr {
        self.attachment.endpoints()[0].address().addr()
    }
}
