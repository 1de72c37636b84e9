//! Docker's modes: a namespace is prepared, put on its networks, and a program started in it.

use crate::kernel::detach::Detached;
use crate::kernel::home::file;
use crate::kernel::host::Host;
use crate::{Attachment, AttachmentId, Container, ContainerName, Endpoint, Error, Namespace, NetworkName};
use linkspan_netns::{Hostname, Isolation, NetNs, Place, Sandbox};
use std::io;
use std::process::{Child, Command};

/// Which network namespace a program is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// One of its own, on the networks of its endpoints; on the default one where there are none.
    #[default]
    Bridge,
    /// The host's own: no endpoint, no address, no rule.
    Host,
    /// That of another container, given by name, id, or the beginning of an id: same address, same MAC.
    Container(String),
    /// One of its own with `lo` only.
    None,
}

impl Mode {
    /// Its word in Docker's `--network`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::Container(_) => "container",
            Self::None => "none",
        }
    }
}

/// A namespace in which a program can be started, its network ready before the first instruction.
///
/// It has no destructor that detaches: [`Host::detach`] is explicit, with [`Prepared::attachment`]'s id.
#[derive(Debug)]
pub struct Prepared {
    sandbox: Sandbox,
    attachment: Option<Attachment>,
}

impl Prepared {
    /// What it is attached as; `None` in modes host and container, which attach nothing.
    pub const fn attachment(&self) -> Option<&Attachment> {
        self.attachment.as_ref()
    }

    /// The namespace, which stays as long as this value, a program in it, or a pin of it.
    pub const fn netns(&self) -> &NetNs {
        self.sandbox.netns()
    }

    /// Starts a program in the namespace.
    ///
    /// Tell the host that the namespace is found with the program from then on, by [`Host::hand_over`]: it is on
    /// record as this value's, and others cannot join it once this value is gone.
    ///
    /// # Errors
    /// As [`Command::spawn`].
    pub fn spawn(&self, command: Command) -> io::Result<Child> {
        self.sandbox.spawn(command)
    }
}

impl Host {
    /// Makes or finds the namespace of a mode, and attaches it.
    ///
    /// Modes bridge and none have a hostname of their own where one is given.
    ///
    /// # Errors
    /// [`Error::PublishInMode`] and [`Error::MacInMode`] for what a mode does not have,
    /// [`Error::NoSuchAttachment`] and [`Error::NamespaceLost`] for another container's; for the rest as
    /// [`attach`](Self::attach).
    pub fn prepare(
        &self,
        mode: &Mode,
        wanted: &Container,
        hostname: Option<Hostname>,
    ) -> Result<Prepared, Error> {
        fits(mode, wanted, hostname.as_ref())?;
        let named = |isolation: Isolation| hostname.into_iter().fold(isolation, Isolation::hostname);
        match mode {
            Mode::Host => alone(Isolation::shared_network()),
            Mode::Container(other) => alone(Isolation::joined(self.namespace_of(&self.find(other)?)?)),
            Mode::Bridge | Mode::None => {
                let sandbox = Sandbox::start(named(Isolation::own_network()))?;
                let on_default = || wanted.clone().on(Endpoint::new(NetworkName::default_bridge()));
                let wanted = match mode {
                    Mode::Bridge if wanted.endpoints().is_empty() => on_default(),
                    _ => wanted.clone(),
                };
                let attachment = Some(self.attach(sandbox.netns(), &wanted)?);
                Ok(Prepared { sandbox, attachment })
            }
        }
    }

    /// The namespace of an attachment, where it is still the one that was attached.
    ///
    /// # Errors
    /// [`Error::NamespaceLost`].
    pub fn namespace_of(&self, attachment: &Attachment) -> Result<NetNs, Error> {
        let Namespace { cookie, place } = &attachment.namespace;
        let found = place.as_ref().map_or(Ok(None), Place::find)?;
        found
            .filter(|netns| netns.cookie() == *cookie)
            .ok_or_else(|| Error::NamespaceLost { name: attachment.name.clone() })
    }

    /// Notes that the namespace of an attachment can be found elsewhere: with the program that was started
    /// in it, say, instead of the process that prepared it.
    ///
    /// # Errors
    /// [`Error::OtherNamespace`] where it is not the same namespace, [`Error::NoSuchAttachment`].
    pub fn hand_over(&self, id: AttachmentId, netns: &NetNs) -> Result<Attachment, Error> {
        let _here = self.run.enter(&self.identity)?;
        let record = self.run.wait_attachment(&self.run.attachments, &file(id))?;
        let absent = || Error::NoSuchAttachment { wanted: id.to_string() };
        let mut record = record.ok_or_else(absent)?;
        let mut value = record.value().clone();
        let attachment = value.attachment.as_mut().ok_or_else(absent)?;
        if attachment.namespace.cookie != netns.cookie() {
            return Err(Error::OtherNamespace { name: value.name });
        }
        attachment.namespace.place = netns.place().cloned();
        let handed_over = attachment.clone();
        record.append(value)?;
        Ok(handed_over)
    }

    /// Detaches what is attached under this name, if anything is. What a dead process left of it is taken
    /// back as well, so that it may be repeated until nothing is left.
    ///
    /// # Errors
    /// As [`detach`](Self::detach).
    pub fn detach_named(&self, name: &ContainerName) -> Result<Detached, Error> {
        match self.named(name)? {
            Some(attachment) => self.detach(attachment.id),
            None => self.repair_container(name).map(|()| Detached::Absent),
        }
    }

    /// Takes back what a dead process left under way of a container of this name; one that is attached stays.
    ///
    /// # Errors
    /// [`Error::LeftBehind`] for what cannot be taken back; [`Error::Records`].
    pub fn repair_container(&self, name: &ContainerName) -> Result<(), Error> {
        self.remove(|_| self.leftovers(name))
    }
}

fn alone(isolation: Isolation) -> Result<Prepared, Error> {
    Ok(Prepared { sandbox: Sandbox::start(isolation)?, attachment: None })
}

/// Refuses what the mode does not have.
fn fits(mode: &Mode, wanted: &Container, hostname: Option<&Hostname>) -> Result<(), Error> {
    let own_uts = matches!(mode, Mode::Bridge | Mode::None);
    let mode = match mode {
        Mode::Bridge => return Ok(()),
        other => other.as_str(),
    };
    if hostname.is_some() && !own_uts {
        return Err(Error::HostnameInMode { mode });
    }
    if !wanted.published().is_empty() {
        return Err(Error::PublishInMode { mode });
    }
    if wanted.endpoints().iter().any(|endpoint| endpoint.wanted_mac().is_some()) {
        return Err(Error::MacInMode { mode });
    }
    match wanted.endpoints().first() {
        Some(endpoint) => Err(Error::NetworkInMode { network: endpoint.network().clone(), mode }),
        None => Ok(()),
    }
}
