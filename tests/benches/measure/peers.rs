//! Other programs that do the same work, where they are installed; each call is a process.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::report;
use crate::world::{Trouble, World};

/// Where Debian has them, and Fedora.
const NETAVARK: [&str; 2] = ["/usr/lib/podman/netavark", "/usr/libexec/podman/netavark"];
const PLUGINS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];

/// Programs that put a namespace on a bridge and publish a port.
#[derive(Clone, Debug)]
enum Program {
    Netavark(PathBuf),
    /// `bridge` with `host-local`, and `portmap`.
    Plugins(PathBuf),
    /// What people write by hand.
    Ip,
}

/// Programs on a host of their own.
pub(crate) struct Peer {
    program: Program,
    pub(crate) world: World,
    /// What a plugin answered, which the next one and the removal are told.
    answers: BTreeMap<u16, String>,
}

impl Peer {
    /// Those that are installed; of the others it is said that they are not.
    pub(crate) fn all() -> Result<Vec<Self>, Trouble> {
        let programs = [
            (
                "netavark",
                NETAVARK.iter().map(PathBuf::from).find(|path| path.is_file()).map(Program::Netavark),
            ),
            ("CNI plugins", folder_with("portmap").map(Program::Plugins)),
            ("ip and iptables", Some(Program::Ip).filter(|_| crate::iptables::is_installed())),
        ];
        let mut peers = Vec::new();
        for (who, program) in programs {
            match program {
                Some(program) => {
                    peers.push(Self { program, world: World::enter()?, answers: BTreeMap::new() });
                }
                None => report::absent(who, "not installed"),
            }
        }
        Ok(peers)
    }

    pub(crate) const fn who(&self) -> &'static str {
        match self.program {
            Program::Netavark(_) => "netavark",
            Program::Plugins(_) => "CNI plugins",
            Program::Ip => "ip and iptables",
        }
    }

    /// A word for it in names of files.
    pub(crate) const fn word(&self) -> &'static str {
        match self.program {
            Program::Netavark(_) => "netavark",
            Program::Plugins(_) => "plugins",
            Program::Ip => "ip",
        }
    }

    /// Makes what all its containers share; the calling thread is on its host afterwards.
    pub(crate) fn prepare(&self) -> Result<(), Trouble> {
        self.world.host.enter()?;
        if matches!(self.program, Program::Ip) {
            shell(IP_ONCE, &[])?;
        }
        Ok(())
    }

    /// Attaches a namespace that is pinned below `/run/netns`, with this number in its address and port.
    pub(crate) fn attach(&mut self, netns: &Path, number: u16) -> Result<(), Trouble> {
        match &self.program {
            Program::Netavark(program) => netavark(program, "setup", netns, number),
            Program::Plugins(folder) => {
                let answer = plugin(folder, "bridge", "ADD", netns, &bridge_config())?;
                plugin(folder, "portmap", "ADD", netns, &portmap_config(number, &answer))?;
                self.answers.insert(number, answer);
                Ok(())
            }
            Program::Ip => shell(IP_ATTACH, &[name_of(netns), number.to_string(), ip_address(number)]),
        }
    }

    pub(crate) fn detach(&mut self, netns: &Path, number: u16) -> Result<(), Trouble> {
        match &self.program {
            Program::Netavark(program) => netavark(program, "teardown", netns, number),
            Program::Plugins(folder) => {
                let answer = self.answers.remove(&number).unwrap_or_default();
                plugin(folder, "portmap", "DEL", netns, &portmap_config(number, &answer))?;
                plugin(folder, "bridge", "DEL", netns, &bridge_config()).map(drop)
            }
            Program::Ip => shell(IP_DETACH, &[name_of(netns), number.to_string(), ip_address(number)]),
        }
    }
}

/// The port of the host that a container of this number publishes.
pub(crate) const fn port(number: u16) -> u16 {
    40_000 + number
}

/// Where this plugin is.
fn folder_with(plugin: &str) -> Option<PathBuf> {
    PLUGINS.iter().map(PathBuf::from).find(|folder| folder.join(plugin).is_file())
}

fn name_of(netns: &Path) -> String {
    netns.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn netavark(program: &Path, verb: &str, netns: &Path, number: u16) -> Result<(), Trouble> {
    let folder = "/run/bench-netavark";
    fs::create_dir_all(folder)?;
    let [high, low] = (number + 2).to_be_bytes();
    let config = format!(
        r#"{{"container_id":"{name}","container_name":"{name}","port_mappings":[{{"container_port":80,"host_ip":"",
        "host_port":{port},"protocol":"tcp","range":1}}],"networks":{{"bench":{{"interface_name":"eth0",
        "static_ips":["10.77.{high}.{low}"]}}}},"network_info":{{"bench":{{"name":"bench","id":"{id}",
        "driver":"bridge","network_interface":"na0","subnets":[{{"gateway":"10.77.0.1","subnet":"10.77.0.0/16"}}],
        "ipv6_enabled":false,"internal":false,"dns_enabled":false,"ipam_options":{{"driver":"host-local"}},
        "options":{{}}}}}}}}"#,
        name = name_of(netns),
        port = port(number),
        id = "ab".repeat(32),
    );
    let mut command = Command::new(program);
    run(command.args(["--config", folder, verb]).arg(netns), &config).map(drop)
}

fn plugin(folder: &Path, name: &str, verb: &str, netns: &Path, config: &str) -> Result<String, Trouble> {
    let mut command = Command::new(folder.join(name));
    command.env("CNI_COMMAND", verb).env("CNI_CONTAINERID", name_of(netns)).env("CNI_NETNS", netns);
    run(command.env("CNI_IFNAME", "eth0").env("CNI_PATH", folder), config)
}

fn bridge_config() -> String {
    r#"{"cniVersion":"0.4.0","name":"bench","type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":true,
    "ipam":{"type":"host-local","dataDir":"/run/bench-cni","ranges":[[{"subnet":"10.66.0.0/16"}]],
    "routes":[{"dst":"0.0.0.0/0"}]}}"#
        .to_owned()
}

fn portmap_config(number: u16, answer: &str) -> String {
    format!(
        r#"{{"cniVersion":"0.4.0","name":"bench","type":"portmap","capabilities":{{"portMappings":true}},
        "runtimeConfig":{{"portMappings":[{{"hostPort":{},"containerPort":80,"protocol":"tcp"}}]}},
        "prevResult":{answer}}}"#,
        port(number)
    )
}

const IP_ONCE: &str = "set -e
ip link add ip0 type bridge; ip address add 10.55.0.1/16 dev ip0; ip link set ip0 up
echo 1 > /proc/sys/net/ipv4/ip_forward
iptables -w -t nat -A POSTROUTING -s 10.55.0.0/16 ! -o ip0 -j MASQUERADE";
const IP_ATTACH: &str = "set -e
ip link add v$2 master ip0 up type veth peer name eth0 netns $1
ip -n $1 link set lo up; ip -n $1 link set eth0 up
ip -n $1 address add $3/16 dev eth0; ip -n $1 route add default via 10.55.0.1
iptables -w -t nat -A PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport $((40000 + $2)) -j DNAT --to $3:80";
const IP_DETACH: &str = "set -e
iptables -w -t nat -D PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport $((40000 + $2)) -j DNAT --to $3:80
ip link delete v$2";

fn ip_address(number: u16) -> String {
    let [high, low] = (number + 2).to_be_bytes();
    format!("10.55.{high}.{low}")
}

fn shell(script: &str, arguments: &[String]) -> Result<(), Trouble> {
    run(Command::new("sh").args(["-c", script, "bench"]).args(arguments), "").map(drop)
}

/// Runs a program that must succeed, and returns what it printed.
fn run(command: &mut Command, input: &str) -> Result<String, Trouble> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()))?;
    let ran = child.wait_with_output()?;
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    if ran.status.success() { Ok(out.into_owned()) } else { Err(format!("{command:?}: {out}{err}").into()) }
}

/// The plugin that hands out addresses, one process for each.
pub(crate) struct HostLocal(PathBuf);

impl HostLocal {
    pub(crate) fn find() -> Option<Self> {
        folder_with("host-local").map(Self)
    }

    pub(crate) fn lease(&self) -> Result<(), Trouble> {
        self.call("ADD")
    }

    pub(crate) fn release(&self) -> Result<(), Trouble> {
        self.call("DEL")
    }

    fn call(&self, verb: &str) -> Result<(), Trouble> {
        plugin(&self.0, "host-local", verb, Path::new("/run/netns/bench"), &bridge_config()).map(drop)
    }
}
