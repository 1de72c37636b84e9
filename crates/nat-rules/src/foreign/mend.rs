//! The command that lets a packet pass where a rule of someone else stops it. Each is tried on paper.

use super::Foreign;
use crate::netfilter::{
    Act, Base, Chain, End, Family, Field, Hook, Link, Range, Rule, Run, Stage, Table, Test,
};
use crate::walk::{Carried, State, Walk};
use linkspan_net_types::IfName;
use std::fmt::Write;
use std::net::IpAddr;

/// A command, and what it does to the table.
struct Candidate<'a> {
    command: String,
    /// The chain that gets a rule that accepts, at its top or behind its last.
    chain: &'a str,
    last: bool,
}

/// The first command that is known to let the packet of this stage pass the chain.
pub(super) fn command(
    foreign: &Foreign,
    walk: &Walk,
    stage: &Stage,
    (table, name, base): (&Table, &str, &Base),
) -> Option<String> {
    let opening = Opening::of(walk, stage);
    if is_firewalld(table) {
        return firewalld(&opening);
    }
    let accepted = |candidate: &Candidate<'_>| {
        let mended = candidate.on_paper(table, &opening);
        matches!(Run::base(&mended, name, base, stage, &foreign.links), End::Accepted(_))
    };
    candidates(table, name, &opening).into_iter().find(accepted).map(|candidate| candidate.command)
}

impl Candidate<'_> {
    fn on_paper(&self, table: &Table, opening: &Opening) -> Table {
        let mut mended = table.clone();
        let accept = Rule { text: self.command.clone(), tests: opening.tests(), act: Act::Accept };
        if let Some(Chain { rules, .. }) = mended.chains.get_mut(self.chain) {
            rules.insert(if self.last { rules.len() } else { 0 }, accept);
        }
        mended
    }
}

fn candidates<'a>(table: &'a Table, base: &'a str, opening: &Opening) -> Vec<Candidate<'a>> {
    let mut candidates = Vec::new();
    let has = |name: &str| table.chains.get_key_value(name).map(|(name, _)| name.as_str());
    if let Some(program) = iptables(table.family) {
        let first = |chain: &'a str| {
            let command = opening.iptables(program, &table.name, chain)?;
            Some(Candidate { command, chain, last: false })
        };
        if opening.hook == Hook::Forward {
            candidates.extend(has("DOCKER-USER").and_then(first));
        }
        let (input, forward) = match table.family {
            Family::Ip6tables => ("ufw6-user-input", "ufw6-user-forward"),
            _ => ("ufw-user-input", "ufw-user-forward"),
        };
        let user = if opening.hook == Hook::Input { has(input) } else { has(forward) };
        let ufw = |chain| Some(Candidate { command: opening.ufw()?, chain, last: true });
        candidates.extend(user.and_then(ufw));
        candidates.extend(first(base));
    } else {
        let command = opening.nft(table, base);
        candidates.extend(command.map(|command| Candidate { command, chain: base, last: false }));
    }
    candidates
}

const fn iptables(family: Family) -> Option<&'static str> {
    match family {
        Family::Iptables => Some("iptables"),
        Family::Ip6tables => Some("ip6tables"),
        _ => None,
    }
}

/// Its own table, or the chains that it makes with the iptables backend.
fn is_firewalld(table: &Table) -> bool {
    table.name == "firewalld"
        || ["FORWARD_direct", "INPUT_direct"].iter().any(|c| table.chains.contains_key(*c))
}

/// firewalld makes its rules anew when it is reloaded, so they are mended by its zones: what comes from an
/// interface of zone `trusted` is accepted, and what goes there by a policy.
fn firewalld(opening: &Opening) -> Option<String> {
    let zone = |link: IfName| format!("firewall-cmd --zone=trusted --add-interface={link}");
    match (opening.hook, opening.input, opening.output) {
        (Hook::Forward | Hook::Input | Hook::Prerouting, Some(link), _) => Some(zone(link)),
        (Hook::Forward, None, Some(link)) => {
            let policy = "firewall-cmd --permanent --policy=to-trusted";
            Some(format!(
                "firewall-cmd --permanent --zone=trusted --add-interface={link} && \
                 firewall-cmd --permanent --new-policy=to-trusted && {policy} --add-ingress-zone=ANY && \
                 {policy} --add-egress-zone=trusted && {policy} --set-target=ACCEPT && firewall-cmd --reload"
            ))
        }
        _ => None,
    }
}

/// What is let through: all by a bridge of ours, which our own rules guard; else no more than the packet.
struct Opening {
    hook: Hook,
    input: Option<IfName>,
    output: Option<IfName>,
    narrow: Option<Narrow>,
}

struct Narrow {
    v6: bool,
    target: Option<IpAddr>,
    carried: Carried,
    known: bool,
    protocol: u8,
}

impl Opening {
    fn of(walk: &Walk, stage: &Stage) -> Self {
        let hook = stage.hook;
        let ours = |link: Link| link.name().filter(|name| walk.is_bridge(*name));
        let (input, output) = match hook {
            // iptables knows no incoming link there.
            Hook::Postrouting => (None, stage.output.name()),
            _ => (stage.input.name(), stage.output.name()),
        };
        let passes_on = !matches!(hook, Hook::Input | Hook::Output);
        match (ours(stage.input).and(input), ours(stage.output)) {
            (Some(bridge), _) if passes_on => Self { hook, input: Some(bridge), output: None, narrow: None },
            (_, Some(bridge)) if passes_on => Self { hook, input: None, output: Some(bridge), narrow: None },
            _ => Self { hook, input, output, narrow: Some(Narrow::of(stage)) },
        }
    }

    /// What a rule that accepts just this looks at.
    fn tests(&self) -> Vec<Test> {
        let link = |field, name: IfName| {
            Test::of(field, vec![Range::exactly([name.as_str().as_bytes(), b"\0"].concat())])
        };
        let links = self.input.map(|name| link(Field::In, name)).into_iter();
        let links = links.chain(self.output.map(|name| link(Field::Out, name)));
        links.chain(self.narrow.iter().flat_map(Narrow::tests)).collect()
    }

    fn iptables(&self, program: &str, table: &str, chain: &str) -> Option<String> {
        let mut command = program.to_owned();
        if table != "filter" {
            write!(command, " -t {}", quoted(table)?).ok()?;
        }
        write!(command, " -I {}", quoted(chain)?).ok()?;
        self.input.map_or(Ok(()), |link| write!(command, " -i {link}")).ok()?;
        self.output.map_or(Ok(()), |link| write!(command, " -o {link}")).ok()?;
        self.narrow.as_ref().map_or(Ok(()), |narrow| narrow.iptables(&mut command)).ok()?;
        Some(command + " -j ACCEPT")
    }

    fn nft(&self, table: &Table, chain: &str) -> Option<String> {
        let (family, table) = (table.family.name(), identifier(&table.name)?);
        let mut rule = format!("insert rule {family} {table} {}", identifier(chain)?);
        self.input.map_or(Ok(()), |link| write!(rule, " iifname \"{link}\"")).ok()?;
        self.output.map_or(Ok(()), |link| write!(rule, " oifname \"{link}\"")).ok()?;
        self.narrow.as_ref().map_or(Ok(()), |narrow| narrow.nft(&mut rule)).ok()?;
        Some(format!("nft '{rule} accept'"))
    }

    fn ufw(&self) -> Option<String> {
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
    fn of(stage: &Stage) -> Self {
        Self {
            v6: stage.is_v6(),
            target: Some(stage.target).filter(|_| stage.hook == Hook::Prerouting),
            carried: stage.carried,
            known: stage.state != State::New,
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
        if let Some(port) = self.carried.target_port() {
            let field = Field::Transport { offset: 2, length: 2 };
            tests.push(Test::of(field, vec![Range::exactly(port.get().to_be_bytes())]));
        }
        tests
    }

    fn iptables(&self, command: &mut String) -> std::fmt::Result {
        self.target.map_or(Ok(()), |target| write!(command, " -d {target}"))?;
        match self.carried {
            _ if self.known => command.write_str(" -m conntrack --ctstate RELATED,ESTABLISHED"),
            Carried::Ports { protocol, target: Some(port), .. } => {
                write!(command, " -p {protocol} --dport {port}")
            }
            Carried::Ports { protocol, .. } => write!(command, " -p {protocol}"),
            Carried::Echo { .. } => command.write_str(if self.v6 { " -p ipv6-icmp" } else { " -p icmp" }),
        }
    }

    fn nft(&self, rule: &mut String) -> std::fmt::Result {
        let word = if self.v6 { "ip6" } else { "ip" };
        self.target.map_or(Ok(()), |target| write!(rule, " {word} daddr {target}"))?;
        match self.carried {
            _ if self.known => rule.write_str(" ct state established,related"),
            Carried::Ports { protocol, target: Some(port), .. } => write!(rule, " {protocol} dport {port}"),
            Carried::Ports { protocol, .. } => write!(rule, " meta l4proto {protocol}"),
            Carried::Echo { .. } if self.v6 => rule.write_str(" meta l4proto ipv6-icmp"),
            Carried::Echo { .. } => rule.write_str(" meta l4proto icmp"),
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
