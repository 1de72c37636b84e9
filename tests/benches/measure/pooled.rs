//! One container with one port, of which most was made ahead, beside the floor that makes all of it.

use std::time::Duration;

use linkspan::{Container, Endpoint};

use crate::contest::{Contestant, interleave, timed};
use crate::floor::Floor;
use crate::hosts::{Linkspan, REAPED, Raw};
use crate::report;
use crate::world::{Trouble, World};

const NUMBER: u16 = 0;
const PORT: u16 = 40_000;
const ROUNDS: usize = 200;

pub(crate) fn measure() -> Result<(), Trouble> {
    let [a, b, c] = [World::enter()?, World::enter()?, World::enter()?];
    let mut floor = Raw::build(a, "floor")?;
    let (links, namespaces) = (Linkspan::open(b, "pairs")?, Linkspan::open(c, "namespaces")?);
    let both = [&links, &namespaces].map(|linkspan| linkspan.product.container("one", [PORT]));
    let [with_links, alone] = both;
    let (with_links, alone) = (with_links?, alone?);
    let attach = |floor: &mut Floor| floor.attach(NUMBER);
    let [attach, detach] = interleave(
        ROUNDS,
        vec![
            floor.comes_and_goes("floor", attach, |floor| floor.detach(NUMBER)),
            warm("linkspan, namespace made ahead", &namespaces, &alone, &[]),
            warm("linkspan, links made ahead", &links, &with_links, with_links.endpoints()),
        ],
    )?;
    report::operation("pooled attach", 0, &attach);
    report::operation("detach of it", 0, &detach);
    report::fact("the floor makes all of it at once, and waits until the links are removed");
    Ok(())
}

/// Hands one out and ends it, round after round; another is made ahead between.
fn warm<'a>(
    who: &'static str,
    linkspan: &'a Linkspan,
    wanted: &'a Container,
    ahead: &'a [Endpoint],
) -> Contestant<'a, 2> {
    let round = move || -> Result<[Duration; 2], Trouble> {
        linkspan.world.host.enter()?;
        let host = &linkspan.product.host;
        host.warm(ahead, 1)?;
        let (attach, (netns, attachment)) = timed(|| host.attach_warm(wanted))?;
        let (detach, _) = timed(|| host.detach_and_end(attachment.id(), netns))?;
        Ok([attach, detach])
    };
    Contestant::new(who, round).resting(REAPED)
}
