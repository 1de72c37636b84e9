//! How answers look: Docker's tables and words, or JSON.

use crate::fault::Fault;
use ipnet::IpNet;
use linkspan::{AttachedEndpoint, Attachment, DefinedNetwork, NetworkName, Published, Subnet};
use serde::Serialize;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where answers go, and in which form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// The answer of a command that looks.
    pub(crate) fn show(self, text: &str, value: &impl Serialize) -> Result<(), Fault> {
        write(&self.form(text, value)?).map_err(Fault::Print)
    }

    /// The answer of a command that has changed something.
    pub(crate) fn report(self, text: &str, value: &impl Serialize) -> Result<(), Fault> {
        write(&self.form(text, value)?).map_err(Fault::Report)
    }

    fn form(self, text: &str, value: &impl Serialize) -> Result<String, Fault> {
        if self.json { Ok(serde_json::to_string(value)? + "\n") } else { Ok(text.to_owned()) }
    }
}

/// What is shown as JSON in any case, for people.
pub(crate) fn pretty(value: &impl Serialize) -> Result<String, Fault> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// Writes an answer; a reader who has had enough, such as `head`, is no fault.
pub(crate) fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(closed) if closed.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Columns as wide as their widest cell, three blanks apart, as Docker has them.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].len()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("   ");
        format!("{}\n", line.trim_end())
    };
    let rows = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    [line(header)].into_iter().chain(rows).collect()
}

/// A network as it is listed: one on record, or one of those that exist always.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Listed<'a> {
    OnRecord {
        driver: &'static str,
        #[serde(flatten)]
        network: &'a DefinedNetwork,
    },
    BuiltIn {
        driver: &'static str,
        name: NetworkName,
    },
}

impl<'a> Listed<'a> {
    /// Every network by name: `bridge`, `host` and `none` exist also where nothing is on record.
    pub(crate) fn all(on_record: &'a [DefinedNetwork]) -> Vec<Self> {
        let absent = |name: &NetworkName| on_record.iter().all(|network| network.name() != name);
        let built_in = ["bridge", "host", "none"].into_iter().filter_map(|word| {
            let driver = if word == "none" { "null" } else { word };
            let name = word.parse().ok().filter(absent)?;
            Some(Self::BuiltIn { driver, name })
        });
        let mut all: Vec<_> = on_record.iter().map(Self::of).chain(built_in).collect();
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all
    }

    pub(crate) const fn of(network: &'a DefinedNetwork) -> Self {
        Self::OnRecord { driver: "bridge", network }
    }

    pub(crate) const fn name(&self) -> &NetworkName {
        match self {
            Self::OnRecord { network, .. } => network.name(),
            Self::BuiltIn { name, .. } => name,
        }
    }

    fn row(&self) -> [String; 5] {
        let (id, driver, subnets) = match self {
            Self::OnRecord { driver, network } => {
                (network.id().to_string(), driver, list(network.subnets().iter().map(Subnet::net)))
            }
            Self::BuiltIn { driver, .. } => ("-".to_owned(), driver, "-".to_owned()),
        };
        [id, self.name().to_string(), (*driver).to_owned(), "local".to_owned(), subnets]
    }
}

/// `network ls`.
pub(crate) fn networks(listed: &[Listed<'_>]) -> String {
    let rows: Vec<_> = listed.iter().map(Listed::row).collect();
    table(["NETWORK ID", "NAME", "DRIVER", "SCOPE", "SUBNETS"], &rows)
}

/// `ps`.
pub(crate) fn attachments(all: &[Attachment]) -> String {
    let row = |attachment: &Attachment| {
        let endpoints = attachment.endpoints();
        [
            attachment.name().to_string(),
            attachment.id().to_string(),
            list(endpoints.iter().map(AttachedEndpoint::network)),
            list(endpoints.iter().flat_map(AttachedEndpoint::addresses).map(IpNet::addr)),
            list(attachment.published().iter().flat_map(|port| {
                let inside = format!("->{}/{}", port.port(), port.protocol());
                sockets(port).into_iter().map(move |socket| format!("{socket}{inside}"))
            })),
        ]
    };
    table(["NAME", "ID", "NETWORKS", "ADDRESSES", "PORTS"], &all.iter().map(row).collect::<Vec<_>>())
}

/// `port`: a line for each port and family.
pub(crate) fn ports(published: &[Published]) -> String {
    let lines = published.iter().flat_map(|port| {
        let inside = format!("{}/{}", port.port(), port.protocol());
        sockets(port).into_iter().map(move |socket| format!("{inside} -> {socket}\n"))
    });
    lines.collect()
}

/// Where a port is answered on the host: at one address, or at every one of each family that it leads to.
pub(crate) fn sockets(published: &Published) -> Vec<SocketAddr> {
    let at = |to: &IpAddr| {
        let any: IpAddr =
            if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        SocketAddr::new(published.host_address().unwrap_or(any), published.host_port().get())
    };
    published.to().iter().map(at).collect()
}

fn list(items: impl IntoIterator<Item = impl ToString>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "-".to_owned() } else { items.join(", ") }
}
