//! The contestants that live as long as the program that embeds them: linkspan and the floor.

use std::io;
use std::time::Duration;

use linkspan::Container;

use crate::contest::{Contestant, timed};
use crate::floor::Floor;
use crate::world::{Attached, Product, Trouble, World};

/// By then the kernel has removed what was left of a namespace.
pub(crate) const REAPED: Duration = Duration::from_millis(50);

/// linkspan on a machine of its own.
pub(crate) struct Linkspan {
    pub(crate) world: World,
    pub(crate) product: Product,
}

impl Linkspan {
    pub(crate) fn open(world: World, name: &'static str) -> Result<Self, Trouble> {
        world.host.enter()?;
        Ok(Self { product: Product::open(name)?, world })
    }

    /// Attaches and detaches one container, round after round.
    pub(crate) fn comes_and_goes<'a>(&'a self, wanted: &'a Container) -> Contestant<'a, 2> {
        let round = || {
            self.world.host.enter()?;
            let (attach, attached) = timed(|| self.product.attach(wanted))?;
            let (detach, ()) = timed(|| self.product.detach(&attached))?;
            Ok([attach, detach])
        };
        Contestant::new("linkspan", round).resting(REAPED)
    }

    /// Attaches one container and ends it with its namespace, round after round.
    pub(crate) fn comes_and_ends<'a>(&'a self, wanted: &'a Container) -> Contestant<'a, 2> {
        let round = || {
            self.world.host.enter()?;
            let (attach, lent) = timed(|| self.product.attach_lent(wanted))?;
            let (detach, ()) = timed(|| self.product.detach_fast(lent))?;
            Ok([attach, detach])
        };
        Contestant::new("linkspan, fast detach", round).resting(REAPED)
    }

    /// Makes a namespace and then attaches it, round after round.
    pub(crate) fn comes_after_its_namespace<'a>(&'a self, wanted: &'a Container) -> Contestant<'a, 2> {
        let round = || {
            self.world.host.enter()?;
            let (attach, attached) = timed(|| self.product.attach_made(wanted))?;
            let (detach, ()) = timed(|| self.product.detach(&attached))?;
            Ok([attach, detach])
        };
        Contestant::new("linkspan, in two calls", round).resting(REAPED)
    }

    /// Attaches what stays.
    pub(crate) fn keep(&self, wanted: &Container) -> Result<Attached, Trouble> {
        self.world.host.enter()?;
        self.product.attach(wanted)
    }
}

/// The floor on a machine of its own.
pub(crate) struct Raw {
    pub(crate) world: World,
    pub(crate) floor: Floor,
}

impl Raw {
    /// Its folder is called by this name.
    pub(crate) fn build(world: World, name: &str) -> Result<Self, Trouble> {
        world.host.enter()?;
        Ok(Self { floor: Floor::build(name)?, world })
    }

    /// Attaches and detaches one container, round after round.
    pub(crate) fn comes_and_goes<'a>(
        &'a mut self,
        who: &'static str,
        attach: impl Fn(&mut Floor) -> io::Result<()> + 'a,
        detach: impl Fn(&mut Floor) -> io::Result<()> + 'a,
    ) -> Contestant<'a, 2> {
        let round = move || {
            self.world.host.enter()?;
            let (attach, ()) = timed(|| attach(&mut self.floor))?;
            let (detach, ()) = timed(|| detach(&mut self.floor))?;
            Ok([attach, detach])
        };
        Contestant::new(who, round).resting(REAPED)
    }
}
