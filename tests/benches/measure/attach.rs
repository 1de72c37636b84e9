//! One container with one port, by a process that lives long: namespace, pin, links, address, route, port.

use crate::contest::interleave;
use crate::floor::Floor;
use crate::hosts::{Linkspan, Raw};
use crate::report;
use crate::world::{Trouble, World};

const NUMBER: u16 = 0;
const PORT: u16 = 40_000;

pub(crate) fn measure() -> Result<(), Trouble> {
    let [a, b, c] = [World::enter()?, World::enter()?, World::enter()?];
    let (mut floor, mut fast) = (Raw::build(a, "floor")?, Raw::build(b, "fast")?);
    let linkspan = Linkspan::open(c, "attach")?;
    let wanted = linkspan.product.container("one", [PORT])?;
    let attach = |floor: &mut Floor| floor.attach(NUMBER);
    let [attach, detach] = interleave(
        200,
        vec![
            floor.comes_and_goes("floor", attach, |floor| floor.detach(NUMBER)),
            fast.comes_and_goes("floor, fast detach", attach, |floor| floor.detach_fast(NUMBER)),
            linkspan.comes_and_goes(&wanted),
        ],
    )?;
    report::operation("attach", 0, &attach);
    report::operation("detach", 0, &detach);
    report::fact("the floor waits until the links are removed; fast, it leaves that to the kernel");
    Ok(())
}
