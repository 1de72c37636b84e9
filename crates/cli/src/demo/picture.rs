//! Boxes and the lines between them, as text.

/// Where a line leaves or meets a box, counted from its left edge: right of the title.
const JOINT: usize = 16;

/// A machine or a container.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) title: String,
    pub(super) lines: Vec<String>,
}

impl Frame {
    /// How wide it is at least, with its edges and a blank at each.
    fn width(&self) -> usize {
        let lines = self.lines.iter().chain([&self.title]).map(|line| line.chars().count() + 4);
        lines.max().unwrap_or_default().max(JOINT + 4)
    }

    fn draw(&self, width: usize, above: &[usize], below: &[usize]) -> Vec<String> {
        let inner = width - 2;
        let title = format!("─ {} ", self.title);
        let top = joined(&format!("┌{title:─<inner$}┐"), above, '┴');
        let bottom = joined(&format!("└{}┘", "─".repeat(inner)), below, '┬');
        let lines = self.lines.iter().map(|line| format!("│ {line:<0$} │", inner - 2));
        [top].into_iter().chain(lines).chain([bottom]).collect()
    }
}

fn joined(edge: &str, joints: &[usize], mark: char) -> String {
    edge.chars().enumerate().map(|(i, c)| if joints.contains(&i) { mark } else { c }).collect()
}

/// A line that goes down at each of these places.
fn wires(joints: &[usize]) -> String {
    let end = joints.iter().max().map_or(0, |last| last + 1);
    (0..end).map(|i| if joints.contains(&i) { '│' } else { ' ' }).collect()
}

/// A host with a remote machine above it, and containers below, each with the name of its link on the host.
pub(super) fn host(remote: &Frame, host: &Frame, containers: &[(String, Frame)]) -> String {
    let widths: Vec<_> = containers.iter().map(|(_, frame)| frame.width()).collect();
    let starts: Vec<_> = (0..widths.len()).map(|i| widths[..i].iter().map(|width| width + 2).sum()).collect();
    let joints: Vec<_> = starts.iter().map(|start: &usize| start + JOINT).collect();
    let mut host = host.clone();
    host.lines.push(ports(&starts, containers));
    let total = starts.iter().zip(&widths).map(|(start, width)| start + width).max().unwrap_or_default();
    let mut lines = remote.draw(remote.width(), &[], &[JOINT]);
    lines.push(wires(&[JOINT]));
    lines.extend(host.draw(host.width().max(total), &[JOINT], &joints));
    lines.push(wires(&joints));
    let drawn: Vec<_> =
        containers.iter().zip(&widths).map(|((_, f), width)| f.draw(*width, &[JOINT], &[])).collect();
    lines.extend(beside(&drawn, &widths));
    lines.into_iter().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// The names of the links above the lines that they are.
fn ports(starts: &[usize], containers: &[(String, Frame)]) -> String {
    containers.iter().zip(starts).fold(String::new(), |line, ((name, _), start)| {
        // The line ends at the joint; two more are the edge and the blank that come before.
        let room = (start + JOINT + 1).saturating_sub(2).saturating_sub(line.chars().count());
        format!("{line}{name:>room$}")
    })
}

/// Boxes side by side, two blanks apart.
fn beside(drawn: &[Vec<String>], widths: &[usize]) -> Vec<String> {
    let height = drawn.iter().map(Vec::len).max().unwrap_or_default();
    let line = |i: usize| {
        let parts = drawn.iter().zip(widths).map(|(frame, width)| {
            let part = frame.get(i).map_or("", String::as_str);
            format!("{part:width$}")
        });
        parts.collect::<Vec<_>>().join("  ")
    };
    (0..height).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(title: &str, lines: &[&str]) -> Frame {
        Frame { title: title.to_owned(), lines: lines.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn boxes_are_joined_by_lines() {
        let remote = frame("remote", &["uplink 192.0.2.2/24"]);
        let middle = frame("host", &["uplink 192.0.2.1/24", "bridge ls-1 10.88.0.1/24"]);
        let a = ("vethls000000001".to_owned(), frame("web", &["eth0 10.88.0.2/24", "listens on 80"]));
        let b = ("vethls000000002".to_owned(), frame("client", &["eth0 10.88.0.3/24"]));
        let expected = "\
┌─ remote ────────────┐
│ uplink 192.0.2.2/24 │
└───────────────┬─────┘
                │
┌─ host ────────┴──────────────────────────┐
│ uplink 192.0.2.1/24                      │
│ bridge ls-1 10.88.0.1/24                 │
│ vethls000000001        vethls000000002   │
└───────────────┬──────────────────────┬───┘
                │                      │
┌─ web ─────────┴───┐  ┌─ client ──────┴───┐
│ eth0 10.88.0.2/24 │  │ eth0 10.88.0.3/24 │
│ listens on 80     │  └───────────────────┘
└───────────────────┘
";
        let drawn = host(&remote, &middle, &[a, b]);
        assert_eq!(drawn, expected, "\n{drawn}");
    }
}
