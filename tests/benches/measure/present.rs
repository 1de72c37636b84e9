//! The next container, where many are there.

use crate::contest::interleave;
use crate::hosts::{Linkspan, Raw};
use crate::report;
use crate::world::{Trouble, World};

/// A bridge has 1023 ports at most.
const SIZES: [u16; 4] = [0, 100, 500, 900];
const NEXT: u16 = 1000;
const FIRST_PORT: u16 = 40_000;

pub(crate) fn measure() -> Result<(), Trouble> {
    let [a, b] = [World::enter()?, World::enter()?];
    let (mut floor, linkspan) = (Raw::build(a, "floor")?, Linkspan::open(b, "present")?);
    let next = linkspan.product.container("next", [FIRST_PORT + NEXT])?;
    let mut there = 0;
    for size in SIZES {
        floor.world.host.enter()?;
        (there..size).try_for_each(|number| floor.floor.attach(number))?;
        for number in there..size {
            linkspan.keep(&linkspan.product.container(&format!("c{number}"), [FIRST_PORT + number])?)?;
        }
        there = size;
        let [attach, detach] = interleave(
            40,
            vec![
                floor.comes_and_goes("floor", |floor| floor.attach(NEXT), |floor| floor.detach(NEXT)),
                linkspan.comes_and_goes(&next),
            ],
        )?;
        report::operation("attach the next", size, &attach);
        report::operation("detach it", size, &detach);
    }
    Ok(())
}
