//! What the measuring program printed: lines of words with tabs between them (`tests/benches/measure/report.rs`).

use std::fmt;
use std::time::Duration;

use super::statistics::Summary;

/// All that was measured of one subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) operations: Vec<Operation>,
    pub(super) facts: Vec<String>,
    /// Who was not among the contestants, and why.
    pub(super) absent: Vec<(String, String)>,
}

/// The same work at one size of the host, by several contestants; the first is what the others are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) contestants: Vec<Contestant>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contestant {
    pub(super) name: String,
    pub(super) times: Vec<Duration>,
}

/// A line that is not one of the measuring program's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadError(String);

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a line of measurements", self.0)
    }
}

impl std::error::Error for ReadError {}

pub(super) fn read(text: &str) -> Result<Section, ReadError> {
    let mut section = Section::default();
    for line in text.lines().filter(|line| !line.is_empty()) {
        section.read(line).ok_or_else(|| ReadError(line.to_owned()))?;
    }
    Ok(section)
}

impl Operation {
    /// Everyone who took part, with how many times as long as the first it took, at the median and at p10.
    pub(super) fn compared(&self) -> impl Iterator<Item = (&Contestant, Summary, [f64; 2])> {
        let first = self.contestants.iter().find_map(|who| Summary::of(&who.times));
        self.contestants.iter().filter_map(move |who| {
            let summary = Summary::of(&who.times)?;
            Some((who, summary, summary.over(first?)))
        })
    }
}

impl Section {
    /// Whether no smaller size of this operation was measured, or no larger one.
    pub(super) fn is_an_end(&self, operation: &Operation) -> bool {
        let sizes = || self.operations.iter().filter(|o| o.name == operation.name).map(|o| o.size);
        sizes().min() == Some(operation.size) || sizes().max() == Some(operation.size)
    }

    fn read(&mut self, line: &str) -> Option<()> {
        match *line.split('\t').collect::<Vec<_>>() {
            ["section", name] => name.clone_into(&mut self.name),
            ["fact", text] => self.facts.push(text.to_owned()),
            ["absent", who, reason] => self.absent.push((who.to_owned(), reason.to_owned())),
            ["times", operation, size, who, times] => {
                let contestant = Contestant { name: who.to_owned(), times: read_times(times)? };
                self.operation(operation, size.parse().ok()?).contestants.push(contestant);
            }
            _ => return None,
        }
        Some(())
    }

    fn operation(&mut self, name: &str, size: u64) -> &mut Operation {
        let place = self.operations.iter().position(|o| o.name == name && o.size == size);
        let place = place.unwrap_or_else(|| {
            self.operations.push(Operation { name: name.to_owned(), size, contestants: Vec::new() });
            self.operations.len() - 1
        });
        &mut self.operations[place]
    }
}

fn read_times(text: &str) -> Option<Vec<Duration>> {
    text.split(',').map(|time| time.parse().ok().map(Duration::from_nanos)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contestants_of_one_operation_at_one_size_come_together() {
        let text = "section\tports\ntimes\tadd\t0\tfloor\t1,2\ntimes\tadd\t9\tfloor\t3\ntimes\tadd\t0\tlinkspan\t4\n";
        let section = read(text).unwrap();
        let names = |operation: &Operation| {
            operation.contestants.iter().map(|contestant| contestant.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(section.name, "ports");
        assert_eq!(
            section.operations.iter().map(|o| (o.size, names(o))).collect::<Vec<_>>(),
            [(0, vec!["floor".to_owned(), "linkspan".to_owned()]), (9, vec!["floor".to_owned()]),]
        );
        assert_eq!(section.operations[0].contestants[0].times, [1, 2].map(Duration::from_nanos));
    }

    #[test]
    fn everyone_is_compared_with_the_first_who_took_part() {
        let section = read("times\tadd\t0\tfloor\t2,2,2\ntimes\tadd\t0\tlinkspan\t3,5,5\n").unwrap();
        let ratios: Vec<_> = section.operations[0].compared().map(|(_, _, ratios)| ratios).collect();
        assert_eq!(ratios, [[1.0, 1.0], [2.5, 1.5]]);
    }

    #[test]
    fn the_ends_are_the_smallest_size_and_the_largest() {
        let section = read("times\ta\t0\tx\t1\ntimes\ta\t5\tx\t1\ntimes\ta\t9\tx\t1\ntimes\tb\t5\tx\t1\n");
        let section = section.unwrap();
        let ends = section.operations.iter().map(|operation| section.is_an_end(operation));
        assert_eq!(ends.collect::<Vec<_>>(), [true, false, true, true]);
    }

    #[test]
    fn what_is_no_line_of_measurements_is_named() {
        for line in
            ["time\tadd\t0\tfloor\t1", "times\tadd\tmany\tfloor\t1", "times\tadd\t0\tfloor\tsoon", "x"]
        {
            assert_eq!(read(line), Err(ReadError(line.to_owned())));
        }
    }
}
