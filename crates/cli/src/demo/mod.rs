//! `linkspan demo`: a whole host in private namespaces, from nothing to nothing.

mod http;
mod picture;
mod report;

use crate::fault::Fault;
use crate::output::Output;
use ipnet::IpNet;
use linkspan::lab::Lab;
use linkspan::{
    AttachedEndpoint, Attachment, Builder, Container, DefinedNetwork, Endpoint, Error, Host, NetNs, Network,
    Publish, Subnet,
};
use report::{Asked, Peer, Report, Timed};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// The demo's network; nothing else is in the lab, so any will do.
const SUBNETS: [&str; 2] = ["10.88.0.0/24", "fd00:88::/64"];
const WEB: &str = "web";
const CLIENT: &str = "client";
/// Where the web server listens, and where the host answers for it.
const PORT: u16 = 80;
const PUBLISHED: u16 = 8080;

pub(crate) fn demo(builder: Builder, out: Output) -> Result<(), Fault> {
    let lab = Lab::enter()?;
    let host = builder.open()?;
    let before = everything(&host)?;
    let mut clock = Clock::default();
    let stage = Stage::set(&host, &lab, &mut clock)?;
    let asked = stage.ask_all()?;
    let rules = host.rules_text()?;
    let remote = Peer::new(lab.remote_addresses(), linkspan::lab::REMOTE);
    let here = Peer::new(lab.host_addresses(), linkspan::lab::HOST);
    let Stage { network, web, client, .. } = stage;
    let (web, client) = (web.strike(&host, &mut clock)?, client.strike(&host, &mut clock)?);
    clock.time("remove the network", || host.remove_network(network.name()))?;
    let (changes, forwarding) = differences(&before, &everything(&host)?);
    let timed = clock.timed;
    let report =
        Report { remote, host: here, network, web, client, asked, rules, timed, forwarding, changes };
    out.show(&report.to_string(), &report)?;
    judge(report)
}

/// An answer that is wrong, and what stays, are faults of ours.
fn judge(report: Report) -> Result<(), Fault> {
    let wrong = report.asked.iter().filter(|asked| !asked.is_right()).count();
    match wrong {
        0 if report.changes.is_empty() => Ok(()),
        0 => Err(Fault::DemoResidue { lines: report.changes }),
        _ => Err(Fault::DemoAnswers { wrong, asked: report.asked.len() }),
    }
}

/// Links, addresses, routes and rules of the host, and what is on record.
fn everything(host: &Host) -> Result<BTreeSet<String>, Error> {
    let mut lines = host.view(None)?.lines();
    lines.extend(host.networks()?.iter().map(|network| format!("record of network {}", network.name())));
    lines.extend(host.attachments()?.iter().map(|attachment| format!("record of {}", attachment.name())));
    Ok(lines)
}

/// What the host has more or less than before, and whether forwarding was switched on, which stays.
fn differences(before: &BTreeSet<String>, after: &BTreeSet<String>) -> (Vec<String>, bool) {
    let more = after.difference(before).map(|line| format!("+ {line}"));
    let less = before.difference(after).map(|line| format!("- {line}"));
    let (forwarding, rest): (Vec<_>, _) =
        more.chain(less).partition(|line: &String| line[2..].starts_with("host: forwarding"));
    (rest, !forwarding.is_empty())
}

/// A container of the demo: a namespace with nothing in it but its network.
struct Actor {
    netns: NetNs,
    attachment: Attachment,
}

impl Actor {
    fn enter(host: &Host, wanted: &Container, clock: &mut Clock) -> Result<Self, Fault> {
        let netns = NetNs::create_anonymous().map_err(Error::from)?;
        let attachment = clock.time(&format!("attach {}", wanted.name()), || host.attach(&netns, wanted))?;
        Ok(Self { netns, attachment })
    }

    fn strike(self, host: &Host, clock: &mut Clock) -> Result<Attachment, Fault> {
        clock.time(&format!("detach {}", self.attachment.name()), || host.detach(self.attachment.id()))?;
        Ok(self.attachment)
    }

    /// Its address of the family of `like`.
    fn address(&self, like: IpAddr) -> IpAddr {
        let mut addresses = self.attachment.endpoints().iter().flat_map(AttachedEndpoint::addresses);
        addresses.find(|address| address.addr().is_ipv4() == like.is_ipv4()).map_or(like, IpNet::addr)
    }
}

/// Everything in its place: a network, two containers on it, and servers that tell whom they saw.
struct Stage<'a> {
    lab: &'a Lab,
    network: DefinedNetwork,
    web: Actor,
    client: Actor,
}

impl<'a> Stage<'a> {
    fn set(host: &Host, lab: &'a Lab, clock: &mut Clock) -> Result<Self, Fault> {
        let network = clock.time("create the network", || host.ensure_network(&wanted_network()))?;
        let container = |name: &str| Container::new(name.parse().expect("a few letters are a name"));
        let web = container(WEB).on(Endpoint::of(&network)).publish(Publish::tcp(PORT).at(PUBLISHED));
        let web = Actor::enter(host, &web, clock)?;
        let client = Actor::enter(host, &container(CLIENT).on(Endpoint::of(&network)), clock)?;
        web.netns.run(|| http::serve(PORT)).map_err(Error::from)?.map_err(Fault::DemoServer)?;
        lab.remote().run(|| http::serve(PORT)).map_err(Error::from)?.map_err(Fault::DemoServer)?;
        Ok(Self { lab, network, web, client })
    }

    /// Asks from everywhere, and says which address the server should see.
    fn ask_all(&self) -> Result<Vec<Asked>, Fault> {
        let [host4, host6] = self.lab.host_addresses();
        let [remote4, remote6] = self.lab.remote_addresses();
        let gateway = self.network.subnets().first().map_or(host4, Subnet::gateway);
        let (web4, client4) = (self.web.address(host4), self.client.address(host4));
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        Ok(vec![
            self.ask("remote", From::Remote, (host4, PUBLISHED), remote4, "a published port, from outside")?,
            self.ask("remote", From::Remote, (host6, PUBLISHED), remote6, "the same with IPv6")?,
            self.ask("host", From::Host, (host4, PUBLISHED), host4, "from the host by its own address")?,
            self.ask("host", From::Host, (loopback, PUBLISHED), gateway, "from the host by 127.0.0.1")?,
            self.ask(CLIENT, From::Actor(&self.client), (host4, PUBLISHED), gateway, "from a neighbour")?,
            self.ask(WEB, From::Actor(&self.web), (host4, PUBLISHED), gateway, "from the container itself")?,
            self.ask(CLIENT, From::Actor(&self.client), (web4, PORT), client4, "a neighbour, directly")?,
            self.ask(CLIENT, From::Actor(&self.client), (remote4, PORT), host4, "the way out, masqueraded")?,
        ])
    }

    fn ask(
        &self,
        from: &'static str,
        place: From<'_>,
        to: (IpAddr, u16),
        expected: IpAddr,
        about: &'static str,
    ) -> Result<Asked, Fault> {
        let to = SocketAddr::from(to);
        let ask = move || {
            let begun = Instant::now();
            (http::ask(to), begun.elapsed())
        };
        let (answer, took) = match place {
            From::Host => ask(),
            From::Remote => self.lab.remote().run(ask).map_err(Error::from)?,
            From::Actor(actor) => actor.netns.run(ask).map_err(Error::from)?,
        };
        Ok(Asked::new(from, to, about, expected, answer, took))
    }
}

/// Where a request comes from.
#[derive(Clone, Copy)]
enum From<'a> {
    Host,
    Remote,
    Actor(&'a Actor),
}

fn wanted_network() -> Network {
    let network = Network::bridge("demo".parse().expect("four letters are a name"));
    let subnet =
        |text: &str| Subnet::new(text.parse().expect("it is a prefix")).expect("it has no host bits");
    SUBNETS.map(subnet).into_iter().fold(network, Network::subnet)
}

/// What took how long.
#[derive(Default)]
struct Clock {
    timed: Vec<Timed>,
}

impl Clock {
    fn time<T>(&mut self, what: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let begun = Instant::now();
        let done = work();
        let took: Duration = begun.elapsed();
        self.timed.push(Timed { what: what.to_owned(), took });
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarding_alone_may_stay() {
        let set = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let before = set(&["host: forwarding off", "host: link lo"]);
        assert_eq!(differences(&before, &before), (vec![], false));
        let after = set(&["host: forwarding on", "host: link lo"]);
        assert_eq!(differences(&before, &after), (vec![], true));
        let after = set(&["host: forwarding off", "host: link x"]);
        let changes = vec!["+ host: link x".to_owned(), "- host: link lo".to_owned()];
        assert_eq!(differences(&before, &after), (changes, false));
    }
}
