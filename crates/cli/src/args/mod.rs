//! The words that the command takes; every value is parsed here, once.

pub(crate) mod plain;

use crate::fault::chain;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use linkspan::{ContainerName, Firewall, Hostname, IfName, Instance, Mac, Mtu, NetworkName, Pid, Publish};
use std::error::Error;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Container networks, with Docker's words and without a daemon
///
/// Puts network namespaces on bridge networks, publishes their ports, and takes them off again.
/// A container or a network is named by its name, its id, or the beginning of its id.
#[derive(Debug, Parser)]
#[command(
    name = "linkspan",
    version,
    after_help = "Exit status: 1 refused, and nothing changed but what the dead left; 2 usage; 3 something was left behind, and is named"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Whose rules, links and folders [default: linkspan]
    ///
    /// It names the table, the chains and the folders, so that several runtimes can share a host.
    #[arg(long, global = true, value_name = "NAME", value_parser = parsed::<Instance>)]
    pub(crate) instance: Option<Instance>,
    /// Where attachments are on record [env: LINKSPAN_RUN_DIR] [default: /run/INSTANCE]
    ///
    /// A reboot has to empty it.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,
    /// Where networks are defined [env: LINKSPAN_STATE_DIR] [default: /var/lib/INSTANCE]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// nftables, iptables or none [env: LINKSPAN_FIREWALL] [default: nftables]
    ///
    /// What carries the rules. With none nothing is published, masqueraded or kept apart.
    #[arg(long, global = true, value_name = "FIREWALL", value_parser = parsed::<Firewall>)]
    pub(crate) firewall: Option<Firewall>,
    /// auto: switch ip_forward on when a network needs it; off: never write it [default: auto]
    #[arg(long, global = true, value_name = "WHEN", hide_possible_values = true)]
    pub(crate) forwarding: Option<Forwarding>,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Forwarding {
    Auto,
    Off,
}

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Make, list, show and remove networks
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Put a network namespace on its networks, and print its id
    Attach(Attach),
    /// Take containers off their networks
    ///
    /// Prints their names. That one is not attached is no error, so doing it twice is fine.
    Detach {
        /// Their names, their ids, or the first 12 digits of their ids or more
        #[arg(required = true, value_name = "NAME", value_parser = name_or_id)]
        names: Vec<String>,
        /// Keep their addresses for the next containers of their names, also after a reboot
        ///
        /// Nobody else is given them, until `network release` or `network rm --force`.
        #[arg(long)]
        keep_address: bool,
    },
    /// Run a program in a network namespace of its own
    ///
    /// Its network is ready before its first instruction, and goes when it ends. Signals are passed on.
    /// Before the program starts and after it ended, Ctrl-C or Ctrl-\ ends linkspan at once where it was told to stop
    /// before, wherever it waits: `gc` removes what it leaves then.
    /// The exit status is that of the program, 128 and the number for a signal, 125 where linkspan failed,
    /// 126 or 127 where the program cannot be started.
    Run(Run),
    /// List what is attached
    Ps,
    /// Show everything on record about a container, as JSON
    Inspect {
        /// Its name, its id, or the beginning of its id
        #[arg(value_parser = name_or_id)]
        name: String,
    },
    /// List the published ports of a container
    Port {
        /// Its name, its id, or the beginning of its id
        #[arg(value_parser = name_or_id)]
        name: String,
    },
    /// Say what a command would change, without changing it
    #[command(subcommand)]
    Plan(Planned),
    /// Say which rule or route lets a packet pass, or stops it
    ///
    /// It follows the first packet of a connection, and its answer, through the links, routes and rules that are
    /// loaded, ours and others', and changes nothing. What stops it is named, with the command that mends it where
    /// there is one. Whether a program listens is not said. The exit status is 0 whatever the answer is.
    Explain {
        /// Who sends: a container, host, outside, or the address of another machine
        from: String,
        /// Whom to: a container, host, outside, or an address; behind it :PORT or :PORT/PROTO, else it is a ping
        #[arg(value_name = "TO[:PORT[/PROTO]]")]
        to: String,
    },
    /// Bring back what is missing of rules, bridges and containers' links, and print what that was
    Reconcile,
    /// Remove what nobody needs any more, and print what that was
    ///
    /// Containers that are gone without having been detached, and links, rules and records of linkspan that belong to
    /// nothing. What others made is never touched.
    Gc,
    /// Look for what is wrong, and print the command that mends it
    ///
    /// Rules of others that stop what networks and published ports promise, settings of the kernel, what nobody needs any
    /// more, and what differs from the records. It changes nothing. The exit status is 0 whatever is
    /// found: a script asks for --json, which is [] where nothing is.
    Doctor,
    /// Show a whole host in private namespaces: two containers, a published port, nothing left
    ///
    /// Any user may run it, where users may make namespaces. It uses no folder of the machine, whatever
    /// --run-dir and --state-dir say.
    Demo,
}

impl Command {
    /// Whether it changes nothing but what a killed command left.
    pub(crate) const fn only_looks(&self) -> bool {
        matches!(
            self,
            Self::Ps
                | Self::Inspect { .. }
                | Self::Port { .. }
                | Self::Network(NetworkCommand::Ls | NetworkCommand::Inspect { .. })
        )
    }
}

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum NetworkCommand {
    /// Make a bridge network, and print its id
    Create(Box<NetworkCreate>),
    /// List the networks
    #[command(alias = "list")]
    Ls,
    /// Show everything on record about networks and who is on them, as JSON
    Inspect {
        /// Their names, their ids, or the beginnings of their ids
        #[arg(required = true, value_name = "NETWORK", value_parser = name_or_id)]
        networks: Vec<String>,
    },
    /// Let go of an address that `detach --keep-address` kept, and print it
    ///
    /// That it is not kept is no error. A container that has it at the moment goes on having it.
    Release {
        /// The network's name, its id, or the beginning of its id
        #[arg(value_parser = name_or_id)]
        network: String,
        /// The address
        #[arg(value_parser = parsed::<IpAddr>)]
        ip: IpAddr,
    },
    /// Remove networks that nobody is attached to and that keep no address, and print their names; one that is refused
    /// keeps no other from going
    #[command(alias = "remove")]
    Rm {
        /// Their names or their ids
        #[arg(required = true, value_name = "NETWORK", value_parser = name_or_id)]
        networks: Vec<String>,
        /// Detach their containers and let go of their addresses first; a network that is not there is no error
        #[arg(short, long)]
        force: bool,
    },
}

/// What can be planned.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Planned {
    /// What attaching a namespace would change
    Attach(Attach),
    /// What running a program would change, before it starts
    Run(Run),
    /// What making a network would change
    #[command(subcommand)]
    Network(PlannedNetwork),
    /// What is missing of what the records say
    Reconcile,
    /// What there is to remove that nobody needs
    Gc,
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum PlannedNetwork {
    /// What making a network would change
    Create(Box<NetworkCreate>),
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

#[derive(Debug, Args)]
pub(crate) struct NetworkCreate {
    /// Its name
    #[arg(value_parser = parsed::<NetworkName>)]
    pub(crate) name: NetworkName,
    /// The kind of network
    #[arg(short, long, value_parser = ["bridge"], default_value = "bridge", hide_possible_values = true)]
    pub(crate) driver: String,
    /// A subnet, at most one of each family [default: the first free one]
    #[arg(long, value_name = "CIDR", value_parser = parsed::<IpNet>)]
    pub(crate) subnet: Vec<IpNet>,
    /// The gateway in a given subnet [default: its first address]
    #[arg(long, value_name = "IP", value_parser = parsed::<IpAddr>)]
    pub(crate) gateway: Vec<IpAddr>,
    /// The part of a given subnet that addresses are handed out of
    #[arg(long, value_name = "CIDR", value_parser = parsed::<IpNet>)]
    pub(crate) ip_range: Vec<IpNet>,
    /// An address of a given subnet that is not handed out, and a name for it
    #[arg(long, value_name = "NAME=IP", value_parser = aux_address)]
    pub(crate) aux_address: Vec<AuxAddress>,
    /// Have an IPv6 subnet: a /64 that this machine always has, unless one is given
    #[arg(long)]
    pub(crate) ipv6: bool,
    /// No way out, and no way in from outside the host
    #[arg(long)]
    pub(crate) internal: bool,
    /// Whether containers reach each other, but for published ports [default: true]
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    pub(crate) icc: bool,
    /// nat, nat-unprotected, routed or isolated [default: nat]
    ///
    /// What the gateway does. nat: containers go out with an address of the host, and are reached at published
    /// ports of the host. nat-unprotected: at their own addresses as well, published or not. routed: no address
    /// is changed, and they are reached at their own addresses, at published ports. isolated: internal, and the
    /// host has no address on the network.
    #[arg(long, value_name = "MODE", hide_possible_values = true)]
    pub(crate) gateway_mode: Option<Gateway>,
    /// Leave the source address of what goes out as it is
    #[arg(long)]
    pub(crate) no_masquerade: bool,
    /// The source address of what goes out, one of each family [default: that of the link it leaves by]
    #[arg(long, value_name = "IP", value_parser = parsed::<IpAddr>, conflicts_with = "no_masquerade")]
    pub(crate) snat: Vec<IpAddr>,
    /// A link of the host by which published ports are reached at the containers' own addresses as well
    ///
    /// Docker's com.docker.network.bridge.trusted_host_interfaces, for gateway mode nat: a machine behind the link
    /// that routes the subnet here reaches ADDRESS:PORT of a container where PORT is published, be it at a host
    /// address or at 127.0.0.1. May be given several times.
    #[arg(long, value_name = "IF", value_parser = parsed::<IfName>)]
    pub(crate) trusted_interface: Vec<IfName>,
    /// The largest packet, in bytes [default: that of the uplink]
    #[arg(long, value_name = "N", value_parser = parsed::<Mtu>)]
    pub(crate) mtu: Option<Mtu>,
    /// The name of the bridge [default: ls-ID]
    ///
    /// One of that name that is there is adopted, and never removed.
    #[arg(long, value_name = "IF", value_parser = parsed::<IfName>)]
    pub(crate) bridge_name: Option<IfName>,
    /// A note that is kept and shown; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) label: Vec<Label>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Gateway {
    Nat,
    NatUnprotected,
    Routed,
    Isolated,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuxAddress {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) key: String,
    pub(crate) value: String,
}

#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// The name to give the container
    #[arg(value_parser = parsed::<ContainerName>)]
    pub(crate) name: ContainerName,
    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
    #[command(flatten)]
    pub(crate) endpoint: EndpointArgs,
}

#[derive(Debug, Default, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct NamespaceArgs {
    /// The network namespace, as a file
    #[arg(long, value_name = "PATH")]
    pub(crate) netns: Option<PathBuf>,
    /// A process that is in the network namespace
    #[arg(long, value_parser = parsed::<Pid>)]
    pub(crate) pid: Option<Pid>,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct EndpointArgs {
    /// A network to be on, by name or id, or none [default: bridge]
    ///
    /// Given several times, the links are eth0, eth1 and so on. With none there is lo alone. run also takes
    /// host, for the host's own namespace, and container:NAME, for that of another container.
    #[arg(long, alias = "net", value_name = "NETWORK", value_parser = joined)]
    pub(crate) network: Vec<Joined>,
    /// An address in the network, one of each family [default: the lowest free one]
    #[arg(long, value_parser = parsed::<IpAddr>)]
    pub(crate) ip: Vec<IpAddr>,
    /// The MAC address [default: made of the IP address]
    #[arg(long, alias = "mac-address", value_parser = parsed::<Mac>)]
    pub(crate) mac: Option<Mac>,
    /// Publish a port: [HOSTIP:][HOSTPORT:]PORT[/PROTO]; may be given several times
    ///
    /// Without HOSTIP it is every address of the host, without HOSTPORT a free port. Ranges such as
    /// 8000-8009:80-89 have equal length. PROTO is tcp or udp.
    #[arg(short, long, value_name = "PORT", value_parser = ports)]
    pub(crate) publish: Vec<Ports>,
    /// The name of the link in the container [default: eth0]
    #[arg(long, value_name = "IF", value_parser = parsed::<IfName>)]
    pub(crate) ifname: Option<IfName>,
}

/// A value of `--network`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    Network(NetworkName),
    Host,
    None,
    Container(String),
}

/// What one `--publish` says: a range is several ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ports(pub(crate) Vec<Publish>);

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The name to give the container [default: run-PID-TIME]
    #[arg(long, value_parser = parsed::<ContainerName>)]
    pub(crate) name: Option<ContainerName>,
    #[command(flatten)]
    pub(crate) endpoint: EndpointArgs,
    /// A hostname of its own
    #[arg(long, value_parser = parsed::<Hostname>)]
    pub(crate) hostname: Option<Hostname>,
    /// The program and its arguments
    #[arg(required = true, value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<OsString>,
}

/// Parses a value; what was wrong with it is told to the last reason, of which clap shows the first alone.
fn parsed<T: FromStr>(text: &str) -> Result<T, String>
where
    T::Err: Error,
{
    text.parse().map_err(|error: T::Err| chain(&error))
}

fn name_or_id(text: &str) -> Result<String, String> {
    // Names and ids are the same letters; an id is one that is shorter.
    parsed::<ContainerName>(text).map(String::from)
}

fn joined(text: &str) -> Result<Joined, String> {
    match text.strip_prefix("container:") {
        Some(other) => Ok(Joined::Container(name_or_id(other)?)),
        None if text == "host" => Ok(Joined::Host),
        None if text == "none" => Ok(Joined::None),
        None => parsed(text).map(Joined::Network),
    }
}

fn ports(text: &str) -> Result<Ports, String> {
    Publish::parse(text).map(Ports).map_err(|error| chain(&error))
}

fn aux_address(text: &str) -> Result<AuxAddress, String> {
    let (name, address) = text.split_once('=').ok_or("it is NAME=IP")?;
    let address = parsed(address)?;
    Ok(AuxAddress { name: name.to_owned(), address })
}

/// Docker's rule: a key alone has an empty value.
fn label(text: &str) -> Result<Label, String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    match key {
        "" => Err("it is KEY=VALUE, and the key is not empty".to_owned()),
        key => Ok(Label { key: key.to_owned(), value: value.to_owned() }),
    }
}

#[cfg(test)]
mod tests;
