//! A section as text.

use std::fmt::Write as _;
use std::time::Duration;

use super::measured::{Operation, Section};

/// The table of a section, with all that was said beside the numbers.
pub(super) fn of(section: &Section) -> String {
    let mut text = format!(
        "{}\n{:<28} {:>7}  {:<26} {:>12} {:>12} {:>9} {:>9}\n",
        section.name, "operation", "present", "who", "median", "p10", "ratio", "ratio p10"
    );
    section.operations.iter().for_each(|operation| rows(&mut text, operation));
    for (who, reason) in &section.absent {
        let _ = writeln!(text, "without {who}: {reason}");
    }
    for fact in &section.facts {
        let _ = writeln!(text, "{fact}");
    }
    text
}

fn rows(text: &mut String, operation: &Operation) {
    let Operation { name, size, .. } = operation;
    for (contestant, summary, [median, p10]) in operation.compared() {
        let (who, times) = (&contestant.name, [summary.median, summary.p10].map(shown));
        let _ = writeln!(
            text,
            "{name:<28} {size:>7}  {who:<26} {:>12} {:>12} {median:>9.2} {p10:>9.2}",
            times[0], times[1]
        );
    }
}

/// A time in the unit that leaves few digits.
pub(super) fn shown(time: Duration) -> String {
    match time.as_nanos() {
        0..1000 => format!("{} ns", time.as_nanos()),
        1000..1_000_000 => format!("{:.1} us", time.as_secs_f64() * 1e6),
        1_000_000..10_000_000_000 => format!("{:.2} ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measured;

    #[test]
    fn everyone_is_compared_with_the_first_of_the_same_operation_and_size() {
        let text = "section\tports\ntimes\tadd\t0\tfloor\t2000\ntimes\tadd\t0\tlinkspan\t5000\nabsent\tcni\tnot installed\n";
        let table = of(&measured::read(text).unwrap());
        let words: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[2], ["add", "0", "floor", "2.0", "us", "2.0", "us", "1.00", "1.00"]);
        assert_eq!(words[3], ["add", "0", "linkspan", "5.0", "us", "5.0", "us", "2.50", "2.50"]);
        assert_eq!(words[4].join(" "), "without cni: not installed");
    }

    #[test]
    fn times_have_the_unit_that_suits_them() {
        let shown = [17, 1_900, 2_500_000, 12_000_000_000].map(|time| shown(Duration::from_nanos(time)));
        assert_eq!(shown, ["17 ns", "1.9 us", "2.50 ms", "12.0 s"]);
    }
}
