//! All sections as one JSON value, times in nanoseconds.

use std::fmt::Write as _;

use super::machine::Machine;
use super::measured::{Operation, Section};
use super::statistics::Summary;

pub(super) fn of(machine: &Machine, sections: &[Section]) -> String {
    let sections = list(sections.iter().map(section));
    format!(r#"{{"machine":{},"sections":{sections}}}"#, text(&machine.to_string()))
}

fn section(section: &Section) -> String {
    let absent = section.absent.iter();
    let absent = absent.map(|(who, why)| format!(r#"{{"name":{},"reason":{}}}"#, text(who), text(why)));
    format!(
        r#"{{"name":{},"operations":{},"facts":{},"absent":{}}}"#,
        text(&section.name),
        list(section.operations.iter().map(operation)),
        list(section.facts.iter().map(|fact| text(fact))),
        list(absent)
    )
}

fn operation(operation: &Operation) -> String {
    let contestants = operation.compared().map(|(contestant, summary, [median, p10])| {
        format!(
            r#"{{"name":{},"rounds":{},{},"ratio":{median:.3},"ratio_p10":{p10:.3}}}"#,
            text(&contestant.name),
            contestant.times.len(),
            times(summary)
        )
    });
    format!(
        r#"{{"name":{},"present":{},"contestants":{}}}"#,
        text(&operation.name),
        operation.size,
        list(contestants)
    )
}

fn times(Summary { median, p10 }: Summary) -> String {
    format!(r#""median_ns":{},"p10_ns":{}"#, median.as_nanos(), p10.as_nanos())
}

fn list(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

/// A string with what JSON cannot have in one escaped (RFC 8259, section 7).
fn text(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => _ = write!(quoted, "\\u{:04x}", u32::from(control)),
            other => quoted.push(other),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measured;

    #[test]
    fn a_section_is_one_value() {
        let lines =
            "section\tleases\ntimes\ttake\t7\tfloor\t10,30,20\nfact\tit is \"so\"\nabsent\tcni\tnot here\n";
        assert_eq!(
            section(&measured::read(lines).unwrap()),
            r#"{"name":"leases","operations":[{"name":"take","present":7,"contestants":[{"name":"floor","rounds":3,"median_ns":20,"p10_ns":10,"ratio":1.000,"ratio_p10":1.000}]}],"facts":["it is \"so\""],"absent":[{"name":"cni","reason":"not here"}]}"#
        );
    }

    #[test]
    fn what_a_string_cannot_hold_is_escaped() {
        assert_eq!(text("a\\b\u{1}"), r#""a\\b\u0001""#);
    }
}
