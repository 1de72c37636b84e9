//! What a command that mends something lets through, in the words of each firewall.

use crate::netfilter::{Field, Hook, Layer, Link, Range, Stage, Table, Test, priority};
use crate::walk::{Carried, State, Walk};
use linkspan_net_types::{IfName, Port};
use std::fmt::Write;
use std::net::IpAddr;

/// What is let through: all by a bridge of ours, which our own rules guard; else no more than the packet.
pub(super) struct Opening {
    hook: Hook,
    input: Option<IfName>,
    output: Option<IfName>,
    narrow: Option<Narrow>,
    /// The bridges of ours that the packet comes from and goes to.
    bridges: (Option<IfName>, Option<IfName>),
}

struct Narrow {
    v6: bool,
    target: Option<IpAddr>,
    carried: Carried,
    /// It is let through because its connection is known.
    known: bool,
    protocol: u8,
}

impl Opening {
    pub(super) fn of(walk: &Walk, stage: &Stage, priority: i32) -> Self {
        let hook = stage.hook;
        let ours = |link: Link| link.name().filter(|name| walk.is_bridge(*name));
        let (input, output) = match hook {
            // iptables knows no incoming link there.
            Hook::Postrouting => (None, stage.output.name()),
            _ => (stage.input.name(), stage.output.name()),
        };
        let bridges = (ours(stage.input), ours(stage.output));
        let passes_on = !matches!(hook, Hook::Input | Hook::Output);
        let (input, output, narrow) = match (bridges.0.and(input), bridges.1) {
            (Some(bridge), _) if passes_on => (Some(bridge), None, None),
            (_, Some(bridge)) if passes_on => (None, Some(bridge), None),
            _ => (input, output, Some(Narrow::of(stage, priority))),
        };
        Self { hook, input, output, narrow, bridges }
    }

    /// The bridge of ours that the packet comes from.
    pub(super) const fn bridge_in(&self) -> Option<IfName> {
        self.bridges.0
    }

    /// The bridge of ours that the packet goes to.
    pub(super) const fn bridge_out(&self) -> Option<IfName> {
        self.bridges.1
    }

    /// What a rule that accepts just this looks at.
    pub(super) fn tests(&self) -> Vec<Test> {
        let link = |field, name: IfName| {
            Test::of(field, vec![Range::exactly([name.as_str().as_bytes(), b"\0"].concat())])
        };
        let links = self.input.map(|name| link(Field::In, name)).into_iter();
        let links = links.chain(self.output.map(|name| link(Field::Out, name)));
        links.chain(self.narrow.iter().flat_map(Narrow::tests)).collect()
    }

    /// At the top of a chain, or as the rule of this number.
    pub(super) fn iptables(
        &self,
        program: &str,
        table: &str,
        (chain, at): (&str, Option<usize>),
    ) -> Option<String> {
        let mut command = program.to_owned();
        if table != "filter" {
            write!(command, " -t {}", quoted(table)?).ok()?;
        }
        write!(command, " -I {}", quoted(chain)?).ok()?;
        at.map_or(Ok(()), |at| write!(command, " {at}")).ok()?;
        self.input.map_or(Ok(()), |link| write!(command, " -i {link}")).ok()?;
        self.output.map_or(Ok(()), |link| write!(command, " -o {link}")).ok()?;
        self.narrow.as_ref().map_or(Ok(()), |narrow| narrow.iptables(&mut command)).ok()?;
        Some(command + " -j ACCEPT")
    }

    pub(super) fn nft(&self, table: &Table, chain: &str) -> Option<String> {
        let (family, table) = (table.family.name(), identifier(&table.name)?);
        let mut rule = format!("insert rule {family} {table} {}", identifier(chain)?);
        self.input.map_or(Ok(()), |link| write!(rule, " iifname \"{link}\"")).ok()?;
        self.output.map_or(Ok(()), |link| write!(rule, " oifname \"{link}\"")).ok()?;
        self.narrow.as_ref().map_or(Ok(()), |narrow| narrow.nft(&mut rule)).ok()?;
        Some(format!("nft '{rule} accept'"))
    }

    pub(super) fn ufw(&self) -> Option<String> {
        match (self.hook, self.input, self.output, &self.narrow) {
            (Hook::Forward, Some(link), None, None) => Some(format!("ufw route allow in on {link}")),
            (Hook::Forward, None, Some(link), None) => Some(format!("ufw route allow out on {link}")),
            (Hook::Input, Some(link), None, Some(narrow)) => match narrow.carried {
                Carried::Ports { protocol, target: Some(port), .. } if !narrow.known => {
                    Some(format!("ufw allow in on {link} to any port {port} proto {protocol}"))
                }
                _ => None,
            },
            _ => None,
        }
    }
}

impl Narrow {
    fn of(stage: &Stage, at: i32) -> Self {
        let tracked = stage.layer == Layer::Packet && at > priority::CONNECTIONS;
        Self {
            v6: stage.is_v6(),
            target: Some(stage.target).filter(|_| stage.hook == Hook::Prerouting),
            carried: stage.carried,
            known: tracked && stage.state != State::New,
            protocol: stage.protocol(),
        }
    }

    fn tests(&self) -> Vec<Test> {
        let mut tests = Vec::new();
        if let Some(target) = self.target {
            let (offset, octets) = match target {
                IpAddr::V4(address) => (16, address.octets().to_vec()),
                IpAddr::V6(address) => (24, address.octets().to_vec()),
            };
            let field = Field::Network { offset, length: octets.len() };
            tests.push(Test::of(field, vec![Range::exactly(octets)]));
        }
        if self.known {
            // IP_CT_ESTABLISHED and IP_CT_RELATED as bits.
            tests.push(Test::has_bit(Field::State, 6u32.to_ne_bytes().to_vec()));
            return tests;
        }
        tests.push(Test::of(Field::Protocol, vec![Range::exactly([self.protocol])]));
        if let Some((_, offset, port)) = self.port() {
            let field = Field::Transport { offset, length: 2 };
            tests.push(Test::of(field, vec![Range::exactly(port.get().to_be_bytes())]));
        }
        tests
    }

    /// The port that is known, by its word and its place in the header.
    const fn port(&self) -> Option<(&'static str, usize, Port)> {
        match self.carried {
            Carried::Ports { target: Some(port), .. } => Some(("dport", 2, port)),
            Carried::Ports { source: Some(port), .. } => Some(("sport", 0, port)),
            Carried::Ports { .. } | Carried::Echo { .. } | Carried::Neighbour { .. } => None,
        }
    }

    fn iptables(&self, command: &mut String) -> std::fmt::Result {
        self.target.map_or(Ok(()), |target| write!(command, " -d {target}"))?;
        match (self.carried, self.port()) {
            _ if self.known => command.write_str(" -m conntrack --ctstate RELATED,ESTABLISHED"),
            (Carried::Ports { protocol, .. }, Some((word, _, port))) => {
                write!(command, " -p {protocol} --{word} {port}")
            }
            (Carried::Ports { protocol, .. }, None) => write!(command, " -p {protocol}"),
            (Carried::Echo { .. } | Carried::Neighbour { .. }, _) => {
                command.write_str(if self.v6 { " -p ipv6-icmp" } else { " -p icmp" })
            }
        }
    }

    fn nft(&self, rule: &mut String) -> std::fmt::Result {
        let word = if self.v6 { "ip6" } else { "ip" };
        self.target.map_or(Ok(()), |target| write!(rule, " {word} daddr {target}"))?;
        match (self.carried, self.port()) {
            _ if self.known => rule.write_str(" ct state established,related"),
            (Carried::Ports { protocol, .. }, Some((word, _, port))) => {
                write!(rule, " {protocol} {word} {port}")
            }
            (Carried::Ports { protocol, .. }, None) => write!(rule, " meta l4proto {protocol}"),
            (Carried::Echo { .. } | Carried::Neighbour { .. }, _) if self.v6 => {
                rule.write_str(" meta l4proto ipv6-icmp")
            }
            (Carried::Echo { .. } | Carried::Neighbour { .. }, _) => rule.write_str(" meta l4proto icmp"),
        }
    }
}

/// A name as a word of a shell; `None` where it holds what no terminal should be fed.
fn quoted(name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | ':' | '@' | ',');
    match name {
        "" => None,
        name if name.starts_with('-') || name.contains(char::is_control) => None,
        name if name.chars().all(plain) => Some(name.to_owned()),
        name => Some(format!("'{}'", name.replace('\'', "'\\''"))),
    }
}

/// A name that nft reads as one, which is safe in a shell's quotes.
fn identifier(name: &str) -> Option<&str> {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (starts && name.chars().all(inside)).then_some(name)
}
