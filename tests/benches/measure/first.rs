//! The first connection after an attach, from another machine through the published port.

use std::fs::File;
use std::time::Duration;

use crate::connect::Server;
use crate::contest::{Contestant, Times, interleave};
use crate::hosts::{Linkspan, REAPED, Raw};
use crate::peers::{Peer, port};
use crate::process::Namespace;
use crate::report;
use crate::spot::Spot;
use crate::world::{Trouble, World};

const NUMBER: u16 = 0;
/// A first packet that is lost is repeated after a second.
const STALL: Duration = Duration::from_millis(500);
/// One that takes a hundred milliseconds takes fewer turns.
const SELDOM: usize = 50;
/// Whether a connection stalls is the question to linkspan.
const OFTEN: usize = 5;
const ROUNDS: usize = 1000;

pub(crate) fn measure() -> Result<(), Trouble> {
    let [a, b] = [World::enter()?, World::enter()?];
    let mut peers = Peer::all()?;
    let (mut floor, linkspan) = (Raw::build(a, "floor")?, Linkspan::open(b, "first")?);
    peers.iter().try_for_each(Peer::prepare)?;
    let wanted = linkspan.product.container("one", [port(NUMBER)])?;
    let mut contestants = vec![
        Contestant::new("floor", || {
            floor.world.host.enter()?;
            let (netns, server) = listening("floor", &floor.world)?;
            floor.floor.attach_at(&netns.0, NUMBER)?;
            let first = server.connect(&floor.world, port(NUMBER))?;
            floor.floor.remove(NUMBER)?;
            Ok([first])
        })
        .resting(REAPED)
        .every(OFTEN),
        Contestant::new("linkspan", || {
            linkspan.world.host.enter()?;
            let (netns, server) = listening("linkspan", &linkspan.world)?;
            let attached = linkspan.product.attach_at(&netns.0, &wanted)?;
            let first = server.connect(&linkspan.world, port(NUMBER))?;
            linkspan.product.host.detach(attached)?;
            Ok([first])
        })
        .resting(REAPED),
    ];
    for peer in &mut peers {
        let turn = Contestant::new(peer.who(), move || {
            peer.world.host.enter()?;
            let (netns, server) = listening("peer", &peer.world)?;
            peer.attach(&netns.0, NUMBER)?;
            let first = server.connect(&peer.world, port(NUMBER))?;
            peer.detach(&netns.0, NUMBER)?;
            Ok([first])
        });
        contestants.push(turn.resting(REAPED).every(SELDOM));
    }
    let [first] = interleave(ROUNDS, contestants)?;
    report::operation("first connection", 0, &first);
    first.iter().for_each(count_stalls);
    Ok(())
}

/// A namespace with a server in it before it has a network.
fn listening(name: &str, world: &World) -> Result<(Namespace, Server), Trouble> {
    let netns = Namespace::make(name)?;
    let server = Server::start(&Spot::from(File::open(&netns.0)?), &world.host)?;
    Ok((netns, server))
}

fn count_stalls(Times { who, times }: &Times) {
    let stalls = times.iter().filter(|time| **time > STALL).count();
    report::fact(&format!(
        "{who}: {stalls} of {} first connections took longer than half a second",
        times.len()
    ));
}
