//! Where packets are, begin and end.

use crate::explain::routing::Stop;
use crate::explain::{Answer, Arrival, Doubt, Obstacle, Place};
use crate::{Attachment, AttachmentId};
use linkspan_net_types::IfName;

/// Why a way is not known to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Stopped {
        by: Obstacle,
        mend: Option<String>,
    },
    Untold(Doubt),
    /// The inside of this container has to be looked at first.
    Unseen(AttachmentId),
}

impl From<Stop> for End {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::By(by) => Self::Stopped { mend: by.mend(), by },
            Stop::Untold(doubt) => Self::Untold(doubt),
        }
    }
}

impl From<Stop> for Answer {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::By(by) => Self::StoppedBy { mend: by.mend(), by },
            Stop::Untold(by) => Self::CannotTell { by },
        }
    }
}

impl From<Obstacle> for End {
    fn from(by: Obstacle) -> Self {
        Self::from(Stop::By(by))
    }
}

/// Where a packet is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spot<'a> {
    Host,
    Inside(&'a Attachment),
}

impl PartialEq for Spot<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Host, Self::Host) => true,
            (Self::Inside(one), Self::Inside(other)) => one.id == other.id,
            _ => false,
        }
    }
}

impl Spot<'_> {
    pub(crate) fn place(self) -> Place {
        match self {
            Self::Host => Place::Host,
            Self::Inside(of) => Place::Container(of.name.clone()),
        }
    }
}

/// Where a packet begins or ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Edge<'a> {
    At(Spot<'a>),
    /// With another machine, behind this link of the host.
    Outside(IfName),
}

impl Edge<'_> {
    pub(super) fn arrival(self) -> Arrival {
        match self {
            Self::At(Spot::Host) => Arrival::Host,
            Self::At(Spot::Inside(of)) => Arrival::Container(of.name.clone()),
            Self::Outside(link) => Arrival::Link(link),
        }
    }
}
