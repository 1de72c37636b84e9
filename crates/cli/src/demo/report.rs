//! What the demo tells: the picture, the requests, the rules, the times, and what is left.

use super::picture::{self, Frame};
use super::{PORT, PUBLISHED};
use crate::output::sockets;
use linkspan::{AttachedEndpoint, Attachment, DefinedNetwork, Published};
use serde::{Serialize, Serializer};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) remote: Peer,
    pub(super) host: Peer,
    pub(super) network: DefinedNetwork,
    pub(super) web: Attachment,
    pub(super) client: Attachment,
    pub(super) asked: Vec<Asked>,
    pub(super) rules: String,
    pub(super) timed: Vec<Timed>,
    /// Whether forwarding was switched on, which stays.
    pub(super) forwarding: bool,
    /// What the host has more (`+`) or less (`-`) than before.
    pub(super) changes: Vec<String>,
}

/// A machine at one end of the cable.
#[derive(Debug, Serialize)]
pub(super) struct Peer {
    addresses: [IpAddr; 2],
    /// The addresses with their prefixes.
    #[serde(skip)]
    shown: [&'static str; 2],
}

impl Peer {
    pub(super) const fn new(addresses: [IpAddr; 2], shown: [&'static str; 2]) -> Self {
        Self { addresses, shown }
    }
}

/// A request, and what came of it.
#[derive(Debug, Serialize)]
pub(super) struct Asked {
    from: &'static str,
    to: SocketAddr,
    about: &'static str,
    /// The client's address that the server should see.
    expected: IpAddr,
    /// The one that it saw.
    seen: Option<IpAddr>,
    error: Option<String>,
    #[serde(serialize_with = "microseconds", rename = "microseconds")]
    took: Duration,
}

impl Asked {
    pub(super) fn new(
        from: &'static str,
        to: SocketAddr,
        about: &'static str,
        expected: IpAddr,
        answer: io::Result<IpAddr>,
        took: Duration,
    ) -> Self {
        let (seen, error) =
            answer.map_or_else(|error| (None, Some(error.to_string())), |seen| (Some(seen), None));
        Self { from, to, about, expected, seen, error, took }
    }

    pub(super) fn is_right(&self) -> bool {
        self.seen == Some(self.expected)
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.is_right() { '✓' } else { '✗' };
        write!(f, "{mark} {:6} → http://{:25}", self.from, self.to)?;
        match (&self.seen, &self.error) {
            (Some(seen), _) => write!(f, " saw {seen:13}")?,
            (None, error) => write!(f, " {:17}", error.as_deref().unwrap_or_default())?,
        }
        if !self.is_right() {
            write!(f, " (should have seen {})", self.expected)?;
        }
        write!(f, "  {}", self.about)
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Timed {
    pub(super) what: String,
    #[serde(serialize_with = "microseconds", rename = "microseconds")]
    pub(super) took: Duration,
}

fn microseconds<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "A host, two containers and a remote machine, in private namespaces. The host's rules:\n"
        )?;
        self.rules
            .lines()
            .try_for_each(|line| writeln!(f, "{}", format!("  {}", line.replace('\t', "  ")).trim_end()))?;
        writeln!(f, "\nThe links and addresses:\n\n{}", self.picture())?;
        writeln!(f, "Requests, and the client's address that the server saw:\n")?;
        self.asked.iter().try_for_each(|asked| writeln!(f, "  {asked}"))?;
        writeln!(f, "\nHow long it took:\n")?;
        self.timed.iter().try_for_each(|timed| {
            writeln!(f, "  {:20} {:8.2} ms", timed.what, 1e3 * timed.took.as_secs_f64())
        })?;
        self.end(f)
    }
}

impl Report {
    fn picture(&self) -> String {
        let remote = Frame { title: "remote".to_owned(), lines: column("uplink", &self.remote.shown) };
        let mut lines = column("uplink", &self.host.shown);
        lines.extend(self.web.published().iter().flat_map(leads));
        lines.push(String::new());
        let gateways: Vec<_> = self.network.gateways().map(|gateway| gateway.to_string()).collect();
        lines.extend(column(&format!("bridge {}", self.network.link()), &gateways));
        let host = Frame { title: "host".to_owned(), lines };
        let below = [(&self.web, format!("listens at port {PORT}")), (&self.client, "asks".to_owned())];
        let below: Vec<_> =
            below.into_iter().filter_map(|(attachment, does)| container(attachment, does)).collect();
        picture::host(&remote, &host, &below)
    }

    fn end(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            writeln!(
                f,
                "\nEverything is removed: links, addresses, routes and rules are what they were before."
            )?;
        } else {
            writeln!(f, "\nThe host differs from what it was:\n")?;
            self.changes.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        }
        if self.forwarding {
            writeln!(f, "Forwarding was switched on for the network, and stays on.")?;
        }
        writeln!(f, "\nOn your own machine, as root: linkspan run -p {PUBLISHED}:{PORT} -- COMMAND")
    }
}

/// Where a published port is answered, and where it leads.
fn leads(published: &Published) -> Vec<String> {
    let to = published.to().iter().map(|to| SocketAddr::new(*to, published.port().get()));
    sockets(published).iter().zip(to).map(|(at, to)| format!("{at} → {to}")).collect()
}

/// A container in the picture, with the name of its link on the host.
fn container(attachment: &Attachment, does: String) -> Option<(String, Frame)> {
    let endpoint: &AttachedEndpoint = attachment.endpoints().first()?;
    let addresses: Vec<_> = endpoint.addresses().iter().map(ToString::to_string).collect();
    let mut lines = column(endpoint.link().as_str(), &addresses);
    lines.extend([format!("     {}", endpoint.mac()), does]);
    Some((endpoint.host_link().to_string(), Frame { title: attachment.name().to_string(), lines }))
}

/// A word, and values under each other behind it.
fn column(word: &str, values: &[impl AsRef<str>]) -> Vec<String> {
    let blank = " ".repeat(word.len());
    let words = [word].into_iter().chain(std::iter::repeat(blank.as_str()));
    words.zip(values).map(|(word, value)| format!("{word} {}", value.as_ref())).collect()
}
