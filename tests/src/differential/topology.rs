//! Hosts that nobody would build by hand, drawn from a seed: a script of commands.

use super::{damage, foreign};
use crate::dice::Dice;
use linkspan::Firewall;
use std::fmt;

/// What stands before every script: the world's cable, its host with one more address, and routes of the remote machine.
pub(super) const PREFACE: &str = "\
ip addr add 192.0.2.7/24 dev uplink
ip addr add 2001:db8::7/64 dev uplink nodad
";

/// What the remote machine has beside its address on the cable: more of them, a way to everything by the host, and
/// 127.0.0.0/8 somewhere else than at home.
pub(super) const REMOTE: &str = "\
ip addr add 192.0.2.77/32 dev lo
ip addr add 198.51.100.9/32 dev lo
ip addr add 2001:db8:9::9/128 dev lo nodad
ip route add default via 192.0.2.1
ip route add default via 2001:db8::1
ip -4 addr del 127.0.0.1/8 dev lo
ip route add 127.0.0.0/8 via 192.0.2.1
sysctl -qw net.ipv4.conf.all.route_localnet=1
";
/// Its addresses.
pub(super) const REMOTE_ADDRESSES: [&str; 5] =
    ["192.0.2.2", "192.0.2.77", "198.51.100.9", "2001:db8::2", "2001:db8:9::9"];

/// A host, as what one types to have it.
#[derive(Clone, Debug)]
pub(super) struct Topology {
    /// One command each; some go on in the next lines.
    pub(super) commands: Vec<String>,
    /// Something is in it of which nobody can tell what it does to a packet.
    pub(super) puzzling: bool,
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.commands.iter().try_for_each(|command| writeln!(f, "{command}"))
    }
}

/// A network that is drawn.
#[derive(Clone, Debug)]
pub(super) struct Net {
    name: String,
    pub(super) bridge: String,
    /// Of its subnets: `10.88.NUMBER.0/24`; the default network has another.
    number: Option<usize>,
    v6: bool,
    mode: &'static str,
    /// How many containers are on it.
    members: usize,
}

impl Net {
    fn default_bridge() -> Self {
        let (name, bridge) = ("bridge".to_owned(), "linkspan0".to_owned());
        Self { name, bridge, number: None, v6: false, mode: "nat", members: 0 }
    }

    fn leads_out(&self) -> bool {
        !matches!(self.mode, "internal" | "isolated")
    }

    pub(super) fn subnets(&self) -> Vec<String> {
        let v4 = self.number.map_or("172.17.0.0/16".to_owned(), |n| format!("10.88.{n}.0/24"));
        let v6 = self.number.filter(|_| self.v6).map(|n| format!("fd88:{n}::/64"));
        std::iter::once(v4).chain(v6).collect()
    }

    /// The address of this number in each of its subnets.
    pub(super) fn hosts(&self, host: usize) -> Vec<String> {
        let v4 = self.number.map_or(format!("172.17.0.{host}"), |n| format!("10.88.{n}.{host}"));
        let v6 = self.number.filter(|_| self.v6).map(|n| format!("fd88:{n}::{host:x}"));
        std::iter::once(v4).chain(v6).collect()
    }
}

/// A container on a network.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) container: usize,
    pub(super) link: String,
    pub(super) net: Net,
}

/// A host under the pencil.
#[derive(Debug)]
pub(super) struct Sketch {
    pub(super) dice: Dice,
    pub(super) nets: Vec<Net>,
    /// The networks of each container.
    containers: Vec<Vec<usize>>,
    commands: Vec<String>,
    pub(super) puzzling: bool,
}

impl Topology {
    /// What someone typed, in which nothing puzzles.
    pub(super) fn of(commands: &str) -> Self {
        Self { commands: vec![commands.to_owned()], puzzling: false }
    }

    /// Networks, and containers on one of them each, with routes that someone added inside.
    ///
    /// One on two networks answers a neighbour on the second one past the host, where that keeps its source: with
    /// bridge netfilter the host's connection tracking sees it all the same, without it does not.
    pub(super) fn plain(dice: Dice) -> Self {
        Sketch::plain(dice, 1).done()
    }

    /// The same with containers on two networks, rules of others, and something broken. With `iptables`, that
    /// program is there for the rules of others.
    pub(super) fn marred(dice: Dice, firewall: Firewall, iptables: bool) -> Self {
        let mut sketch = Sketch::plain(dice, 2);
        if sketch.dice.happens(50) {
            foreign::rules(&mut sketch, firewall, iptables);
        }
        if sketch.dice.happens(50) {
            damage::damage(&mut sketch, firewall);
        }
        sketch.done()
    }
}

impl Sketch {
    fn plain(dice: Dice, most: usize) -> Self {
        let (nets, containers, commands) = (Vec::new(), Vec::new(), Vec::new());
        let mut sketch = Self { dice, nets, containers, commands, puzzling: false };
        sketch.networks();
        sketch.attachments(most);
        if sketch.dice.happens(40) {
            damage::routes(&mut sketch);
        }
        sketch
    }

    fn done(self) -> Topology {
        Topology { commands: self.commands, puzzling: self.puzzling }
    }

    pub(super) fn say(&mut self, command: impl Into<String>) {
        self.commands.push(command.into());
    }

    fn networks(&mut self) {
        for number in 0..=self.dice.below(4) {
            let is_default = self.dice.happens(12) && self.nets.iter().all(|net| net.number.is_some());
            let net = if is_default { Net::default_bridge() } else { self.network(number) };
            self.nets.push(net);
        }
    }

    fn network(&mut self, number: usize) -> Net {
        let mode = self.dice.one(&["nat", "nat", "nat", "nat-unprotected", "routed", "internal", "isolated"]);
        let (name, bridge) = (format!("n{number}"), format!("br{number}"));
        let net = Net { name, bridge, number: Some(number), v6: self.dice.happens(70), mode, members: 0 };
        let mut command = format!("linkspan network create {} --bridge-name {}", net.name, net.bridge);
        net.subnets().iter().for_each(|subnet| command += &format!(" --subnet {subnet}"));
        match mode {
            "nat" => command += self.dice.one(&["", "", "", "", " --trusted-interface uplink"]),
            "internal" => command += " --internal",
            mode => command += &format!(" --gateway-mode {mode}"),
        }
        command += self.dice.one(&["", "", "", " --icc=false"]);
        let egress = ["", "", "", " --no-masquerade", " --snat 192.0.2.7", " --snat 2001:db8::7"];
        command += self.dice.one(&egress);
        self.say(command);
        net
    }

    /// Containers on as many networks at most.
    fn attachments(&mut self, most: usize) {
        for number in 0..=self.dice.below(5) {
            let first = self.dice.below(self.nets.len());
            let mut on = vec![first];
            if self.nets.len().min(most) > 1 && self.dice.happens(35) {
                on.push((first + 1 + self.dice.below(self.nets.len() - 1)) % self.nets.len());
            }
            let mut command = format!("linkspan attach c{number} --netns /run/netns/c{number}");
            for net in &on {
                command += &format!(" --network {}", self.nets[*net].name);
                self.nets[*net].members += 1;
            }
            self.ports(number, &on).iter().for_each(|port| command += &format!(" -p {port}"));
            self.say(format!("ip netns add c{number}"));
            self.say(command);
            self.containers.push(on);
        }
    }

    fn ports(&mut self, container: usize, on: &[usize]) -> Vec<String> {
        // Ports are published by a network that leads out; where none does, an address of the host is refused.
        let out = on.iter().map(|net| &self.nets[*net]).filter(|net| net.leads_out());
        let Some(v6) = out.map(|net| net.v6).reduce(|one, other| one || other) else { return Vec::new() };
        let v4 = ["", "", "", "", "192.0.2.1:", "192.0.2.7:", "127.0.0.1:", "127.0.0.5:", "0.0.0.0:"];
        let mut ports = Vec::new();
        for nth in 0..self.dice.below(4) {
            let outside = 8000 + 10 * container + 3 * nth;
            let at = self.dice.one(&v4);
            let at = if v6 { self.dice.one(&[at, at, at, "[2001:db8::7]:", "[::]:"]) } else { at };
            let by = self.dice.one(&["", "", "/udp"]);
            ports.push(match self.dice.below(5) {
                0 => format!("{at}{outside}-{}:80-81{by}", outside + 1),
                1 => format!("{at}{outside}:{outside}{by}"),
                _ => format!("{at}{outside}:80{by}"),
            });
        }
        ports
    }

    /// How many there are.
    pub(super) fn containers(&self) -> usize {
        self.containers.len()
    }

    /// A container, and one of its networks.
    pub(super) fn member(&mut self) -> Member {
        let container = self.dice.below(self.containers.len());
        let of = &self.containers[container];
        let at = self.dice.below(of.len());
        Member { container, link: format!("eth{at}"), net: self.nets[of[at]].clone() }
    }

    /// An address that a container has or could have.
    pub(super) fn inmate(&mut self) -> String {
        let net = self.dice.below(self.nets.len());
        let host = 2 + self.dice.below(self.nets[net].members.max(1));
        let addresses = self.nets[net].hosts(host);
        self.dice.pick(&addresses)
    }

    pub(super) fn subnet(&mut self) -> String {
        let net = self.dice.below(self.nets.len());
        let subnets = self.nets[net].subnets();
        self.dice.pick(&subnets)
    }
}
