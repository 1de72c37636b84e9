//! The next container, where many are there.

use crate::contest::{Contestant, interleave, timed};
use crate::hosts::{Linkspan, REAPED, Raw};
use crate::peers::{Peer, port};
use crate::process::Namespace;
use crate::report;
use crate::world::{Trouble, World};

/// A bridge has 1023 ports at most.
const SIZES: [u16; 4] = [0, 100, 500, 900];
const NEXT: u16 = 1000;
const ROUNDS: usize = 40;
/// One that takes hundreds of milliseconds takes fewer turns.
const SELDOM: usize = 10;

/// How many containers others attach, who take a hundred milliseconds and more for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crowds {
    /// As many as linkspan.
    Large,
    /// A hundred at most.
    Small,
}

impl Crowds {
    const fn largest(self) -> u16 {
        match self {
            Self::Large => u16::MAX,
            Self::Small => 100,
        }
    }
}

pub(crate) fn measure(of_others: Crowds) -> Result<(), Trouble> {
    let [a, b] = [World::enter()?, World::enter()?];
    let mut crowds: Vec<_> = Peer::all()?.into_iter().map(Crowd::of).collect();
    let (mut floor, linkspan) = (Raw::build(a, "floor")?, Linkspan::open(b, "present")?);
    crowds.iter().try_for_each(|crowd| crowd.peer.prepare())?;
    let next = linkspan.product.container("next", [port(NEXT)])?;
    let mut there = 0;
    for size in SIZES {
        floor.world.host.enter()?;
        (there..size).try_for_each(|number| floor.floor.attach(number))?;
        for number in there..size {
            linkspan.keep(&linkspan.product.container(&format!("c{number}"), [port(number)])?)?;
        }
        if size > of_others.largest() {
            let why = format!("{size} containers take it minutes to make");
            crowds.drain(..).for_each(|crowd| report::absent(crowd.peer.who(), &why));
        }
        crowds.iter_mut().try_for_each(|crowd| crowd.grow(size))?;
        there = size;
        let mut contestants = vec![
            floor.comes_and_goes("floor", |floor| floor.attach(NEXT), |floor| floor.detach(NEXT)),
            linkspan.comes_and_goes(&next),
        ];
        contestants.extend(crowds.iter_mut().map(Crowd::comes_and_goes));
        let [attach, detach] = interleave(ROUNDS, contestants)?;
        report::operation("attach the next", size, &attach);
        report::operation("detach it", size, &detach);
    }
    Ok(())
}

/// Another program with all the containers that it attached.
struct Crowd {
    peer: Peer,
    there: Vec<Namespace>,
}

impl Crowd {
    const fn of(peer: Peer) -> Self {
        Self { peer, there: Vec::new() }
    }

    /// Attaches until there are so many.
    fn grow(&mut self, size: u16) -> Result<(), Trouble> {
        self.peer.world.host.enter()?;
        for number in (0..size).skip(self.there.len()) {
            let netns = Namespace::make(&format!("{}-{number}", self.peer.word()))?;
            self.peer.attach(&netns.0, number)?;
            self.there.push(netns);
        }
        Ok(())
    }

    /// Attaches and detaches one container, round after round; its namespace is made before.
    fn comes_and_goes(&mut self) -> Contestant<'_, 2> {
        let who = self.peer.who();
        let round = || {
            self.peer.world.host.enter()?;
            let netns = Namespace::make("next")?;
            let (attach, ()) = timed(|| self.peer.attach(&netns.0, NEXT))?;
            let (detach, ()) = timed(|| self.peer.detach(&netns.0, NEXT))?;
            Ok([attach, detach])
        };
        Contestant::new(who, round).resting(REAPED).every(SELDOM)
    }
}
