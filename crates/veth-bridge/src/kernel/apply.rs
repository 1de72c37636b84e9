//! Performing a plan.

use super::write::{self, Context};
use super::{Inside, Links, device, neighbours};
use crate::{Error, Place, Plan, Side, Step};
use ipnet::IpNet;
use linkspan_net_types::{Errno, IfIndex};
use linkspan_netlink::{Batch, Error as NetlinkError, Refusal, Socket};
use std::net::Ipv6Addr;
use std::os::fd::AsFd;

/// The first step of a plan that was refused.
///
/// Of the steps that follow it, some of the same namespace may have been done; no others were begun.
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
    done.inspect(|()| run.settle())
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
        let index = match self.named(step) {
            Ok(index) => index,
            Err(reason) => {
                self.leave()?;
                let gone = matches!(reason, Error::Refused { errno, .. } if self.forgives(step, errno));
                return if gone { Ok(()) } else { Err(self.refused(place, reason)) };
            }
        };
        if self.batch.is_empty() {
            (self.side, self.first) = (side, place);
        }
        let netns = self.container.as_ref().map(|inside| inside.as_fd());
        write::step(&mut self.batch, step, Context { index, netns });
        // What follows finds the link by name: where making it is refused because another has the name,
        // the other must not be changed.
        if step.creates() {
            // One of the name may have been deleted before, with the index that was known.
            self.known.clear();
            self.leave()
        } else {
            Ok(())
        }
    }

    /// The index that a step's message needs.
    fn named(&mut self, step: &Step) -> Result<Option<IfIndex>, Error> {
        if matches!(step, Step::CreateVeth { .. }) && self.container.is_none() {
            return Err(Error::ContainerUnseen);
        }
        write::indexed(step).map(|at| self.index(at)).transpose()
    }

    fn index(&mut self, at: Place) -> Result<IfIndex, Error> {
        if let Some((_, index)) = self.known.iter().find(|(known, _)| *known == at) {
            return Ok(*index);
        }
        let found = device::index(self.socket(at.side)?.as_fd(), &at.link);
        let index = found.map_err(|errno| Error::Refused { errno, words: None })?;
        self.known.push((at, index));
        Ok(index)
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

    fn judge(&self, refusals: Vec<Refusal>) -> Result<(), ApplyError> {
        let steps = &self.plan.steps()[self.first..];
        let serious = |r: &Refusal| !steps.get(r.message).is_some_and(|s| self.forgives(s, r.errno));
        match refusals.into_iter().find(serious) {
            Some(refusal) => {
                let reason = Error::Refused { errno: refusal.errno, words: refusal.text };
                Err(self.refused(self.first + refusal.message, reason))
            }
            None => Ok(()),
        }
    }

    /// Whether a refusal only says that what the plan removes is gone already.
    fn forgives(&self, step: &Step, errno: Errno) -> bool {
        match step {
            Step::SetGroup { group, .. } => {
                errno == Errno::ENODEV && self.plan.steps().contains(&Step::DeleteGroup { group: *group })
            }
            step => step.forgives(errno),
        }
    }

    fn refused(&self, step: usize, source: Error) -> ApplyError {
        ApplyError { step, what: Box::new(self.plan.steps()[step].clone()), source }
    }

    /// Waits for what the first packet would otherwise wait for, and much longer.
    fn settle(&mut self) {
        let steps = self.plan.steps();
        let with_ipv6 = self.with_ipv6();
        let ports = steps.iter().filter_map(switched_on).chain(with_ipv6.iter().map(|(at, _)| *at));
        // The ports first: a bridge has a carrier once one of its ports does.
        for at in ports.chain(steps.iter().filter_map(joined)) {
            if let Ok(socket) = self.socket(at.side) {
                device::settle(socket.as_fd(), &at.link);
            }
        }
        for (at, addresses) in with_ipv6 {
            if let (Ok(index), Ok(socket)) = (self.index(at), self.socket(at.side)) {
                neighbours::wait(socket, index, &addresses);
            }
        }
    }

    /// The links that got IPv6 addresses.
    fn with_ipv6(&self) -> Vec<(Place, Vec<Ipv6Addr>)> {
        let mut links: Vec<(Place, Vec<Ipv6Addr>)> = Vec::new();
        for step in self.plan.steps() {
            let Step::AddAddress { at, address: IpNet::V6(net) } = step else { continue };
            match links.iter_mut().find(|(link, _)| link == at) {
                Some((_, addresses)) => addresses.push(net.addr()),
                None => links.push((*at, vec![net.addr()])),
            }
        }
        links
    }
}

const fn switched_on(step: &Step) -> Option<Place> {
    match step {
        Step::SetUp { at: at @ Place { side: Side::Host, .. } } => Some(*at),
        _ => None,
    }
}

const fn joined(step: &Step) -> Option<Place> {
    match step {
        Step::CreateVeth { bridge: Some(bridge), .. } | Step::Join { bridge, .. } => {
            Some(Place::host(*bridge))
        }
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

    const fn creates(&self) -> bool {
        matches!(self, Self::CreateBridge { .. } | Self::CreateVeth { .. })
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
