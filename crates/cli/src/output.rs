//! How answers look: Docker's tables and words, or JSON.

use crate::fault::Fault;
use ipnet::IpNet;
use linkspan::{AttachedEndpoint, Attachment, DefinedNetwork, NetworkName, Port, Published, Subnet};
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
            list(attachment.published().chunk_by(follows).flat_map(range)),
        ]
    };
    table(["NAME", "ID", "NETWORKS", "ADDRESSES", "PORTS"], &all.iter().map(row).collect::<Vec<_>>())
}

/// Whether two ports are neighbours of one range.
fn follows(a: &Published, b: &Published) -> bool {
    let next = |a: Port, b: Port| a.get().checked_add(1) == Some(b.get());
    let host = match (a.host(), b.host()) {
        (Some(a), Some(b)) => next(a.port(), b.port()) && a.address() == b.address(),
        (None, None) => true,
        _ => false,
    };
    host && next(a.port(), b.port())
        && (a.protocol(), a.to()) == (b.protocol(), b.to())
        && a.open().eq(b.open())
}

/// A range as Docker lists it, once for each family; at the container's own address where it is routed.
fn range(ports: &[Published]) -> Vec<String> {
    let (Some(first), Some(last)) = (ports.first(), ports.last()) else { return Vec::new() };
    let span = |first: Port, last: Port| if first == last { String::new() } else { format!("-{last}") };
    let inside = format!("{}{}/{}", first.port(), span(first.port(), last.port()), first.protocol());
    let host = first.host().zip(last.host());
    let outside = host.map_or_else(String::new, |(first, last)| span(first.port(), last.port()));
    let translated = on_host(first).into_iter().map(|socket| format!("{socket}{outside}->{inside}"));
    let open = first.open().map(|address| match address {
        IpAddr::V4(v4) => format!("{v4}:{inside}"),
        IpAddr::V6(v6) => format!("[{v6}]:{inside}"),
    });
    translated.chain(open).collect()
}

/// `port`: a line for each port and family.
pub(crate) fn ports(published: &[Published]) -> String {
    let lines = published.iter().flat_map(|port| {
        let inside = format!("{}/{}", port.port(), port.protocol());
        sockets(port).into_iter().map(move |socket| format!("{inside} -> {socket}\n"))
    });
    lines.collect()
}

/// Where a port is answered: on the host, or at the container's own address where it is routed.
pub(crate) fn sockets(published: &Published) -> Vec<SocketAddr> {
    let open = published.open().map(|address| SocketAddr::new(address, published.port().get()));
    on_host(published).into_iter().chain(open).collect()
}

/// Where a port is answered on the host: at one address, or at every one of each family that it leads to.
fn on_host(published: &Published) -> Vec<SocketAddr> {
    let Some(host) = published.host() else { return Vec::new() };
    let at = |to: &IpAddr| {
        let any: IpAddr =
            if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        SocketAddr::new(host.address().unwrap_or(any), host.port().get())
    };
    published.to().iter().map(at).collect()
}

fn list(items: impl IntoIterator<Item = impl ToString>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "-".to_owned() } else { items.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn attachment() -> Attachment {
        let value = json!({
            "id": "00c0ffee00c0ffee",
            "name": "web",
            "namespace": { "cookie": 7, "place": { "path": "/run/netns/web" } },
            "endpoints": [{
                "network": "front", "network_id": "0a1b2c3d4e5f", "bridge": "ls-0a1b2c3d4e5f", "link": "eth0",
                "host_link": "vethls000000001", "host_mac": "fe:00:00:00:00:01", "mac": "02:42:0a:58:00:02",
                "mtu": 1500, "addresses": ["10.88.0.2/24", "fd00::2/64"], "gateways": ["10.88.0.1", "fd00::1"],
            }],
            "published": [
                { "protocol": "tcp", "host": { "address": null, "port": 8080 }, "port": 80, "to": ["10.88.0.2", "fd00::2"] },
                { "protocol": "udp", "host": { "address": "127.0.0.1", "port": 5300 }, "port": 53, "to": ["10.88.0.2"] },
            ],
        });
        serde_json::from_value(value).unwrap()
    }

    fn published(address: Option<&str>, host_port: u16, port: u16) -> Published {
        let value = json!({
            "protocol": "tcp", "host": { "address": address, "port": host_port }, "port": port, "to": ["10.88.0.2"],
        });
        serde_json::from_value(value).unwrap()
    }

    fn alone() -> Attachment {
        let value = json!({
            "id": "0000000000000001", "name": "x", "namespace": { "cookie": 8, "place": null },
            "endpoints": [], "published": [],
        });
        serde_json::from_value(value).unwrap()
    }

    fn front() -> DefinedNetwork {
        let value = json!({
            "id": "0a1b2c3d4e5f", "name": "front", "link": "ls-0a1b2c3d4e5f",
            "subnets": [{ "net": "10.88.0.0/24", "gateway": "10.88.0.1" }, { "net": "fd00::/64", "gateway": "fd00::1" }],
            "mtu": null, "labels": {},
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn containers_are_a_table() {
        let expected = "\
NAME   ID                 NETWORKS   ADDRESSES            PORTS
web    00c0ffee00c0ffee   front      10.88.0.2, fd00::2   \
0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 127.0.0.1:5300->53/udp
x      0000000000000001   -          -                    -
";
        assert_eq!(attachments(&[attachment(), alone()]), expected);
        assert_eq!(attachments(&[]), "NAME   ID   NETWORKS   ADDRESSES   PORTS\n");
    }

    #[test]
    fn neighbouring_ports_are_listed_as_a_range() {
        let check = |ports: &[Published], expected: &str| {
            assert_eq!(list(ports.chunk_by(follows).flat_map(range)), expected);
        };
        let at = |address, ports: &[(u16, u16)]| {
            ports.iter().map(|(h, p)| published(address, *h, *p)).collect::<Vec<_>>()
        };
        check(&at(None, &[(8000, 80), (8001, 81), (8002, 82)]), "0.0.0.0:8000-8002->80-82/tcp");
        check(&at(None, &[(8000, 80), (8001, 80)]), "0.0.0.0:8000->80/tcp, 0.0.0.0:8001->80/tcp");
        check(&at(Some("::1"), &[(65535, 1), (1, 2)]), "[::1]:65535->1/tcp, [::1]:1->2/tcp");
        let both = [published(None, 1, 1), published(Some("127.0.0.1"), 2, 2)];
        check(&both, "0.0.0.0:1->1/tcp, 127.0.0.1:2->2/tcp");
    }

    #[test]
    fn ports_are_dockers_lines() {
        let expected = "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n53/udp -> 127.0.0.1:5300\n";
        assert_eq!(ports(attachment().published()), expected);
        assert_eq!(ports(&[]), "");
    }

    #[test]
    fn networks_that_exist_always_are_listed() {
        let expected = "\
NETWORK ID     NAME     DRIVER   SCOPE   SUBNETS
-              bridge   bridge   local   -
0a1b2c3d4e5f   front    bridge   local   10.88.0.0/24, fd00::/64
-              host     host     local   -
-              none     null     local   -
";
        let on_record = [front()];
        let listed = Listed::all(&on_record);
        assert_eq!(networks(&listed), expected);
        let json = serde_json::to_string(&listed).unwrap();
        assert!(
            json.starts_with(r#"[{"driver":"bridge","name":"bridge"},{"driver":"bridge","id":"0a1b"#),
            "{json}"
        );
    }
}
