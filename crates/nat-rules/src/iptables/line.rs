use crate::Destination;
use ipnet::IpNet;
use linkspan_net_types::{IfName, Port, Protocol};
use std::fmt;
use std::net::IpAddr;

/// One rule, in the order of words in which `iptables-save` prints it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    pub(super) source: Option<IpNet>,
    pub(super) target: Option<IpNet>,
    pub(super) input: Option<IfName>,
    pub(super) output: Option<Output>,
    pub(super) carries: Option<Carries>,
    pub(super) state: Option<State>,
    /// Whether the target is an address of the host.
    pub(super) host: Option<bool>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Output {
    To(IfName),
    NotTo(IfName),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Carries {
    Icmp,
    Icmp6,
    Port(Protocol, Port),
    /// From the one to the other.
    Ports(Protocol, Port, Port),
}

/// A state of the connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// It answers, or reports on, a packet that passed.
    Answer,
    /// A published port was translated.
    Published,
}

/// What a rule does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Accept,
    Drop,
    Return,
    Masquerade,
    Dnat(Destination),
    /// The address only.
    DnatHost(IpAddr),
    Snat(IpAddr),
}

impl Line {
    pub(super) fn source(self, source: IpNet) -> Self {
        Self { source: Some(source), ..self }
    }

    pub(super) fn target(self, target: IpNet) -> Self {
        Self { target: Some(target), ..self }
    }

    pub(super) fn from(self, link: IfName) -> Self {
        Self { input: Some(link), ..self }
    }

    pub(super) fn to(self, link: IfName) -> Self {
        Self { output: Some(Output::To(link)), ..self }
    }

    pub(super) fn not_to(self, link: IfName) -> Self {
        Self { output: Some(Output::NotTo(link)), ..self }
    }

    pub(super) fn carries(self, carries: Carries) -> Self {
        Self { carries: Some(carries), ..self }
    }

    pub(super) fn state(self, state: State) -> Self {
        Self { state: Some(state), ..self }
    }

    pub(super) fn on_host(self) -> Self {
        Self { host: Some(true), ..self }
    }

    pub(super) fn off_host(self) -> Self {
        Self { host: Some(false), ..self }
    }

    /// The text of the rule, without the command and the chain.
    pub(super) fn then(self, act: Act) -> String {
        format!("{self}{act}")
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, target, input, output, carries, state, host } = self;
        // `iptables-save` leaves out what holds for each address.
        let some = |net: &&IpNet| net.prefix_len() > 0;
        source.iter().filter(some).try_for_each(|s| write!(f, "-s {s} "))?;
        target.iter().filter(some).try_for_each(|t| write!(f, "-d {t} "))?;
        input.iter().try_for_each(|i| write!(f, "-i {i} "))?;
        match output {
            None => {}
            Some(Output::To(link)) => write!(f, "-o {link} ")?,
            Some(Output::NotTo(link)) => write!(f, "! -o {link} ")?,
        }
        match carries {
            None => {}
            Some(Carries::Icmp) => f.write_str("-p icmp ")?,
            Some(Carries::Icmp6) => f.write_str("-p ipv6-icmp ")?,
            Some(Carries::Port(protocol, port)) => write!(f, "-p {protocol} -m {protocol} --dport {port} ")?,
            Some(Carries::Ports(protocol, first, last)) => {
                write!(f, "-p {protocol} -m {protocol} --dport {first}:{last} ")?;
            }
        }
        match state {
            None => {}
            Some(State::Answer) => f.write_str("-m conntrack --ctstate RELATED,ESTABLISHED ")?,
            Some(State::Published) => f.write_str("-m conntrack --ctstate DNAT ")?,
        }
        f.write_str(match host {
            None => "",
            Some(true) => "-m addrtype --dst-type LOCAL ",
            Some(false) => "-m addrtype ! --dst-type LOCAL ",
        })
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("-j ACCEPT"),
            Self::Drop => f.write_str("-j DROP"),
            Self::Return => f.write_str("-j RETURN"),
            Self::Masquerade => f.write_str("-j MASQUERADE"),
            Self::Dnat(to) => write!(f, "-j DNAT --to-destination {to}"),
            Self::DnatHost(to) => write!(f, "-j DNAT --to-destination {to}"),
            Self::Snat(to) => write!(f, "-j SNAT --to-source {to}"),
        }
    }
}
