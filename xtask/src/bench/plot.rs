//! Cost against size, as a picture (SVG 1.1). Both axes are logarithmic.

use std::fmt::Write as _;
use std::time::Duration;

use super::measured::Section;
use super::statistics::Summary;
use super::table::shown;

/// What is drawn, and what the size of the host is of.
const PANELS: [(&str, &str); 3] = [
    ("attach the next", "containers present"),
    ("add one port", "ports published"),
    ("connect", "ports published"),
];
/// The measures of a panel and of the room around its axes.
const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 56.0;
const BELOW: f64 = 64.0;
const ABOVE: f64 = 28.0;
const RIGHT: f64 = 12.0;
/// Colours that also those tell apart who see few (Okabe and Ito).
const COLOURS: [&str; 5] = ["#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7"];

/// The medians of one contestant, by size.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    name: String,
    points: Vec<(u64, Duration)>,
}

/// A picture of those panels that were measured.
pub(super) fn of(sections: &[Section]) -> String {
    let lines = |name| sections.iter().map(|section| lines(section, name)).find(|lines| !lines.is_empty());
    let panels: Vec<_> = PANELS.iter().filter_map(|(name, of)| Some((*name, *of, lines(name)?))).collect();
    let width = WIDTH * f64::from(u8::try_from(panels.len()).unwrap_or(u8::MAX));
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"10\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (place, (name, of, lines)) in (0u8..).zip(&panels) {
        let _ = writeln!(picture, "<g transform=\"translate({},0)\">", WIDTH * f64::from(place));
        panel(&mut picture, &format!("{name}, by {of}"), lines);
        picture.push_str("</g>\n");
    }
    picture + "</svg>\n"
}

fn lines(section: &Section, operation: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for operation in section.operations.iter().filter(|o| o.name == operation) {
        for contestant in &operation.contestants {
            let Some(Summary { median, .. }) = Summary::of(&contestant.times) else { continue };
            let point = (operation.size, median);
            match lines.iter_mut().find(|line| line.name == contestant.name) {
                Some(line) => line.points.push(point),
                None => lines.push(Line { name: contestant.name.clone(), points: vec![point] }),
            }
        }
    }
    lines
}

/// Where a size and a time are on a panel.
struct Scale {
    sizes: (f64, f64),
    times: (f64, f64),
}

impl Scale {
    fn of(lines: &[Line]) -> Self {
        let points = || lines.iter().flat_map(|line| &line.points);
        let range = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
        };
        let (low, high) = range(&mut points().map(|(_, time)| decade(*time)));
        Self { sizes: range(&mut points().map(|(size, _)| place(*size))), times: (low.floor(), high.ceil()) }
    }

    fn x(&self, size: u64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * share(place(size), self.sizes)
    }

    fn y(&self, decade: f64) -> f64 {
        HEIGHT - BELOW - (HEIGHT - BELOW - ABOVE) * share(decade, self.times)
    }
}

/// How far a value is from the first to the second.
fn share(value: f64, (low, high): (f64, f64)) -> f64 {
    if high > low { (value - low) / (high - low) } else { 0.5 }
}

/// Nothing has a place on the axis too, beside one.
fn place(size: u64) -> f64 {
    (f64::from(u32::try_from(size).unwrap_or(u32::MAX)) + 1.0).log10()
}

fn decade(time: Duration) -> f64 {
    time.max(Duration::from_nanos(1)).as_secs_f64().log10()
}

fn panel(picture: &mut String, title: &str, lines: &[Line]) {
    let scale = Scale::of(lines);
    let _ = writeln!(picture, "<text x=\"{LEFT}\" y=\"16\" font-weight=\"bold\">{title}</text>");
    axes(picture, &scale, lines);
    for (place, line) in (0u8..).zip(lines) {
        let colour = COLOURS[usize::from(place) % COLOURS.len()];
        let point =
            |(size, time): &(u64, Duration)| format!("{:.1},{:.1}", scale.x(*size), scale.y(decade(*time)));
        let points: Vec<_> = line.points.iter().map(point).collect();
        let points = points.join(" ");
        let _ = writeln!(
            picture,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{points}\"/>"
        );
        legend(picture, place, colour, &line.name);
    }
}

/// Two names stand beside one another below the axis.
fn legend(picture: &mut String, place: u8, colour: &str, name: &str) {
    let x = LEFT + f64::from(place % 2) * (WIDTH - LEFT) / 2.0;
    let y = HEIGHT - BELOW + 30.0 + f64::from(place / 2) * 12.0;
    let _ = writeln!(picture, "<text x=\"{x}\" y=\"{y}\" fill=\"{colour}\">{name}</text>");
}

/// A line for each power of ten of the time, and a number at each size.
fn axes(picture: &mut String, scale: &Scale, lines: &[Line]) {
    let (from, to) = (LEFT, WIDTH - RIGHT);
    let mut decade = scale.times.0;
    while decade <= scale.times.1 {
        let (y, time) = (scale.y(decade), shown(Duration::from_secs_f64(10f64.powf(decade))));
        let _ = writeln!(
            picture,
            "<path d=\"M{from} {y:.1}H{to}\" stroke=\"#ccc\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{time}</text>",
            from - 4.0,
            y + 3.0
        );
        decade += 1.0;
    }
    let sizes: std::collections::BTreeSet<_> =
        lines.iter().flat_map(|l| &l.points).map(|(size, _)| size).collect();
    for size in sizes {
        let (x, y) = (scale.x(*size), HEIGHT - BELOW + 14.0);
        let _ = writeln!(picture, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{size}</text>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measured;

    #[test]
    fn what_costs_more_is_drawn_higher_and_what_is_larger_further_to_the_right() {
        let text = "times\tconnect\t0\tfloor\t1000\ntimes\tconnect\t999\tfloor\t90000\n";
        let lines = lines(&measured::read(text).unwrap(), "connect");
        let scale = Scale::of(&lines);
        assert!(scale.x(0) < scale.x(999) && scale.x(999) <= WIDTH - RIGHT);
        assert!(scale.y(decade(Duration::from_nanos(1000))) > scale.y(decade(Duration::from_nanos(90_000))));
    }

    #[test]
    fn each_contestant_of_what_was_measured_is_a_line() {
        let text = "times\tconnect\t1\tfloor\t1000\ntimes\tconnect\t1\tlinkspan\t1000\n";
        let picture = of(&[measured::read(text).unwrap()]);
        assert_eq!((picture.matches("<polyline").count(), picture.matches("<g ").count()), (2, 1));
        assert!(picture.ends_with("</svg>\n"));
    }
}
