//! Many who do at random what they like, on the same few networks, names, namespaces and ports.

use super::book::{Book, Certain, belongings};
use super::deed::{Deed, Kept, NAMESPACES, networks, path};
use super::doer::{Doer, Outcome, PATIENCE};
use super::place::Place;
use crate::dice::Dice;
use crate::program::run_within;
use crate::snapshot::Snapshot;
use crate::world::{Family, World};
use linkspan::{AttachmentId, NetNs, Reservation};
use std::collections::BTreeMap;
use std::process::exit;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// How many work at the same time.
const WORKERS: usize = 16;

/// How long nobody may come to the end of anything: longer than one command may take.
const STANDSTILL: Duration = Duration::from_secs(900);

/// How `gc` tells of containers that are gone, of which it detaches those who were killed while they were attached.
const DEAD: &str = "detach `";
/// How `gc` tells that there was nothing.
const NOTHING: &str = "nothing to remove";

/// How those are counted who were killed at work.
const KILLED: &str = "killed";

/// How often one is asked who is there: who was taken away in the middle of a question never answers it.
const ATTEMPTS: usize = 15;

/// Some of those who are refused, and why that is as it should be.
const REFUSALS: [&str; 11] = [
    "is taken by",
    "is kept for",
    "is published by",
    "attached already",
    "there is no network",
    "there is no container",
    "is in use by",
    "` keeps ",
    "is given twice",
    // Between the end of one and the next at its path.
    "cannot open network namespace",
    "is not a network namespace",
];

/// Whether somebody may be refused for this reason.
fn is_as_it_should_be(why: &str) -> bool {
    REFUSALS.iter().any(|refusal| why.contains(refusal)) || says_that_a_network_exists(why)
}

/// In the words of linkspan; the kernel's `File exists` is none of them.
fn says_that_a_network_exists(why: &str) -> bool {
    let named = why.split_once("network `net-").map(|(_, named)| named);
    named.is_some_and(|named| named.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with("` exists"))
}

/// Some workers on one host.
pub(super) struct Crowd<'a> {
    world: &'a World,
    doers: Vec<Doer<'a>>,
    book: Book,
    places: Vec<Mutex<Place>>,
    wrong: Mutex<Vec<String>>,
    tally: Mutex<BTreeMap<&'static str, usize>>,
}

/// Lets sixteen workers do so many things each, and looks at what came of it. They take turns with the doers. It
/// returns how many were killed at work.
pub(super) fn crowd<'a>(world: &'a World, doers: Vec<Doer<'a>>, deeds: usize, seed: u64) -> usize {
    println!("{WORKERS} times {deeds} deeds with {}, seed {seed}", world.case);
    // The first pin makes the folder that it is in a mount, which stays.
    drop(Place::make(0));
    NetNs::unpin(path(0)).unwrap();
    let before = Snapshot::take();
    let places = (0..NAMESPACES).map(|number| Mutex::new(Place::make(number))).collect();
    let crowd = Crowd {
        world,
        doers,
        book: Book::default(),
        places,
        wrong: Mutex::default(),
        tally: Mutex::default(),
    };
    thread::scope(|scope| {
        let start = |worker: usize| {
            let crowd = &crowd;
            let dice = Dice::new(seed.wrapping_mul(1000).wrapping_add(u64::try_from(worker).unwrap()));
            scope.spawn(move || crowd.work(&crowd.doers[worker % crowd.doers.len()], dice, deeds))
        };
        let workers: Vec<_> = (0..WORKERS).map(start).collect();
        crowd.watch(seed, || workers.iter().all(ScopedJoinHandle::is_finished));
    });
    let wrong = crowd.wrong.lock().unwrap_or_else(PoisonError::into_inner).join("\n");
    assert!(wrong.is_empty(), "seed {seed}:\n{wrong}");
    crowd.settle();
    let killed = crowd.tally().get(KILLED).copied().unwrap_or_default();
    crowd.leave();
    before.assert_unchanged(&format!("everybody left, seed {seed}"));
    killed
}

impl Crowd<'_> {
    /// Waits for all; where nobody comes to an end of anything for so long, those who work in this process can be neither
    /// told nor killed, and it ends with them.
    fn watch(&self, seed: u64, all_have_ended: impl Fn() -> bool) {
        let (mut done, mut until) = (0, Instant::now() + STANDSTILL);
        while !all_have_ended() {
            thread::sleep(Duration::from_millis(20));
            let ended = self.tally().values().sum::<usize>();
            if ended > done {
                (done, until) = (ended, Instant::now() + STANDSTILL);
            }
            if Instant::now() > until {
                println!("seed {seed}: after {done} deeds all stand still: {:?}", self.book.under_way());
                exit(101);
            }
        }
    }

    fn work(&self, doer: &Doer<'_>, mut dice: Dice, deeds: usize) {
        for _ in 0..deeds {
            let there = self.book.certain();
            let names: Vec<_> = there.iter().map(|certain| certain.attachment.name().to_string()).collect();
            let deed = Deed::draw(&mut dice, &names, &self.book.kept());
            if let Err(wrong) = self.perform(doer, &mut dice, &deed) {
                self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(wrong);
                return;
            }
        }
    }

    fn perform(&self, doer: &Doer<'_>, dice: &mut Dice, deed: &Deed) -> Result<(), String> {
        let begun = self.book.begin(deed);
        let outcome = match deed {
            Deed::Ask => self.ask_somebody(dice).map(|()| Outcome::Done(None)),
            Deed::Vanish { netns } => {
                self.places[*netns].lock().unwrap_or_else(PoisonError::into_inner).replace();
                Ok(Outcome::Done(None))
            }
            _ => doer.perform(dice, deed),
        };
        self.count(&outcome);
        let judged = outcome.and_then(|outcome| match (outcome, deed) {
            (Outcome::Done(Some(id)), Deed::Attach(wish)) => match self.world.host.attachment(id) {
                Ok(Some(attachment)) => self.book.enter(begun, attachment, wish),
                Ok(None) => self.book.miss(begun, wish),
                Err(error) => Err(format!("{deed:?}: {error:?}")),
            },
            (Outcome::Done(_), Deed::Keep { name }) => {
                self.book.keep(begun, self.kept().filter(|kept| kept.name == *name).collect())
            }
            (Outcome::Done(_), Deed::Remove { network }) => self.book.was_unused(begun, network),
            (Outcome::Refused(why), _) if !is_as_it_should_be(&why) => {
                Err(format!("{deed:?} is refused: {why}"))
            }
            _ => Ok(()),
        });
        self.book.end(begun);
        judged
    }

    fn count(&self, outcome: &Result<Outcome, String>) {
        let what = match outcome {
            Ok(Outcome::Done(Some(_))) => "attached",
            Ok(Outcome::Done(None)) => "done",
            Ok(Outcome::Refused(_)) => "refused",
            Ok(Outcome::Killed) => KILLED,
            Ok(Outcome::Spared) => "spared",
            Err(_) => "wrong",
        };
        *self.tally().entry(what).or_default() += 1;
    }

    fn tally(&self) -> MutexGuard<'_, BTreeMap<&'static str, usize>> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every address that is kept on record at this moment.
    fn kept(&self) -> impl Iterator<Item = Kept> {
        networks().flat_map(|network| {
            // Of a network that is not there, nothing is kept.
            let kept = self.world.host.reservations(&network.parse().unwrap()).unwrap_or_default();
            let of = |it: Reservation| Kept {
                network: network.clone(),
                address: it.address(),
                name: it.container().to_string(),
            };
            kept.into_iter().map(of).collect::<Vec<_>>()
        })
    }

    fn ask_somebody(&self, dice: &mut Dice) -> Result<(), String> {
        let there = self.book.certain();
        match there.is_empty() {
            true => Ok(()),
            false => self.ask(&there[dice.below(there.len())]),
        }
    }

    /// One who is there is on record as he was told, and the server behind his ports is his own, unless somebody
    /// took him away meanwhile.
    fn ask(&self, certain: &Certain) -> Result<(), String> {
        let mut last = Ok(());
        for _ in 0..ATTEMPTS {
            last = self.answers(certain);
            if last.is_ok() || !self.book.stands(certain) {
                return Ok(());
            }
        }
        last.map_err(|wrong| format!("{wrong}: {certain:?}"))
    }

    fn answers(&self, certain: &Certain) -> Result<(), String> {
        let expected = &certain.attachment;
        let on_record = self.world.host.attachment(expected.id()).map_err(|error| format!("{error:?}"))?;
        if on_record.as_ref() != Some(expected) {
            return Err(format!("on record is {on_record:?}"));
        }
        for host in expected.published().iter().filter_map(|published| published.host()) {
            let at = (self.world.host_address(Family::V4), host.port().get()).into();
            let answer = self.world.remote().run(|| Place::ask(at)).unwrap();
            let answer = answer.map_err(|error| format!("{at} does not answer: {error}"))?;
            if answer != expected.namespace().cookie().to_string() {
                return Err(format!("{at} is answered by namespace {answer}"));
            }
        }
        Ok(())
    }

    /// When all have come to rest, nobody has what another has, and who is certain to be there is, whole.
    fn settle(&self) {
        self.said("ps");
        let mut owners = BTreeMap::new();
        for attachment in self.world.host.attachments().unwrap() {
            for thing in belongings(&attachment) {
                let other = owners.insert(thing.clone(), attachment.name().clone());
                assert!(other.is_none(), "{thing} is had by {other:?} and {}", attachment.name());
            }
        }
        let certain = self.book.certain();
        let (kept, on_record) = (self.book.kept(), self.kept().collect::<Vec<_>>());
        println!(
            "{:?}; {} are there and {} addresses kept for certain",
            self.tally(),
            certain.len(),
            kept.len()
        );
        let lost: Vec<_> = kept.iter().filter(|kept| !on_record.contains(kept)).collect();
        assert!(lost.is_empty(), "kept no more: {lost:?}");
        certain.iter().for_each(|certain| self.ask(certain).unwrap());
        // The dead go; but nobody was ended without what was his.
        let gone = self.said("gc");
        let is_lost = |line: &&str| !line.starts_with(DEAD) && *line != NOTHING;
        let lost: Vec<_> = gone.lines().filter(is_lost).collect();
        assert!(lost.is_empty(), "{gone}");
        assert_eq!(self.said("reconcile"), "the host is as the records say\n");
        certain.iter().for_each(|certain| self.ask(certain).unwrap());
    }

    /// What a command prints when all others have come to rest.
    fn said(&self, line: &str) -> String {
        run_within(&mut self.world.command(line), PATIENCE).ok()
    }

    fn leave(self) {
        for attachment in self.world.host.attachments().unwrap() {
            self.said(&format!("detach {}", attachment.id()));
        }
        for network in self.world.host.networks().unwrap() {
            self.said(&format!("network rm --force {}", network.name()));
        }
        assert_eq!(self.said("gc"), format!("{NOTHING}\n"));
        (0..NAMESPACES).for_each(|number| NetNs::unpin(path(number)).unwrap());
    }
}

/// The id that an attach printed.
pub(super) fn id(printed: &str) -> Option<AttachmentId> {
    printed.trim().parse().ok()
}
