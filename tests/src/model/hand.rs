//! A host on which steps are taken, and compared with paper after each.

use super::between::between;
use super::facts;
use super::others::{Others, THEIRS};
use super::paper::{Paper, Verdict};
use super::seen::{Seen, look};
use super::step::{At, Deed, Harm, Net, Step, Who};
use super::ways;
use crate::program::{Ran, tool};
use crate::snapshot::Snapshot;
use crate::strace::{Effect, Fault, broken};
use crate::world::World;

/// A host, and what it should be.
#[derive(Debug)]
pub(super) struct Hand {
    world: World,
    paper: Paper,
    seen: Seen,
    others: Others,
    before: Snapshot,
    /// How many packets were sent.
    asked: usize,
}

impl Hand {
    /// Moves the calling thread to such a host, where others have made what is like ours.
    pub(super) fn on(paper: &Paper) -> Self {
        let world = World::new(paper.case);
        let others = Others::arrive(&world);
        // What iptables and forwarding leave for ever is there from the beginning.
        world.linkspan(&format!("network create n2 {}", Net::N2.options())).ok();
        world.linkspan("network rm n2").ok();
        let before = Snapshot::take();
        let mut hand = Self { world, paper: paper.clone(), seen: Seen::default(), others, before, asked: 0 };
        hand.seen = hand.look();
        hand
    }

    /// Takes a step, where the model knows what comes of it, and compares.
    pub(super) fn take(&mut self, step: Step) {
        if self.paper.knows(step) {
            match step {
                Step::Do(deed) => self.tell(step, deed),
                Step::Kill(deed, at) => self.kill(step, deed, at),
                Step::Break(harm) => self.harm(step, harm),
            }
            self.ask(step);
        }
    }

    /// The command is told, says what it should, and does it.
    fn tell(&mut self, step: Step, deed: Deed) {
        let (line, before) = (self.line(deed), self.paper.clone());
        let ran = self.world.linkspan(&line);
        let verdict = self.paper.tell(deed);
        let said = match &verdict {
            Verdict::Done => ran.code() == Some(0) && says_the_truth(&before, &self.seen, deed, &ran),
            Verdict::Refused(why) => ran.code() == Some(1) && ran.err.contains(why),
            Verdict::Left(what) => ran.code() == Some(3) && ran.err.contains(what),
        };
        assert!(said, "{step:?}: {verdict:?} was expected, not {ran}\non {before:?}");
        let seen = self.look();
        self.is_as_expected(step, seen);
    }

    /// The command is killed, and the next one finds a host that is as before or as after.
    fn kill(&mut self, step: Step, deed: Deed, At(call, nth): At) {
        let line = self.line(deed);
        let mut after = self.paper.clone();
        after.tell(deed);
        let fault = Fault { call, effect: Effect::Killed, nth, lasting: false };
        let all = match broken(&self.world, fault, &line) {
            Some(_) => between(&self.paper, &after),
            None => vec![after],
        };
        self.world.linkspan("ps").ok();
        let seen = self.look();
        let wrong = |paper: &Paper| facts::of(paper).differences(&seen.facts);
        let Some(paper) = all.iter().find(|paper| wrong(paper).is_empty()).cloned() else {
            let (done, not) = (wrong(&all[0]).join("\n  "), wrong(&self.paper).join("\n  "));
            panic!("{step:?}: neither done\n  {done}\nnor not\n  {not}\non {:?}", self.paper);
        };
        self.paper = paper;
        self.is_as_expected(step, seen);
    }

    fn harm(&mut self, step: Step, harm: Harm) {
        let before = self.paper.clone();
        self.others.harm(harm, &self.world, &self.paper, &self.seen);
        self.paper.suffer(harm);
        let seen = self.look();
        let stayed = self.paper.hurt.difference(&before.hurt).find(|fact| seen.facts.contains(*fact));
        assert_eq!(stayed, None, "{step:?} did nothing");
        self.is_as_expected(step, seen);
    }

    fn is_as_expected(&mut self, step: Step, seen: Seen) {
        let wrong = facts::of(&self.paper).differences(&seen.facts);
        assert!(wrong.is_empty(), "after {step:?}\n  {}\non {:?}", wrong.join("\n  "), self.paper);
        for (link, was) in self.seen.theirs.iter().filter(|(link, _)| self.others.have(link)) {
            assert_eq!(seen.theirs.get(link), Some(was), "{link} of others, after {step:?}");
        }
        self.seen = seen;
    }

    /// A packet that has to pass does, and one that has to be stopped is.
    fn ask(&mut self, step: Step) {
        if !self.paper.is_sound() {
            return;
        }
        let (passing, stopped) = ways::of(&self.paper, &self.world);
        for (ways, passes) in [(passing, true), (stopped, false)] {
            if let Some(way) = ways.get(self.asked % ways.len().max(1)) {
                let came = way.comes_through(&self.world, |who| self.others.namespace_of(who), passes);
                assert_eq!(came, passes, "after {step:?}: whether {way:?} passes, on {:?}", self.paper);
            }
        }
        self.asked += 1;
    }

    fn look(&self) -> Seen {
        let namespace = |who| Some((who, self.others.namespace_of(who)?));
        let inside: Vec<_> = Who::ALL.into_iter().filter_map(namespace).collect();
        look(&self.world, &inside, |link| self.others.have(link))
    }

    /// What one types.
    fn line(&mut self, deed: Deed) -> String {
        match deed {
            Deed::Create(net) => format!("network create {net} {}", net.options()),
            Deed::Remove(net) => format!("network rm {net}"),
            Deed::Force(net) => format!("network rm --force {net}"),
            Deed::Attach(who, on, doors) => {
                let networks = on.list().into_iter().map(|net| format!("--network {net}"));
                let doors = doors.list().iter().map(|door| door.option());
                let options: Vec<_> = networks.chain(doors).collect();
                format!("attach {who} {} {}", self.others.place(who, &self.world), options.join(" "))
            }
            Deed::Detach(who) => format!("detach {who}"),
            Deed::DetachBoth(one, other) => format!("detach {one} {other}"),
            Deed::DetachAll => format!("detach {}", Who::ALL.map(|who| who.to_string()).join(" ")),
            Deed::Keep(who) => format!("detach --keep-address {who}"),
            Deed::Release(net, number) => format!("network release {net} {}", net.addresses(number)[0].0),
            Deed::Gc => "gc".to_owned(),
            Deed::Reconcile => "reconcile".to_owned(),
        }
    }

    /// Takes everything away by the command, and finds the host as it was at first.
    pub(super) fn leave(mut self) {
        self.others.leave();
        for line in ["reconcile", "gc", "detach p0 p1 p2 p3", "network rm --force bridge n1 n2 n3"] {
            self.world.linkspan(line).ok();
        }
        assert_eq!(self.world.linkspan("gc").ok(), "nothing to remove\n");
        Who::ALL.into_iter().for_each(|who| self.others.end(who, &self.seen));
        self.before.assert_unchanged("everything was taken away");
        THEIRS.iter().for_each(|link| _ = tool(&format!("ip link show dev {link}")));
    }
}

/// Whether `gc` and `reconcile` say that there is nothing to do just where there is nothing.
fn says_the_truth(before: &Paper, seen: &Seen, deed: Deed, ran: &Ran) -> bool {
    let nothing = match deed {
        Deed::Gc => "nothing to remove\n",
        Deed::Reconcile => "the host is as the records say\n",
        _ => return true,
    };
    let gone = !before.containers.values().all(|there| there.alive);
    let missing = !facts::whole(before).is_subset(&seen.facts);
    let files = before.lost_claims || !before.lost_leases.is_empty();
    let to_do = if deed == Deed::Gc { gone } else { missing || files };
    // What is left of an orphan can be anything, and what others took from iptables comes back with any change.
    let unsure = !before.orphans.is_empty() || (deed == Deed::Gc && !before.hurt.is_empty());
    unsure || to_do == (ran.out != nothing)
}
