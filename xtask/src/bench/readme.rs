//! The table in the README, and where it stands.

use std::fmt::Write as _;

use super::machine::Machine;
use super::measured::{Operation, Section};
use super::statistics::Summary;
use super::table::shown;

/// The picture that the table goes with, seen from the README.
pub(super) const PICTURE: &str = "tests/benches/cost.svg";
const BEGIN: &str = "<!-- cargo xtask bench --readme writes from here -->\n";
const END: &str = "<!-- to here -->\n";

/// The page with this text in the place that is marked for it; `None` where it has no such place.
pub(super) fn with(page: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{text}{END}{after}"))
}

/// Of each operation the smallest size and the largest.
pub(super) fn table(machine: &Machine, sections: &[Section]) -> String {
    let mut text = format!(
        "{machine}; medians, and in brackets what a tenth of the rounds kept to.\n\n\
         | operation | present | floor | linkspan | ratio | others |\n|---|---|---|---|---|---|\n"
    );
    for section in sections {
        let ends = section.operations.iter().filter(|operation| section.is_an_end(operation));
        for row in ends.filter_map(row) {
            text.push_str(&row);
        }
    }
    let _ = write!(text, "\n![cost against size]({PICTURE})\n");
    text
}

/// The floor and linkspan are contestants whose names begin so; of several it is the last of linkspan's, which has
/// the most to do.
fn row(operation: &Operation) -> Option<String> {
    let named = |name: &'static str| {
        move |(who, _): &(&str, Summary)| who.split(',').next().is_some_and(|first| first == name)
    };
    let all: Vec<_> = operation.compared().map(|(who, summary, _)| (who.name.as_str(), summary)).collect();
    let (_, floor) = all.iter().copied().find(named("floor"))?;
    let (_, linkspan) = all.iter().copied().rev().find(named("linkspan"))?;
    let others = all.iter().filter(|who| !named("floor")(who) && !named("linkspan")(who));
    let others: Vec<_> =
        others.map(|(who, summary)| format!("{} {}", name(who), shown(summary.median))).collect();
    let [median, p10] = linkspan.over(floor);
    let Operation { name, size, .. } = operation;
    let (floor, linkspan, others) = (both(floor), both(linkspan), others.join(", "));
    Some(format!("| {name} | {size} | {floor} | {linkspan} | {median:.2} ({p10:.2}) | {others} |\n"))
}

/// A contestant without the remark behind its name.
fn name(who: &str) -> &str {
    who.split_once(',').map_or(who, |(name, _)| name)
}

fn both(Summary { median, p10 }: Summary) -> String {
    format!("{} ({})", shown(median), shown(p10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measured;

    #[test]
    fn the_table_stands_between_its_marks() {
        let page = format!("# Title\n{BEGIN}old\n{END}rest\n");
        assert_eq!(with(&page, "new\n").unwrap(), format!("# Title\n{BEGIN}new\n{END}rest\n"));
        assert_eq!(with("# Title\n", "new\n"), None);
    }

    #[test]
    fn linkspan_is_compared_with_the_floor_whoever_came_first() {
        let lines = "times\tconnect\t9\tlinkspan, the only port\t7000\ntimes\tconnect\t9\tlinkspan, the last\t3000\n\
                     times\tconnect\t9\tfloor, the last\t2000\ntimes\tconnect\t9\tiptables, the last\t9000\n";
        let section = measured::read(lines).unwrap();
        let wanted = "| connect | 9 | 2.0 us (2.0 us) | 3.0 us (3.0 us) | 1.50 (1.50) | iptables 9.0 us |\n";
        assert_eq!(row(&section.operations[0]).as_deref(), Some(wanted));
    }
}
