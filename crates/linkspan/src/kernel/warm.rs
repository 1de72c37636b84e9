//! Making namespaces and their links ahead, handing them out, and taking back what dead processes made.

use crate::attachment::AttachmentRecord;
use crate::kernel::attach::{Ahead, Attempt, PortsToCount, namespace};
use crate::kernel::home::file;
use crate::kernel::host::Host;
use crate::kernel::target::Target;
use crate::kernel::up::Held;
use crate::plan;
use crate::warm::{Fit, Shelf};
use crate::{Attachment, AttachmentId, Container, Endpoint, Error};
use linkspan_netns::NetNs;
use linkspan_records::{Record, Taken};
use linkspan_veth_bridge::Space;
use linkspan_veth_bridge::kernel::Inside;
use std::cell::RefCell;
use std::sync::{MutexGuard, PoisonError};

/// A namespace that waits for its container, with whatever of its attach was done ahead.
#[derive(Debug)]
pub(crate) struct Waiting {
    netns: NetNs,
    ahead: Ahead,
}

impl Host {
    /// Makes namespaces ahead until `size` of them wait for containers with these endpoints, and says how many it made.
    ///
    /// Each has its links, up and on their bridges, and no address, no name and no port: those come with
    /// [`attach_warm`](Self::attach_warm), which has little left to do. Without endpoints it is a namespace alone, and
    /// fit for any container that finds nothing better. Addresses and MACs of the endpoints are no matter.
    ///
    /// A runtime calls it when it has time, on whatever thread, and again whenever some were handed out. What waits
    /// belongs to this value, costs three file descriptors and a port of each bridge, and is ended by
    /// [`cool`](Self::cool). It is on record before it is made: what a process leaves that ends without that, or is
    /// killed, goes with the next removal by any process, or [`gc`](Self::gc). It keeps no network from being removed.
    ///
    /// # Errors
    /// As [`attach`](Self::attach). What was made before the refusal waits.
    ///
    /// # Examples
    /// ```no_run
    /// use linkspan::{Container, Endpoint, Host, Network, Publish};
    ///
    /// let host = Host::open()?;
    /// let web = host.ensure_network(&Network::bridge("web".parse()?))?;
    /// host.warm(&[Endpoint::of(&web)], 8)?; // while nobody waits
    ///
    /// let wanted = Container::new("web-1".parse()?).on(Endpoint::of(&web)).publish(Publish::tcp(80).at(8080));
    /// let (netns, attachment) = host.attach_warm(&wanted)?; // while somebody does
    /// let netns = netns.pin("/run/netns/web-1")?;
    /// host.hand_over(attachment.id(), &netns)?; // others find it there
    /// host.cool()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn warm(&self, endpoints: &[Endpoint], size: usize) -> Result<usize, Error> {
        let fit = Fit::of(endpoints);
        let mut made = 0;
        while self.shelf().begin(&fit, size) {
            let next = self.make(|| self.make_ahead(&fit));
            let (waiting, done) =
                next.map_or_else(|refused| (None, Err(refused)), |next| (Some(next), Ok(())));
            self.shelf().end(fit.clone(), waiting);
            done?;
            made += 1;
        }
        Ok(made)
    }

    /// Attaches a container in a namespace that was made ahead, where one waits that is fit for it, and else in one that
    /// is made now.
    ///
    /// The namespace is held by the returned value alone; [`NetNs::pin`] gives it a place, and
    /// [`hand_over`](Self::hand_over) notes it.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub fn attach_warm(&self, wanted: &Container) -> Result<(NetNs, Attachment), Error> {
        let fit = Fit::of(wanted.endpoints());
        let Waiting { netns, ahead } = self.next_for(&fit)?;
        let ahead = RefCell::new(ahead);
        match self.make(|| self.attach_mending(Target::There(&netns), wanted, None, &ahead)) {
            Ok(attachment) => Ok((netns, attachment)),
            Err(refused) => {
                let ahead = ahead.into_inner();
                // Refused before it was touched.
                if ahead.record.is_some() && ahead.inside.is_some() {
                    self.shelf().put_back(fit, Waiting { netns, ahead });
                }
                Err(refused)
            }
        }
    }

    /// Ends all that this value made ahead and did not hand out.
    ///
    /// # Errors
    /// [`Error::LeftBehind`] where something could not be removed; the next removal tries again.
    pub fn cool(&self) -> Result<(), Error> {
        let waiting = self.shelf().clear();
        let (_namespaces, ahead): (Vec<_>, Vec<_>) = waiting.into_iter().map(|w| (w.netns, w.ahead)).unzip();
        self.remove(|_| self.take_back_all(ahead.into_iter().filter_map(|ahead| ahead.record).collect()))
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf<Waiting>> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that fits best; a namespace alone is fit for everybody.
    fn next_for(&self, fit: &Fit) -> Result<Waiting, Error> {
        let mut shelf = self.shelf();
        let waiting = shelf.take(fit).or_else(|| shelf.take(&Fit::of(&[])));
        drop(shelf);
        waiting.map_or_else(|| Ok(Waiting { netns: NetNs::create_anonymous()?, ahead: Ahead::default() }), Ok)
    }

    fn make_ahead(&self, fit: &Fit) -> Result<Waiting, Error> {
        let netns = NetNs::create_anonymous()?;
        let id = AttachmentId::at(self.moment()?);
        let wanted = fit.wish(id);
        if wanted.endpoints().is_empty() {
            return Ok(Waiting { netns, ahead: Ahead::default() });
        }
        self.check(Target::There(&netns), &wanted)?;
        let ahead = self.on_networks(&wanted, |held| self.begin_ahead(id, &netns, &wanted, held))?;
        Ok(Waiting { netns, ahead })
    }

    /// Begins an attach as far as it can be without a name, an address or a port.
    fn begin_ahead(
        &self,
        id: AttachmentId,
        netns: &NetNs,
        wanted: &Container,
        held: &Held,
    ) -> Result<Ahead, Error> {
        let (name, networks) = (wanted.name().clone(), Vec::new());
        let draft = AttachmentRecord { id, name, networks, leaving: false, attachment: None };
        let (ports, ahead) = (PortsToCount::None, &RefCell::default());
        let (networks, rules) = (&held.networks[..], &held.rules[..]);
        let target = Target::There(netns);
        let attempt = Attempt { target, wanted, networks, rules, ports, plan: None, ahead };
        let mut record = self.run.warm.create_record(&file(id), draft)?;
        match self.lay_ahead(&attempt, netns, &mut record) {
            Ok((inside, seen)) => Ok(Ahead { record: Some(record), inside: Some(inside), seen: Some(seen) }),
            Err(refused) => Err(refused.after(self.take_back(record))),
        }
    }

    fn lay_ahead(
        &self,
        attempt: &Attempt<'_>,
        netns: &NetNs,
        record: &mut Record<AttachmentRecord>,
    ) -> Result<(Inside, Space), Error> {
        let id = record.value().id;
        let mut inside = attempt.inside(netns)?;
        let seen = self.look(attempt, id, &mut inside)?;
        plan::recognise(self.instance(), attempt.networks, &seen)?;
        let none = attempt.wanted.endpoints().iter().map(|_| Vec::new()).collect();
        let granted = attempt.asked(self.instance(), id, &[]).granted(none, &seen)?;
        let attachment = granted.within(namespace(netns)).unrouted();
        let links = plan::attach(&attachment, &seen)?;
        record.append(AttachmentRecord { attachment: Some(attachment), ..record.value().clone() })?;
        self.links(|door| door.apply(&links, Some(&mut inside)).map_err(Error::from))?;
        let seen = inside.observe()?;
        Ok((inside, seen))
    }

    /// What dead processes had made ahead: whose record nobody keeps.
    pub(crate) fn abandoned(&self) -> Result<Vec<Record<AttachmentRecord>>, Error> {
        let mut records = Vec::new();
        for name in self.run.warm.names_swept()? {
            match self.run.warm.take_record(&name) {
                Ok(Taken::Here(record)) => records.push(record),
                Ok(Taken::Busy | Taken::Absent) => {}
                // `gc` removes it, with what it stood for.
                Err(refused) if refused.is_damage() => {}
                Err(refused) => return Err(refused.into()),
            }
        }
        Ok(records)
    }
}
