//! Who reaches whom, as whom, by which way: every cell of one table of promises, asked with packets.
//!
//! `promise` is the table. `place` is a host with a network of every kind, each of them a `quarter`; `cells` are
//! all the questions there, `ask` asks them, `witness` are the servers that answer, and `explained` is what is said
//! of each beforehand.

mod ask;
mod cells;
mod explained;
mod place;
mod promise;
mod quarter;
mod witness;

use crate::private::in_private;
use crate::world::{Case, World, everywhere_by_twos};
use ask::{Answer, By, Question, ask};
use cells::{Cell, Promised};
use linkspan::NetNs;
use place::{Place, Role};
use std::fmt;
use std::sync::Mutex;
use std::thread;
use witness::Witness;

/// How many questions one machine asks at once.
const WAVE: usize = 64;
/// How many machines of a host ask at once.
const ASKERS: usize = 8;

#[test]
fn every_packet_fares_as_promised_and_explained_and_alike_in_every_case() {
    in_private(|| {
        let seen: Mutex<Vec<(Case, Vec<Observed>)>> = Mutex::default();
        let explained: Mutex<Vec<String>> = Mutex::default();
        everywhere_by_twos(|world| {
            let place = Place::new(world);
            let observed = observe(&place);
            let otherwise = explained::otherwise(&place, &observed);
            explained.lock().unwrap().extend(otherwise);
            seen.lock().unwrap().push((world.case, observed));
        });
        let seen = seen.into_inner().unwrap();
        let wrong: Vec<_> = seen.iter().flat_map(|(case, cells)| broken(*case, cells)).collect();
        let unlike: Vec<_> = seen.windows(2).flat_map(|pair| differences(&pair[0], &pair[1])).collect();
        let asked: usize = seen.iter().map(|(_, cells)| cells.len()).sum();
        println!("{asked} cells in {} cases", seen.len());
        let explained = explained.into_inner().unwrap();
        let told: Vec<_> = wrong.into_iter().chain(unlike).chain(explained).collect();
        assert!(told.is_empty(), "{} of {asked} cells:\n{}", told.len(), told.join("\n"));
    });
}

#[test]
fn what_must_not_arrive_is_answered_without_the_rules() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let place = Place::new(&world);
        let cells = place.cells(cells::shut_by_rules);
        world.flush_rules();
        let questions =
            cells.iter().enumerate().map(|(number, (netns, cell))| (*netns, cell.question(number, true)));
        let answers = answers(&questions.collect::<Vec<_>>());
        let unheard = cells.iter().zip(answers).filter(|(_, answer)| *answer == Answer::None);
        let unheard: Vec<_> = unheard.map(|((_, cell), _)| cell.to_string()).collect();
        println!("{} cells", cells.len());
        assert!(unheard.is_empty(), "{} of {}:\n{}", unheard.len(), cells.len(), unheard.join("\n"));
    });
}

/// A cell, and what came of it.
struct Observed {
    cell: Cell,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Nothing,
    /// It arrived, and no answer came back.
    OneWay(Witness),
    Answered(Answer),
}

impl Observed {
    fn is_as_promised(&self) -> bool {
        match (&self.cell.promised, &self.outcome) {
            (Promised::Nothing, Outcome::Nothing) => true,
            (Promised::Answer { .. }, Outcome::Answered(Answer::Echo)) => self.cell.by == By::Ping,
            (Promised::Answer { server, sees }, Outcome::Answered(Answer::From(witness))) => {
                *server == witness.server && sees.contains(&witness.client)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::OneWay(witness) => write!(f, "no answer, although it arrived: {witness}"),
            Self::Answered(Answer::From(witness)) => write!(f, "{witness}"),
            Self::Answered(_) => f.write_str("an echo"),
        }
    }
}

fn broken(case: Case, cells: &[Observed]) -> impl Iterator<Item = String> {
    let wrong = cells.iter().filter(|observed| !observed.is_as_promised());
    wrong.map(move |Observed { cell, outcome }| {
        format!("{case}: {cell}: promised {}, got {outcome}", cell.promised)
    })
}

/// Where two cases differ, be it within what is promised.
fn differences(
    (case, cells): &(Case, Vec<Observed>),
    (other, others): &(Case, Vec<Observed>),
) -> Vec<String> {
    let same = |(one, two): &(&Observed, &Observed)| one.cell == two.cell && one.outcome == two.outcome;
    let unlike = cells.iter().zip(others).filter(|pair| !same(pair));
    let told = unlike
        .map(|(one, two)| format!("{}: {} with {case}, {} with {other}", one.cell, one.outcome, two.outcome));
    let number = (cells.len() != others.len()).then(|| format!("{case} and {other} have not the same cells"));
    told.chain(number).collect()
}

impl Place<'_> {
    /// The cells of everyone, each with where it is asked.
    fn cells(&self, of_role: impl Fn(&Self, Role<'_>) -> Vec<Cell>) -> Vec<(&NetNs, Cell)> {
        let machines = self.machines().into_iter();
        machines.flat_map(|m| of_role(self, m.role).into_iter().map(move |cell| (m.netns, cell))).collect()
    }
}

impl Cell {
    fn question(&self, number: usize, hoped: bool) -> Question {
        Question { number, by: self.by, to: self.to, hoped }
    }
}

/// Asks everything at a place.
fn observe(place: &Place<'_>) -> Vec<Observed> {
    let cells = place.cells(cells::of_role);
    let question = |(number, (netns, cell)): (usize, &(_, Cell))| {
        (*netns, cell.question(number, cell.promised != Promised::Nothing))
    };
    let answers = answers(&cells.iter().enumerate().map(question).collect::<Vec<_>>());
    let outcome = |number: usize, answer| match (answer, place.book.of(number)) {
        (Answer::None, None) => Outcome::Nothing,
        (Answer::None, Some(witness)) => Outcome::OneWay(witness),
        (answer, _) => Outcome::Answered(answer),
    };
    let each = cells.into_iter().zip(answers).enumerate();
    each.map(|(number, ((_, cell), answer))| Observed { cell, outcome: outcome(number, answer) }).collect()
}

/// What was heard, in the order of the questions: each machine asks a wave of them at once.
fn answers(questions: &[(&NetNs, Question)]) -> Vec<Answer> {
    let of_one = questions.chunk_by(|(one, _), (two, _)| one.cookie() == two.cookie());
    let waves = Mutex::new(of_one.flat_map(|of_one| of_one.chunks(WAVE)));
    let heard = Mutex::new(vec![Answer::None; questions.len()]);
    let work = || {
        while let Some(wave) = { waves.lock().unwrap().next() } {
            let questions: Vec<_> = wave.iter().map(|(_, question)| *question).collect();
            let answers = wave[0].0.run(|| ask(&questions)).unwrap();
            let mut heard = heard.lock().unwrap();
            questions.iter().zip(answers).for_each(|(question, answer)| heard[question.number] = answer);
        }
    };
    thread::scope(|scope| (0..ASKERS).for_each(|_| drop(scope.spawn(work))));
    heard.into_inner().unwrap()
}
