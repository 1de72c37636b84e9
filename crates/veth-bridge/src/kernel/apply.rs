//! Performing a plan.

use super::write::{self, Context};
use super::{Inside, Links, carrier, observe};
use crate::{Error, Place, Plan, Side, Step};
use linkspan_net_types::{Errno, IfIndex, IfName};
use linkspan_netlink::{Batch, Error as NetlinkError, Socket};
use std::os::fd::AsFd;

/// The first step of a plan that was refused.
///
/// The steps of the same namespace that follow it directly may have been done; no others were begun.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}")]
pub struct ApplyError {
    step: usize,
    what: Box<Step>,
    source: Error,
}

impl ApplyError {
    /// The place of the step in its plan, from 0.
    pub const fn step(&self) -> usize {
        self.step
    }

    /// The step.
    pub const fn what(&self) -> &Step {
        &self.what
    }

    /// The kernel's reason, where it refused the step.
    pub fn errno(&self) -> Option<Errno> {
        match &self.source {
            Error::Refused { errno, .. } => Some(*errno),
            Error::Setting { source, .. } => source.raw_os_error().map(Errno::new),
            _ => None,
        }
    }
}

pub(super) fn apply(
    links: &mut Links,
    plan: &Plan,
    container: Option<&mut Inside>,
) -> Result<(), ApplyError> {
    let mut run =
        Run { links, container, plan, side: Side::Host, batch: Batch::new(), first: 0, known: Vec::new() };
    let done = (0..plan.steps().len()).try_for_each(|place| run.take(place)).and_then(|()| run.leave());
    run.settle();
    done
}

/// Steps of one namespace that follow each other and leave together.
struct Run<'a> {
    links: &'a mut Links,
    container: Option<&'a mut Inside>,
    plan: &'a Plan,
    side: Side,
    batch: Batch,
    /// The place of the step that the first message performs; each further message performs the next.
    first: usize,
    known: Vec<(Place, IfIndex)>,
}

impl Run<'_> {
    fn take(&mut self, place: usize) -> Result<(), ApplyError> {
        let step = &self.plan.steps()[place];
        match step {
            Step::EnableForwarding { family } => {
                self.leave()?;
                self.links.home.enable_forwarding(*family).map_err(|source| self.refused(place, source))
            }
            Step::IgnoreRouters { link } => {
                self.leave()?;
                self.links.home.ignore_routers(link).map_err(|source| self.refused(place, source))
            }
            _ => self.write(place, step),
        }
    }

    fn write(&mut self, place: usize, step: &Step) -> Result<(), ApplyError> {
        let side = step.side();
        if side != self.side {
            self.leave()?;
        }
        let index = match write::indexed(step).map(|at| self.index(at)).transpose()? {
            Some(Err(_)) if step.forgives(Errno::ENODEV) => return self.leave(),
            Some(index) => Some(index.map_err(|source| self.refused(place, source))?),
            None => None,
        };
        let netns = match (step, &self.container) {
            (Step::CreateVeth { .. }, None) => return Err(self.refused(place, Error::ContainerUnseen)),
            (_, container) => container.as_ref().map(|inside| inside.as_fd()),
        };
        if self.batch.is_empty() {
            (self.side, self.first) = (side, place);
        }
        write::step(&mut self.batch, step, Context { index, netns });
        Ok(())
    }

    /// The index of a link, which a message that has not left yet may still have to make.
    fn index(&mut self, at: Place) -> Result<Result<IfIndex, Error>, ApplyError> {
        if let Some((_, index)) = self.known.iter().find(|(known, _)| *known == at) {
            return Ok(Ok(*index));
        }
        let mut found = self.look_up(at);
        if !matches!(found, Ok(Some(_))) && !self.batch.is_empty() {
            self.leave()?;
            found = self.look_up(at);
        }
        Ok(found
            .and_then(|index| index.ok_or(Error::Refused { errno: Errno::ENODEV, words: None }))
            .inspect(|index| self.known.push((at, *index))))
    }

    fn look_up(&mut self, at: Place) -> Result<Option<IfIndex>, Error> {
        observe::index_of(self.socket(at.side)?, &at.link)
    }

    fn socket(&mut self, side: Side) -> Result<&mut Socket, Error> {
        match side {
            Side::Host => Ok(&mut self.links.route),
            Side::Container => self.container.as_mut().map(|i| &mut i.route).ok_or(Error::ContainerUnseen),
        }
    }

    /// Sends what was gathered.
    fn leave(&mut self) -> Result<(), ApplyError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let mut batch = std::mem::take(&mut self.batch);
        let sent = self.socket(self.side).map(|socket| socket.send(&mut batch));
        match sent.map_err(|source| self.refused(self.first, source))? {
            Ok(()) => Ok(()),
            Err(NetlinkError::Refused(refusals)) => self.judge(refusals),
            Err(source) => Err(self.refused(self.first, Error::Send(source))),
        }
    }

    fn judge(&self, refusals: Vec<linkspan_netlink::Refusal>) -> Result<(), ApplyError> {
        let steps = &self.plan.steps()[self.first..];
        let serious =
            |r: &linkspan_netlink::Refusal| !steps.get(r.message).is_some_and(|s| s.forgives(r.errno));
        match refusals.into_iter().find(serious) {
            Some(refusal) => {
                let reason = Error::Refused { errno: refusal.errno, words: refusal.text };
                Err(self.refused(self.first + refusal.message, reason))
            }
            None => Ok(()),
        }
    }

    fn refused(&self, step: usize, source: Error) -> ApplyError {
        ApplyError { step, what: Box::new(self.plan.steps()[step].clone()), source }
    }

    /// The ports first: a bridge has a carrier once one of its ports does.
    fn settle(&self) {
        let steps = self.plan.steps();
        let ports = steps.iter().filter_map(switched_on);
        for link in ports.chain(steps.iter().filter_map(joined)) {
            carrier::settle(self.links.route.as_fd(), link);
        }
    }
}

const fn switched_on(step: &Step) -> Option<&IfName> {
    match step {
        Step::SetUp { at: Place { side: Side::Host, link } } => Some(link),
        _ => None,
    }
}

const fn joined(step: &Step) -> Option<&IfName> {
    match step {
        Step::CreateVeth { bridge: Some(bridge), .. } | Step::Join { bridge, .. } => Some(bridge),
        _ => None,
    }
}

impl Step {
    /// The namespace that its message is sent in; a pair is made from the host's, so that nothing is done in
    /// the container where that is refused.
    const fn side(&self) -> Side {
        match self {
            Self::CreateVeth { .. } => Side::Host,
            step => match step.place() {
                Some(Place { side, .. }) => side,
                None => Side::Host,
            },
        }
    }

    /// Whether a refusal only says that what is to be removed is gone already.
    fn forgives(&self, errno: Errno) -> bool {
        match self {
            Self::DeleteBridge { .. } | Self::DeleteVeth { .. } | Self::DeleteGroup { .. } => {
                errno == Errno::ENODEV
            }
            Self::RemoveAddress { .. } => matches!(errno, Errno::EADDRNOTAVAIL | Errno::ENODEV),
            _ => false,
        }
    }
}
