//! Where a test stands: a host, a remote machine, containers.

use crate::beside::Theirs;
use crate::private::{has_bridge_netfilter, lacks, skip};
use crate::program::{self, Ran, run, tool};
use linkspan::lab::Lab;
use linkspan::{
    Attachment, Container, DefinedNetwork, Endpoint, Firewall, Host, IpNet, Mode, NetNs, Network,
    NetworkName, Prepared,
};
use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// What differs between hosts and must not differ for packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) firewall: Firewall,
    pub(crate) bridge_netfilter: bool,
}

impl Case {
    /// The default firewall, and bridge netfilter as new namespaces of this kernel have it.
    pub(crate) const USUAL: Self = Self { firewall: Firewall::Nftables, bridge_netfilter: true };

    const ALL: [Self; 4] = [
        Self::USUAL,
        Self { firewall: Firewall::Nftables, bridge_netfilter: false },
        Self { firewall: Firewall::Iptables, bridge_netfilter: true },
        Self { firewall: Firewall::Iptables, bridge_netfilter: false },
    ];

    /// Those that can be had here.
    pub(crate) fn possible() -> Vec<Self> {
        Self::ALL.into_iter().filter(|case| case.is_possible()).collect()
    }

    /// Moves the calling thread to such a host, on which no rules are loaded.
    pub(crate) fn enter(self) -> (Lab, Host) {
        let lab = Lab::enter().unwrap();
        if has_bridge_netfilter() {
            filter_bridges(self.bridge_netfilter);
        }
        (lab, Host::builder().firewall(self.firewall).open().unwrap())
    }

    fn is_possible(self) -> bool {
        let tools = self.firewall != Firewall::Iptables || lacks(&["iptables", "ip6tables"]).is_none();
        tools && (!self.bridge_netfilter || has_bridge_netfilter())
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, bridge netfilter {}", self.firewall, u8::from(self.bridge_netfilter))
    }
}

/// Runs the body in a world for each case, all at once; an impossible case is skipped with its name.
pub(crate) fn everywhere(body: impl Fn(&World) + Sync) {
    at_once(&Case::ALL, body);
}

/// As [`everywhere`], with two worlds at a time: the kernel has one table of neighbours for all namespaces
/// (`net.ipv4.neigh.default.gc_thresh3`, 1024 unless someone set it), and four large worlds would fill it.
pub(crate) fn everywhere_by_twos(body: impl Fn(&World) + Sync) {
    Case::ALL.chunks(2).for_each(|cases| at_once(cases, &body));
}

/// Runs the body once for each firewall, with the bridge netfilter that this kernel starts with.
pub(crate) fn with_each_firewall(body: impl Fn(&World) + Sync) {
    let cases: Vec<_> =
        Case::ALL.into_iter().filter(|case| case.bridge_netfilter == has_bridge_netfilter()).collect();
    at_once(&cases, body);
}

/// Worlds are of threads, so that those of one process do not see one another.
fn at_once(cases: &[Case], body: impl Fn(&World) + Sync) {
    let failed: Vec<String> = thread::scope(|scope| {
        let start = |case: &Case| {
            let (case, body) = (*case, &body);
            let named = thread::Builder::new().name(case.to_string());
            (case, named.spawn_scoped(scope, move || body(&World::new(case))).unwrap())
        };
        let (possible, impossible): (Vec<_>, Vec<_>) = cases.iter().partition(|case| case.is_possible());
        impossible.iter().for_each(|case: &&Case| skip(&format!("no {case} here")));
        let running: Vec<_> = possible.into_iter().map(start).collect();
        running.into_iter().filter_map(|(case, t)| t.join().is_err().then(|| case.to_string())).collect()
    });
    assert!(failed.is_empty(), "failed with {failed:?}");
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// Whether an address is of this family.
    pub(crate) const fn has(self, address: IpAddr) -> bool {
        matches!((self, address), (Self::V4, IpAddr::V4(_)) | (Self::V6, IpAddr::V6(_)))
    }

    /// The first address of this family.
    #[track_caller]
    pub(crate) fn of(self, addresses: impl IntoIterator<Item = IpAddr>) -> IpAddr {
        addresses.into_iter().find(|address| self.has(*address)).expect("there is an address of each family")
    }
}

/// A host whose network namespace the calling thread is in, and a remote machine.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) case: Case,
    pub(crate) here: NetNs,
    pub(crate) host: Host,
    pub(crate) lab: Lab,
    theirs: Mutex<Theirs>,
}

impl World {
    /// Moves the calling thread there, where rules of others are loaded.
    pub(crate) fn new(case: Case) -> Self {
        let (lab, host) = case.enter();
        let theirs = Mutex::new(Theirs::load(case.firewall));
        Self { case, here: NetNs::current().unwrap(), host, lab, theirs }
    }

    /// Takes all rules away, ours too: what goes through then was stopped by them.
    pub(crate) fn flush_rules(&self) {
        tool("nft flush ruleset");
        *self.theirs.lock().unwrap_or_else(PoisonError::into_inner) = Theirs::load(self.case.firewall);
    }

    /// Others load something, which is theirs from then on.
    pub(crate) fn others(&self, load: impl FnOnce()) {
        self.assert_others_unchanged("others came");
        load();
        *self.theirs.lock().unwrap_or_else(PoisonError::into_inner) = Theirs::look();
    }

    /// What others have loaded is as they left it.
    #[track_caller]
    pub(crate) fn assert_others_unchanged(&self, after: &str) {
        self.theirs.lock().unwrap_or_else(PoisonError::into_inner).assert_unchanged(after);
    }

    /// The remote machine.
    pub(crate) fn remote(&self) -> &NetNs {
        self.lab.remote().netns()
    }

    /// One more machine: its `eth0` is the other end of a new link of the host, both up and without addresses.
    pub(crate) fn machine(&self, link: &str) -> NetNs {
        let machine = NetNs::create_anonymous().unwrap();
        let host = fs::read_link("/proc/thread-self").unwrap();
        let host = host.file_name().unwrap().to_str().unwrap();
        let lay = || {
            tool("ip link set lo up");
            tool(&format!("ip link add eth0 type veth peer name {link} netns {host}"));
            set_up("eth0");
        };
        machine.run(lay).unwrap();
        set_up(link);
        machine
    }

    pub(crate) fn host_address(&self, family: Family) -> IpAddr {
        family.of(self.lab.host_addresses())
    }

    pub(crate) fn remote_address(&self, family: Family) -> IpAddr {
        family.of(self.lab.remote_addresses())
    }

    /// A network of both families, `10.88.NUMBER.0/24` and `fd88:NUMBER::/64`.
    pub(crate) fn network(&self, number: u8) -> DefinedNetwork {
        let v4 = format!("10.88.{number}.0/24").parse().unwrap();
        let v6 = format!("fd88:{number}::/64").parse().unwrap();
        let network = Network::bridge(format!("net-{number}").parse().unwrap()).subnet(v4).subnet(v6);
        self.host.ensure_network(&network).unwrap()
    }

    /// A container in a namespace made for it.
    pub(crate) fn container(&self, wanted: &Container) -> Member {
        let prepared = self.host.prepare(&Mode::Bridge, wanted, None).unwrap();
        Member::new(prepared)
    }

    /// A container of this name on this network, with nothing published.
    pub(crate) fn member(&self, name: &str, network: &DefinedNetwork) -> Member {
        self.container(&container(name).on(Endpoint::of(network)))
    }

    /// Detaches all that is attached and removes all networks.
    pub(crate) fn clear(&self) {
        for attachment in self.host.attachments().unwrap() {
            self.host.detach(attachment.id()).unwrap();
        }
        for network in self.host.networks().unwrap() {
            self.host.remove_network(network.name()).unwrap();
        }
    }

    /// The command, with the firewall of this world.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = program::command(line);
        command.env("LINKSPAN_FIREWALL", self.case.firewall.to_string());
        command
    }

    /// Runs the command by a line of words.
    #[track_caller]
    pub(crate) fn linkspan(&self, line: &str) -> Ran {
        run(&mut self.command(line))
    }
}

/// Switches bridge netfilter on the host of the calling thread.
pub(crate) fn filter_bridges(on: bool) {
    for table in ["ip", "ip6"] {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{table}tables");
        fs::write(path, u8::from(on).to_string()).unwrap();
    }
}

impl Drop for World {
    /// Whatever a test did, what others have loaded is as it was.
    fn drop(&mut self) {
        if !thread::panicking() {
            self.assert_others_unchanged("the test");
        }
    }
}

/// Sets a link up that asks nobody whether its IPv6 addresses are free: until the answer, the kernel looks for no
/// neighbour by it (`ndisc_send_ns` of net/ipv6/ndisc.c).
pub(crate) fn set_up(link: &str) {
    tool(&format!("sysctl -q net.ipv6.conf.{link}.accept_dad=0"));
    tool(&format!("ip link set {link} up"));
}

/// A wish for a container of this name.
pub(crate) fn container(name: &str) -> Container {
    Container::new(name.parse().unwrap())
}

/// The default network.
pub(crate) fn default_bridge() -> Endpoint {
    Endpoint::new(NetworkName::default_bridge())
}

/// A container that is attached.
#[derive(Debug)]
pub(crate) struct Member {
    prepared: Prepared,
    pub(crate) attachment: Attachment,
}

impl Member {
    fn new(prepared: Prepared) -> Self {
        let attachment = prepared.attachment().cloned().expect("bridge mode attaches");
        Self { prepared, attachment }
    }

    pub(crate) const fn netns(&self) -> &NetNs {
        self.prepared.netns()
    }

    /// Its address on its first network.
    pub(crate) fn address(&self, family: Family) -> IpAddr {
        family.of(self.attachment.endpoints()[0].addresses().iter().map(IpNet::addr))
    }

    /// A port at that address.
    pub(crate) fn at(&self, family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(self.address(family), port)
    }

    /// Runs a tool inside, which must succeed.
    #[track_caller]
    pub(crate) fn tool(&self, line: &str) -> String {
        self.netns().run(|| tool(line)).unwrap()
    }
}

/// The gateway of a network.
pub(crate) fn gateway(network: &DefinedNetwork, family: Family) -> IpAddr {
    family.of(network.gateways().map(|gateway| gateway.addr()))
}
