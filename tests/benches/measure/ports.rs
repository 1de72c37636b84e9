//! Published ports: one element each, however many there are.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use linkspan::{Instance, NetNs};
use linkspan_nat_rules::kernel::Nftables;
use linkspan_nat_rules::{Change, Destination, Publish};
use linkspan_net_types::{Port, Protocol};

use crate::connect::Server;
use crate::contest::{Contestant, interleave, timed};
use crate::floor::{self, Floor};
use crate::hosts::{Linkspan, Raw};
use crate::proxy::Proxy;
use crate::spot::Spot;
use crate::world::{Attached, Trouble, World};
use crate::{iptables, proxy, report};

/// How many ports are published while one comes or goes.
const SIZES: [u16; 4] = [0, 1, 1000, 10_000];
/// The first of them.
const FIRST: u16 = 20_000;
/// The port that comes and goes.
const ONE: u16 = 1000;
/// The floor's containers: the one that stays, the one that comes with all ports, the one that comes with its own.
const STAYS: u16 = 0;
const COMES_WITH_ALL: u16 = 1;
const COMES: u16 = 2;
/// A program that is started each time takes milliseconds.
const SELDOM: usize = 20;

pub(crate) fn measure() -> Result<(), Trouble> {
    let mut hosts = Hosts::build()?;
    for size in SIZES {
        if size > 0 {
            attach_with_all(&mut hosts, size)?;
        }
        let there = hosts.publish(size)?;
        count_elements(&hosts, size)?;
        add_one(&mut hosts, &there, size)?;
        attach_one_more(&mut hosts, size)?;
        if size > 0 {
            connect(&hosts, &there, size)?;
        }
        hosts.withdraw(&there, size)?;
    }
    Ok(())
}

/// A machine for each contestant.
struct Hosts {
    linkspan: Linkspan,
    /// Another one of linkspan, with a single port.
    single: Linkspan,
    only: Server,
    floor: Served,
    /// The floor's containers, and a rule for each port.
    iptables: Option<Served>,
    /// A process for each port.
    proxy: Option<PathBuf>,
}

/// The floor with a container that stays, in which a server listens.
struct Served {
    raw: Raw,
    server: Server,
}

/// What stays published.
struct There {
    many: Attached,
    server: Server,
}

impl Hosts {
    fn build() -> Result<Self, Trouble> {
        let [a, b, c, d] = [World::enter()?, World::enter()?, World::enter()?, World::enter()?];
        let single = Linkspan::open(b, "single")?;
        let attached = single.product.attach(&single.product.container("only", [FIRST])?)?;
        let only = Server::start(&attached.netns()?.into(), &single.world.host)?;
        let iptables = match iptables::is_installed() {
            true => Some(Served::build(d, "iptables")?),
            false => {
                report::absent("iptables", "not installed");
                None
            }
        };
        Ok(Self {
            linkspan: Linkspan::open(a, "many")?,
            single,
            only,
            floor: Served::build(c, "floor")?,
            iptables,
            proxy: installed_proxy(),
        })
    }

    /// Lets each publish as many ports.
    fn publish(&mut self, size: u16) -> Result<There, Trouble> {
        self.floor.raw.floor.publish(FIRST, size, floor::address(STAYS))?;
        self.publish_by_iptables(size)?;
        let many = self.linkspan.keep(&self.linkspan.product.container("many", range(size))?)?;
        let server = Server::start(&many.netns()?.into(), &self.linkspan.world.host)?;
        Ok(There { many, server })
    }

    /// Without privilege outside of its namespace, the program cannot send many rules at once.
    fn publish_by_iptables(&mut self, size: u16) -> Result<(), Trouble> {
        let Some(served) = &self.iptables else { return Ok(()) };
        served.raw.world.host.enter()?;
        if let Err(refused) = iptables::publish_all(range(size), floor::address(STAYS)) {
            report::absent("iptables", &format!("{size} rules: {refused}"));
            self.iptables = None;
        }
        Ok(())
    }

    fn withdraw(&mut self, there: &There, size: u16) -> Result<(), Trouble> {
        self.floor.raw.floor.withdraw(FIRST, size)?;
        self.linkspan.world.host.enter()?;
        self.linkspan.product.detach(&there.many)
    }
}

impl Served {
    fn build(world: World, name: &str) -> Result<Self, Trouble> {
        let mut raw = Raw::build(world, name)?;
        raw.floor.attach(STAYS)?;
        let container = Spot::from(File::open(raw.floor.path(STAYS))?);
        let server = Server::start(&container, &raw.world.host)?;
        Ok(Self { raw, server })
    }
}

fn range(size: u16) -> impl Iterator<Item = u16> {
    FIRST..FIRST + size
}

/// A container that comes and goes with all the ports.
fn attach_with_all(hosts: &mut Hosts, size: u16) -> Result<(), Trouble> {
    let Hosts { linkspan, floor: Served { raw, .. }, .. } = hosts;
    let wanted = linkspan.product.container("all", range(size))?;
    let rounds = if size > 1000 { 5 } else { 20 };
    let attach = |floor: &mut Floor| {
        floor.attach(COMES_WITH_ALL)?;
        floor.publish(FIRST, size, floor::address(COMES_WITH_ALL))
    };
    let detach = |floor: &mut Floor| {
        floor.withdraw(FIRST, size)?;
        floor.detach(COMES_WITH_ALL)
    };
    let contestants = vec![raw.comes_and_goes("floor", attach, detach), linkspan.comes_and_goes(&wanted)];
    let [attach, detach] = interleave(rounds, contestants)?;
    report::operation("attach with all of them", size, &attach);
    report::operation("detach with all of them", size, &detach);
    Ok(())
}

/// One port more, by the rules alone.
fn add_one(hosts: &mut Hosts, there: &There, size: u16) -> Result<(), Trouble> {
    let Hosts { linkspan, single, floor, iptables, proxy, .. } = hosts;
    linkspan.world.host.enter()?;
    let mut rules = Nftables::open_in(Instance::default(), NetNs::current()?.as_fd())?;
    let publish = Change::new().publish(one(there.many.address())?);
    let withdraw = publish.inverse();
    let mut contestants = vec![
        Contestant::new("floor", || {
            let to = floor::address(STAYS);
            let (add, ()) = timed(|| floor.raw.floor.publish(ONE, 1, to))?;
            let (remove, ()) = timed(|| floor.raw.floor.withdraw(ONE, 1))?;
            Ok([add, remove])
        }),
        Contestant::new("linkspan", || {
            let (add, _) = timed(|| rules.change(&publish))?;
            let (remove, _) = timed(|| rules.change(&withdraw))?;
            Ok([add, remove])
        }),
    ];
    if let Some(Served { raw, .. }) = iptables {
        contestants.push(Contestant::new("iptables", || by_iptables(raw)).every(SELDOM));
    }
    if let Some(program) = proxy {
        contestants.push(Contestant::new("docker-proxy", || by_proxy(program, &single.world)).every(SELDOM));
    }
    let [add, remove] = interleave(400, contestants)?;
    report::operation("add one port", size, &add);
    report::operation("remove one port", size, &remove);
    Ok(())
}

fn one(to: IpAddr) -> Result<Publish, Trouble> {
    let (at, inside) = (Port::new(ONE).ok_or("no port")?, Port::new(80).ok_or("no port")?);
    Ok(Publish::nat(Protocol::Tcp, at, Destination::new(to, inside)))
}

fn by_iptables(raw: &Raw) -> Result<[Duration; 2], Trouble> {
    raw.world.host.enter()?;
    let to = floor::address(STAYS);
    let (add, ()) = timed(|| iptables::publish(ONE, to))?;
    let (remove, ()) = timed(|| iptables::withdraw(ONE, to))?;
    Ok([add, remove])
}

fn installed_proxy() -> Option<PathBuf> {
    let program = proxy::find();
    if program.is_none() {
        report::absent("docker-proxy", "not installed");
    }
    program
}

/// A process for the port, which is there for no others.
fn by_proxy(program: &Path, world: &World) -> Result<[Duration; 2], Trouble> {
    world.host.enter()?;
    let (add, proxy) = timed(|| Proxy::start(program, ONE, floor::address(STAYS)))?;
    let (remove, ()) = timed(|| proxy.stop())?;
    Ok([add, remove])
}

/// A container with a port of its own, where all the others are published already.
fn attach_one_more(hosts: &mut Hosts, size: u16) -> Result<(), Trouble> {
    let Hosts { linkspan, floor: Served { raw, .. }, .. } = hosts;
    let wanted = linkspan.product.container("one", [ONE])?;
    let [attach, detach] = interleave(
        40,
        vec![
            raw.comes_and_goes("floor", |floor| floor.attach(COMES), |floor| floor.detach(COMES)),
            linkspan.comes_and_goes(&wanted),
        ],
    )?;
    report::operation("attach with one more", size, &attach);
    report::operation("detach with one more", size, &detach);
    Ok(())
}

/// Connections from the remote machine, one by one.
fn connect(hosts: &Hosts, there: &There, size: u16) -> Result<(), Trouble> {
    let Hosts { linkspan, single, only, floor, iptables, .. } = hosts;
    let last = FIRST + size - 1;
    let mut contestants = vec![
        Contestant::new("linkspan, the only port", || Ok([only.connect(&single.world, FIRST)?])),
        Contestant::new("linkspan, the first", || Ok([there.server.connect(&linkspan.world, FIRST)?])),
        Contestant::new("linkspan, the last", || Ok([there.server.connect(&linkspan.world, last)?])),
        Contestant::new("floor, the last", || Ok([floor.server.connect(&floor.raw.world, last)?])),
    ];
    if let Some(Served { raw, server }) = iptables {
        let connect = || Ok([server.connect(&raw.world, last)?]);
        contestants.push(Contestant::new("iptables, the last", connect));
    }
    let [connect] = interleave(1000, contestants)?;
    report::operation("connect", size, &connect);
    Ok(())
}

/// Says what nft, which is not ours, sees in the kernel.
fn count_elements(hosts: &Hosts, size: u16) -> io::Result<()> {
    hosts.linkspan.world.host.enter()?;
    let listed = Command::new("nft").args(["list", "map", "inet", "linkspan", "pub4"]).output()?;
    let listed = String::from_utf8_lossy(&listed.stdout);
    let elements = listed.split_once("elements = {").map_or(0, |(_, elements)| elements.split(',').count());
    report::fact(&format!(
        "{size} ports published: {elements} elements in the map of IPv4 ports, as nft lists it"
    ));
    Ok(())
}
