//! A hundred containers, by several threads of one process.

use std::io;
use std::thread;

use linkspan::Container;

use crate::contest::{Contestant, interleave, timed};
use crate::floor::Floor;
use crate::hosts::{Linkspan, REAPED, Raw};
use crate::report;
use crate::world::{Attached, Trouble, World};

const THREADS: [u16; 3] = [1, 2, 8];
const CONTAINERS: u16 = 100;
const FIRST_PORT: u16 = 40_000;

pub(crate) fn measure() -> Result<(), Trouble> {
    let [a, b] = [World::enter()?, World::enter()?];
    let floor = Raw::build(a, "floor")?;
    let linkspan = Linkspan::open(b, "parallel")?;
    let container = |number: u16| linkspan.product.container(&format!("c{number}"), [FIRST_PORT + number]);
    let wanted = (0..CONTAINERS).map(container).collect::<Result<Vec<_>, _>>()?;
    for threads in THREADS {
        floor.world.host.enter()?;
        let mut doors = (0..threads).map(|_| floor.floor.another()).collect::<io::Result<Vec<_>>>()?;
        let [attach, detach] = interleave(
            8,
            vec![
                Contestant::new("floor", || {
                    floor.world.host.enter()?;
                    let (attach, ()) = timed(|| share(&mut doors, Floor::attach))?;
                    let (detach, ()) = timed(|| share(&mut doors, Floor::detach))?;
                    Ok([attach, detach])
                })
                .resting(REAPED),
                Contestant::new("linkspan", || {
                    linkspan.world.host.enter()?;
                    let (attach, there) = timed(|| attach_all(&linkspan, &wanted, threads))?;
                    let (detach, ()) = timed(|| detach_all(&linkspan, &there, threads))?;
                    Ok([attach, detach])
                })
                .resting(REAPED),
            ],
        )?;
        report::operation("attach 100, by threads", threads, &attach);
        report::operation("detach 100, by threads", threads, &detach);
    }
    Ok(())
}

/// Each door does its share on a thread of its own.
fn share(doors: &mut [Floor], work: fn(&mut Floor, u16) -> io::Result<()>) -> io::Result<()> {
    let step = doors.len();
    thread::scope(|scope| {
        let mut running = Vec::new();
        for (first, door) in (0..).zip(doors) {
            let mut numbers = (first..CONTAINERS).step_by(step);
            running.push(scope.spawn(move || numbers.try_for_each(|number| work(door, number))));
        }
        let panicked = |_| Err(io::Error::other("a thread panicked"));
        running.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(panicked))
    })
}

fn attach_all(linkspan: &Linkspan, wanted: &[Container], threads: u16) -> Result<Vec<Attached>, Trouble> {
    let done = parts(wanted, threads, |container| {
        linkspan.product.attach(container).map_err(|trouble| trouble.to_string())
    })?;
    Ok(done)
}

fn detach_all(linkspan: &Linkspan, there: &[Attached], threads: u16) -> Result<(), Trouble> {
    parts(there, threads, |attached| {
        linkspan.product.detach(attached).map_err(|trouble| trouble.to_string())
    })?;
    Ok(())
}

/// Does the work for each, in as many threads.
fn parts<T: Sync, D: Send>(
    all: &[T],
    threads: u16,
    work: impl Fn(&T) -> Result<D, String> + Sync,
) -> Result<Vec<D>, Trouble> {
    let work = &work;
    thread::scope(|scope| {
        let part = |part| scope.spawn(move || all_of(part, work));
        let running: Vec<_> = all.chunks(all.len().div_ceil(threads.into())).map(part).collect();
        let mut done = Vec::new();
        for thread in running {
            done.extend(thread.join().map_err(|_| "a thread panicked")??);
        }
        Ok(done)
    })
}

fn all_of<T, D>(part: &[T], work: impl Fn(&T) -> Result<D, String>) -> Result<Vec<D>, String> {
    part.iter().map(work).collect()
}
