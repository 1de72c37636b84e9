//! What others do: a rule for each published port, by the `iptables` program.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::process::{Command, ExitStatus, Stdio};

/// The rules lead here as Docker's do, from the chain of the kernel to a chain of one's own.
const CHAIN: &str = "BENCH";

/// Whether the program is here.
pub(crate) fn is_installed() -> bool {
    Command::new("iptables").arg("-V").output().is_ok_and(|ran| ran.status.success())
}

/// Makes the chain, with a rule for each port and no other.
pub(crate) fn publish_all(ports: impl Iterator<Item = u16>, to: Ipv4Addr) -> io::Result<()> {
    let mut text = format!(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:{CHAIN} - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j {CHAIN}\n"
    );
    for port in ports {
        let _ = writeln!(text, "-A {CHAIN} {}", rule(port, to).join(" "));
    }
    text.push_str("COMMIT\n");
    let mut restore =
        Command::new("iptables-restore").args(["-w", "--noflush"]).stdin(Stdio::piped()).spawn()?;
    restore.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(text.as_bytes()))?;
    succeeded(restore.wait()?)
}

pub(crate) fn publish(port: u16, to: Ipv4Addr) -> io::Result<()> {
    change("-A", port, to)
}

pub(crate) fn withdraw(port: u16, to: Ipv4Addr) -> io::Result<()> {
    change("-D", port, to)
}

fn change(how: &str, port: u16, to: Ipv4Addr) -> io::Result<()> {
    let mut command = Command::new("iptables");
    succeeded(command.args(["-w", "-t", "nat", how, CHAIN]).args(rule(port, to)).status()?)
}

fn rule(port: u16, to: Ipv4Addr) -> [String; 8] {
    let words = ["-p", "tcp", "--dport", &port.to_string(), "-j", "DNAT", "--to", &format!("{to}:80")];
    words.map(str::to_owned)
}

fn succeeded(status: ExitStatus) -> io::Result<()> {
    if status.success() { Ok(()) } else { Err(io::Error::other("iptables refused them")) }
}
