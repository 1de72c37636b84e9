//! One container with one port, by a process that lives long: namespace, pin, links, address, route, port.

use std::cell::Cell;

use crate::contest::interleave;
use crate::floor::Floor;
use crate::hosts::{Linkspan, Raw};
use crate::other::Other;
use crate::report;
use crate::world::{Trouble, World};

const NUMBER: u16 = 0;
const PORT: u16 = 40_000;

pub(crate) fn measure() -> Result<(), Trouble> {
    let [a, b, c, d, e] =
        [World::enter()?, World::enter()?, World::enter()?, World::enter()?, World::enter()?];
    let (mut floor, mut fast) = (Raw::build(a, "floor")?, Raw::build(b, "fast")?);
    let (linkspan, ending) = (Linkspan::open(c, "attach")?, Linkspan::open(d, "ending")?);
    let apart = Linkspan::open(e, "apart")?;
    let wanted = linkspan.product.container("one", [PORT])?;
    let ends = ending.product.container("one", [PORT])?;
    let afterwards = apart.product.container("one", [PORT])?;
    let attach = |floor: &mut Floor| floor.attach(NUMBER);
    // The link of the one before is there until the kernel comes to it, so the next one is named otherwise.
    let number = Cell::new(NUMBER);
    let attach_another = |floor: &mut Floor| {
        number.set(number.get() + 1);
        floor.attach(number.get())
    };
    let mut other = Other::start()?;
    let mut contestants = vec![
        floor.comes_and_goes("floor", attach, |floor| floor.detach(NUMBER)),
        fast.comes_and_goes("floor, fast detach", attach_another, |floor| floor.detach_fast(number.get())),
        linkspan.comes_and_goes(&wanted),
        ending.comes_and_ends(&ends),
        apart.comes_after_its_namespace(&afterwards),
    ];
    contestants.extend(other.as_mut().map(Other::comes_and_goes));
    let [attach, detach] = interleave(200, contestants)?;
    let [floor, fast, linkspan, ending, apart, other @ ..] = &attach[..] else {
        return Err("five took turns".into());
    };
    report::operation("attach", 0, [floor, linkspan].into_iter().chain(other));
    report::operation("attach, to be ended", 0, [fast, ending]);
    report::operation("attach, in two calls", 0, [floor, apart]);
    let [floor, fast, linkspan, ending, _, other @ ..] = &detach[..] else {
        return Err("five took turns".into());
    };
    report::operation("detach", 0, [floor, linkspan].into_iter().chain(other));
    report::operation("detach and end", 0, [fast, ending]);
    report::fact("the floor waits until the links are removed; fast, it leaves that to the kernel");
    report::fact("linkspan makes the namespace with the container, or, in two calls, before it");
    Ok(())
}
