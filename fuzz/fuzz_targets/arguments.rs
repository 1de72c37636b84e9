//! The words of the command line, and every value that is parsed from text.
#![cfg_attr(fuzzing, no_main)]

#[allow(dead_code, reason = "the command reads more of its words than this")]
#[path = "../../crates/cli/src/args/mod.rs"]
mod args;
#[allow(dead_code, reason = "the command meets more faults than this")]
#[path = "../../crates/cli/src/fault.rs"]
mod fault;
#[path = "../../crates/cli/src/wish.rs"]
mod wish;

use args::{Cli, Command, NetworkCommand, Planned, PlannedNetwork};
use clap::Parser;
use ipnet::IpNet;
use linkspan::{
    AttachmentId, ContainerName, Firewall, Hostname, IfName, Instance, Mac, Mtu, NetworkId, NetworkName, Pid,
    Port, Protocol, Publish, Question, Subnet,
};
use linkspan_fuzz::{Target, assert_one_line, told};
use linkspan_ipam::{Change, Owner};
use linkspan_records::FileName;
use std::error::Error;
use std::fmt::{Debug, Display};
use std::str::FromStr;

linkspan_fuzz::target!(Words);

/// The words of a line; one on each line of the input.
#[derive(Debug)]
struct Words;

/// Lines that the command takes, or nearly.
const LINES: [&str; 20] = [
    "network create web --subnet 10.0.0.0/8 --gateway 10.0.0.1 --ip-range 10.0.1.0/24 --aux-address r=10.0.0.9",
    "network create web -d bridge --subnet fd00::/64 --ipv6 --mtu 1400 --bridge-name br0 --label a=b --label c",
    "network create web --internal --gateway-mode nat-unprotected --icc=false --snat 192.0.2.9",
    "network create web --no-masquerade --trusted-interface eth0 --gateway-mode isolated",
    "network ls --json",
    "network inspect web 0a1b2c",
    "network rm -f web db",
    "attach web --netns /run/netns/web --network web --network db -p 80 --publish [::1]:8080:80",
    "attach web --pid 1 --ip 10.0.0.2 --ip fd00::2 --mac 02:42:0a:00:00:02 --ifname net0",
    "run --name web --hostname web --network container:db -- ip -br link --json",
    "run -p 8000-8009:80-89/udp --network host true --name x",
    "--json --run-dir /a --state-dir /b --firewall iptables --forwarding off --instance ci ps",
    "plan run -p 127.0.0.1::53/udp -- true",
    "plan network create web",
    "explain web db:80",
    "explain 198.51.100.7 [fd88::2]:80/udp --json",
    "detach web --keep-address",
    "network release web 10.0.0.2",
    "lease 10.0.0.2 web",
    "doctor",
];

impl Target for Words {
    fn begin() -> Result<Self, String> {
        Ok(Self)
    }

    fn seeds(&mut self) -> Vec<(String, Vec<u8>)> {
        let seed = |(place, line): (usize, &str)| (format!("line{place}"), line.replace(' ', "\n").into());
        LINES.into_iter().enumerate().map(seed).collect()
    }

    fn take(&mut self, input: &[u8]) {
        let text = String::from_utf8_lossy(input);
        let words: Vec<&str> = text.split('\n').collect();
        command(&words);
        words.iter().for_each(|word| values(word));
        values(&words.join(" "));
        if let [from, to, ..] = words[..] {
            question(from, to);
        }
    }
}

/// Reads a line as the command does, and makes of it what the library is asked for.
fn command(words: &[&str]) {
    let fault = match Cli::try_parse_from(["linkspan"].iter().chain(words)) {
        Ok(Cli { command, .. }) => asked(&command),
        Err(error) if error.use_stderr() => Some(fault::of_clap(&error)),
        Err(_) => None,
    };
    if let Some(fault) = fault {
        let line = assert_one_line(fault.line());
        assert!(!line.chars().any(char::is_control), "steers a terminal: {line:?}");
    }
}

fn asked(command: &Command) -> Option<fault::Fault> {
    let name = || "web".parse().expect("a name");
    match command {
        Command::Network(NetworkCommand::Create(args))
        | Command::Plan(Planned::Network(PlannedNetwork::Create(args))) => wish::network(args).err(),
        Command::Attach(args) | Command::Plan(Planned::Attach(args)) => {
            wish::attached(args.name.clone(), &args.endpoint).err()
        }
        Command::Run(args) | Command::Plan(Planned::Run(args)) => {
            wish::container(args.name.clone().unwrap_or_else(name), &args.endpoint).err()
        }
        _ => None,
    }
}

fn values(word: &str) {
    same::<AttachmentId>(word);
    same::<Change>(word);
    same::<ContainerName>(word);
    same::<FileName>(word);
    same::<Firewall>(word);
    same::<Hostname>(word);
    same::<IfName>(word);
    same::<Instance>(word);
    same::<Mac>(word);
    same::<Mtu>(word);
    same::<NetworkId>(word);
    same::<NetworkName>(word);
    same::<Owner>(word);
    same::<Pid>(word);
    same::<Port>(word);
    same::<Protocol>(word);
    if let Ok(subnet) = word.parse::<IpNet>().map_err(|_| ()).and_then(|net| Subnet::new(net).map_err(|_| ()))
    {
        assert_eq!(subnet.net().to_string().parse().ok(), Some(subnet));
    }
    ports(word);
}

/// What was parsed is told, and what was told is parsed as the same.
fn same<T>(word: &str)
where
    T: FromStr<Err: Error + 'static> + Display + PartialEq + Debug,
{
    match word.parse::<T>() {
        Ok(value) => {
            let line = assert_one_line(&value);
            assert_eq!(line.parse::<T>().ok(), Some(value), "{word:?}");
        }
        Err(why) => drop(told(&why)),
    }
}

fn ports(word: &str) {
    match Publish::parse(word) {
        Ok(ports) => {
            for port in ports {
                assert_eq!(Publish::parse(&assert_one_line(port)).ok(), Some(vec![port]), "{word:?}");
            }
        }
        Err(why) => drop(told(&why)),
    }
}

fn question(from: &str, to: &str) {
    match Question::parse(from, to) {
        Ok(question) => {
            let line = assert_one_line(&question);
            let (from, to) = line.split_once(" -> ").expect("a question tells who asks whom");
            assert_eq!(Question::parse(from, to).ok(), Some(question));
        }
        Err(why) => drop(told(&why)),
    }
}
