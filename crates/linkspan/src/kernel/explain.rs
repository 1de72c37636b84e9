//! Looking at all that an explanation is made of. Nothing is changed, and no lock is held.

use crate::error::chain;
use crate::explain::ends::{Asked, Lack, explain};
use crate::explain::model::{Machine, Model};
use crate::explain::{Explanation, Question, Sender, Target};
use crate::kernel::host::Host;
use crate::{Attachment, Error};
use linkspan_nat_rules::kernel::Others;
use linkspan_netns::NetNs;
use linkspan_veth_bridge::kernel::{Inside, Links};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;

/// So many bytes tell of all links and rules that a container may have; one with more is not looked at.
const MOST: usize = 16 * 1024 * 1024;

impl Host {
    /// Explains what becomes of a packet, and of its answer: whether they pass, what stops them, or what hangs on
    /// something that is not known.
    ///
    /// It says what is, at the moment it looks: the links, routes and rules that are loaded, whoever loaded them, on
    /// the host and in the containers that the packet meets. It changes nothing, and other operations go on meanwhile.
    /// Whether a program listens at the end is not said, nor what other machines do with the packet: they are taken
    /// to be there, and to answer from the address that was asked. Neighbours are taken to find each other, but for
    /// neighbour discovery (RFC 4861) from port to port of a bridge: rules that stop ARP, or neighbour discovery
    /// elsewhere, and nothing else are not seen.
    ///
    /// # Errors
    /// [`Error::NoSuchAttachment`] and [`Error::Ambiguous`] for a container that is not found, [`Error::NoAddress`],
    /// [`Error::Families`]; [`Error::Records`], [`Error::Links`] and [`Error::Rules`] where the host cannot be read.
    #[cfg_attr(feature = "lab", doc = "```")]
    #[cfg_attr(not(feature = "lab"), doc = "```ignore")]
    /// use linkspan::{Answer, Host, Question};
    ///
    /// # let lab = linkspan::lab::Lab::enter()?;
    /// let host = Host::open()?;
    /// let explanation = host.explain(&Question::parse("host", "outside")?)?;
    /// assert!(matches!(explanation.ways()[0].answer(), Answer::Passes { .. }), "{explanation}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn explain(&self, question: &Question) -> Result<Explanation, Error> {
        let mut all = self.explain_all(std::slice::from_ref(question))?;
        all.pop().ok_or_else(|| Error::NoAddress { of: question.to().to_string() })
    }

    /// Explains several questions by one look at the host, each as [`explain`](Self::explain) does.
    ///
    /// # Errors
    /// As [`explain`](Self::explain), for the first question that is refused.
    pub fn explain_all(&self, questions: &[Question]) -> Result<Vec<Explanation>, Error> {
        let mut model = self.model()?;
        let (repairs, doubt) = match self.repairs() {
            Ok(repairs) => (repairs, None),
            Err(refused) => (Vec::new(), Some(chain(&refused))),
        };
        let explained = questions.iter().map(|question| self.explain_by(&mut model, question));
        let told = |each: Explanation| Explanation { repairs: repairs.clone(), doubt: doubt.clone(), ..each };
        explained.map(|each| each.map(told)).collect()
    }

    /// Looks into each container that the packet comes to and that was not looked into before.
    fn explain_by(&self, model: &mut Model, question: &Question) -> Result<Explanation, Error> {
        let from = match question.from() {
            Sender::Container(name) => Some(self.find(name)?.id),
            _ => None,
        };
        let to = match question.to() {
            Target::Container(name) => Some(self.find(name)?.id),
            _ => None,
        };
        loop {
            match explain(model, &Asked { question, from, to }) {
                Ok(explanation) => return Ok(explanation),
                Err(Lack::Refused(refused)) => return Err(refused),
                Err(Lack::Unseen(id)) => {
                    let seen = model.attachment(id).map(|of| self.inside(of)).transpose()?.flatten();
                    model.inside.insert(id, seen);
                }
            }
        }
    }

    /// The steps by which the host would be made what the records say.
    fn repairs(&self) -> Result<Vec<String>, Error> {
        Ok(self.plan_reconcile()?.to_string().lines().map(str::to_owned).collect())
    }

    fn model(&self) -> Result<Model, Error> {
        let (networks, attachments) = (self.networks()?, self.attachments()?);
        let bridges = networks.iter().map(|network| network.link).collect::<BTreeSet<_>>();
        let loaded = Others::open_in(self.instance(), self.netns.as_fd())?.look()?;
        let survey = self.links(Links::survey)?;
        let host = Machine::new(survey, loaded, bridges.iter().copied());
        Ok(Model { host, attachments, inside: BTreeMap::new(), bridges })
    }

    /// A container as it is inside; `None` where its namespace is gone, or has more in it than is read.
    fn inside(&self, of: &Attachment) -> Result<Option<Machine>, Error> {
        match self.namespace_of(of).and_then(|netns| self.machine(&netns)) {
            Ok(machine) => Ok(Some(machine)),
            Err(Error::NamespaceLost { .. }) => Ok(None),
            Err(Error::Links(refused)) if refused.is_endless() => Ok(None),
            Err(Error::Rules(refused)) if refused.is_endless() => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn machine(&self, netns: &NetNs) -> Result<Machine, Error> {
        let loaded = Others::open_in(self.instance(), netns.as_fd())?.within(MOST).look()?;
        Ok(Machine::new(Inside::open(netns.as_fd())?.survey()?, loaded, []))
    }
}
