//! One host, what is said about it, and what its packets do.

use super::questions::{Asked, Sights};
use super::topology::{PREFACE, REMOTE, REMOTE_ADDRESSES, Topology};
use super::witness::{Heard, Letter, Servers};
use crate::program::{path_of_linkspan, run};
use crate::traffic::{DOUBT, PATIENCE, allow_ping};
use crate::world::Case;
use linkspan::explain::{Answer, Arrival, Deed, Explanation, Leg, Question, Way};
use linkspan::lab::Lab;
use linkspan::{Host, NetNs, Port, Protocol, Target};
use std::env;
use std::fmt::{self, Write};
use std::io;
use std::net::IpAddr;
use std::ops::AddAssign;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// How many questions were answered how.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) passes: usize,
    pub(super) stopped: usize,
    pub(super) doubtful: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passes += other.passes;
        self.stopped += other.stopped;
        self.doubtful += other.doubtful;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passes, stopped, doubtful } = self;
        write!(
            f,
            "{} ways: {passes} pass, {stopped} are stopped, {doubtful} cannot be told",
            passes + stopped + doubtful
        )
    }
}

/// A host that is there, with the calling thread on it, and the machines around it.
#[derive(Debug)]
pub(super) struct Trial<'a> {
    topology: &'a Topology,
    host: Host,
    /// The remote machine is there as long as this is.
    _lab: Lab,
    machines: Vec<(String, NetNs)>,
}

/// One way as it is explained.
#[derive(Debug)]
struct Told<'a> {
    asked: &'a Asked,
    question: Question,
    way: Way,
}

impl<'a> Trial<'a> {
    /// Moves the calling thread to the host, and builds it.
    pub(super) fn build(case: Case, topology: &'a Topology) -> Self {
        let (lab, host) = case.enter();
        let remote = lab.remote().run(NetNs::current).unwrap().unwrap();
        shell(case, PREFACE);
        remote.run(|| shell(case, REMOTE)).unwrap();
        shell(case, &topology.to_string());
        let mut machines =
            vec![("host".to_owned(), NetNs::current().unwrap()), ("outside".to_owned(), remote)];
        for attachment in host.attachments().unwrap() {
            // One that is gone asks nothing, and answers nothing.
            let netns = NetNs::open(format!("/run/netns/{}", attachment.name()));
            machines.extend(netns.ok().map(|netns| (attachment.name().to_string(), netns)));
        }
        machines.iter().for_each(|(_, netns)| netns.run(allow_ping).unwrap().unwrap());
        Self { topology, host, _lab: lab, machines }
    }

    /// Whether every container that is on record is there.
    pub(super) fn is_whole(&self) -> bool {
        self.host.attachments().unwrap().len() + 2 == self.machines.len()
    }

    pub(super) fn sights(&self) -> Sights {
        Sights::of(&self.host)
    }

    /// Asks, and says in what words and packets differ.
    pub(super) fn compare(&self, asked: &[Asked]) -> (Tally, Vec<String>) {
        let (told, mut differences) = self.explain(asked);
        let _servers = self.serve(told.iter().filter_map(|told| told.question.service()));
        let heard = at_once(&told, |told| self.ask(told));
        let mut tally = Tally::default();
        for (told, heard) in told.iter().zip(heard) {
            tally += told.counted();
            differences.extend(self.judge(told, heard).map(|why| self.report(told, &why)));
        }
        (tally, differences)
    }

    /// Asks the packets alone, of addresses: what came back, and who answered.
    pub(super) fn hear(&self, asked: &[Asked], patience: Duration) -> Vec<(String, Option<Heard>)> {
        let questions = asked.iter().filter_map(|asked| {
            let question = Question::parse(&asked.from, &asked.to).ok()?;
            let Target::Address(to) = *question.to() else { return None };
            Some((asked, self.letter(asked, &question, to)?))
        });
        let letters: Vec<_> = questions.collect();
        let _servers = self.serve(letters.iter().filter_map(|(_, letter)| letter.service));
        let ask = |letter: Letter<'_>| letter.ask(patience).ok();
        at_once(&letters, |(asked, letter)| (asked.to_string(), ask(*letter)))
    }

    /// What is told, and what is refused.
    fn explain<'b>(&self, asked: &'b [Asked]) -> (Vec<Told<'b>>, Vec<String>) {
        let questions: Vec<_> =
            asked.iter().map(|asked| Question::parse(&asked.from, &asked.to).unwrap()).collect();
        match self.host.explain_all(&questions) {
            Ok(explained) => {
                let all = asked.iter().zip(questions).zip(explained);
                let told = |((asked, question), explained): ((&'b Asked, Question), Explanation)| {
                    let told = |way: &Way| Told { asked, question: question.clone(), way: way.clone() };
                    explained.ways().iter().map(told).collect::<Vec<_>>()
                };
                (all.flat_map(told).collect(), Vec::new())
            }
            Err(refused) => (Vec::new(), vec![refused.to_string()]),
        }
    }

    /// Sends the packet; `None` where nobody can send it, or it is not known what would be right.
    fn ask(&self, told: &Told<'_>) -> Option<io::Result<Heard>> {
        let patience = match told.way.answer() {
            // Whether there is such a machine outside is not said.
            Answer::Passes { to: Arrival::Link(_) } if !is_outside(told.target()) => return None,
            Answer::Passes { .. } => PATIENCE,
            Answer::StoppedBy { .. } => DOUBT,
            _ => return None,
        };
        self.letter(told.asked, &told.question, told.way.target()).map(|letter| letter.ask(patience))
    }

    /// `None` where nobody can send it.
    fn letter(&self, asked: &Asked, question: &Question, to: IpAddr) -> Option<Letter<'_>> {
        let source = asked.from.parse::<IpAddr>().ok();
        let from = if source.is_some() { "outside" } else { &asked.from };
        let (_, from) = self.machines.iter().find(|(name, _)| name == from)?;
        Some(Letter { from, source, to, service: question.service() })
    }

    /// Every machine serves what is asked for, and the ports that it may be led to.
    fn serve(&self, asked: impl Iterator<Item = (Protocol, Port)>) -> Servers {
        let sights = self.sights();
        let ports = sights.ports().chain(asked.map(|(_, port)| port.get()));
        Servers::start(&self.machines, &ports.collect())
    }

    fn judge(&self, told: &Told<'_>, heard: Option<io::Result<Heard>>) -> Option<String> {
        match (told.way.answer(), heard) {
            (Answer::CannotTell { .. }, _) => {
                (!self.topology.puzzling).then(|| "nothing here is beyond knowing".to_owned())
            }
            (_, None) | (Answer::StoppedBy { .. }, Some(Err(_))) => None,
            (Answer::Passes { to }, Some(Ok(heard))) => told.differs(&name(to), &heard),
            (_, Some(heard)) => Some(format!("packets: {heard:?}")),
        }
    }

    fn report(&self, told: &Told<'_>, why: &str) -> String {
        let Told { asked, way, .. } = told;
        format!("{asked}\n{way}but {why}")
    }
}

impl Told<'_> {
    fn counted(&self) -> Tally {
        let mut tally = Tally::default();
        match self.way.answer() {
            Answer::Passes { .. } => tally.passes = 1,
            Answer::StoppedBy { .. } => tally.stopped = 1,
            _ => tally.doubtful = 1,
        }
        tally
    }

    /// What the first packet is sent to in the end.
    fn target(&self) -> IpAddr {
        let made = |deed: &Deed| match deed {
            Deed::Target { address, .. } => Some(*address),
            _ => None,
        };
        self.last(made).unwrap_or_else(|| self.way.target())
    }

    /// What it comes from in the end.
    fn source(&self) -> IpAddr {
        let made = |deed: &Deed| match deed {
            Deed::Source { address } => Some(*address),
            _ => None,
        };
        self.last(made).unwrap_or_else(|| self.way.source())
    }

    /// What was done to the first packet last.
    fn last(&self, done: impl Fn(&Deed) -> Option<IpAddr>) -> Option<IpAddr> {
        let request = self.way.trace().iter().filter(|step| step.leg() == Leg::Request);
        request.filter_map(|step| done(step.what())).next_back()
    }

    /// In what an answer is not the one that was told.
    fn differs(&self, arrival: &str, heard: &Heard) -> Option<String> {
        let mut why = String::new();
        if heard.source != self.way.source() {
            write!(why, "it was sent from {} ", heard.source).unwrap();
        }
        if let Some((name, seen)) = &heard.by {
            if name != arrival {
                write!(why, "{name} answered ").unwrap();
            }
            if *seen != self.source() {
                write!(why, "it arrived from {seen} and not from {}", self.source()).unwrap();
            }
        }
        (!why.is_empty()).then_some(why)
    }
}

/// Whether the remote machine has this address.
fn is_outside(address: IpAddr) -> bool {
    REMOTE_ADDRESSES.contains(&address.to_string().as_str())
}

/// Does something with each of these, all at once.
fn at_once<T: Sync, R: Send>(of: &[T], act: impl Fn(&T) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let acting: Vec<_> = of.iter().map(|each| scope.spawn(|| act(each))).collect();
        acting.into_iter().map(|acting| acting.join().unwrap()).collect()
    })
}

/// The name of the machine that answers there.
fn name(arrival: &Arrival) -> String {
    match arrival {
        Arrival::Host => "host".to_owned(),
        Arrival::Container(name) => name.to_string(),
        Arrival::Link(link) if link.as_str() == "uplink" => "outside".to_owned(),
        other => other.to_string(),
    }
}

/// Runs a script where the calling thread is.
#[track_caller]
fn shell(case: Case, script: &str) {
    let linkspan = path_of_linkspan();
    let folder = linkspan.parent().expect("a file is in a folder").display();
    let path = format!("{folder}:{}", env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-ec", script]).env("PATH", path).env("LINKSPAN_FIREWALL", case.firewall.to_string());
    let ran = run(&mut command);
    assert!(ran.status.success(), "{ran}\n{script}");
}
