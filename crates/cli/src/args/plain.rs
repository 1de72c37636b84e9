//! The two lines that a runtime without a daemon says for every container, read without clap, which takes longer to set
//! itself up than the kernel takes for a bridge.
//!
//! What is not plain is left to clap, which says what is wrong: so this reads nothing that clap reads otherwise.

use super::{Attach, Cli, Command, EndpointArgs, Global, NamespaceArgs};
use super::{joined, name_or_id, parsed, ports};
use std::ffi::OsString;
use std::path::PathBuf;

/// Reads the words behind the command's own; `None` where clap is to read them.
pub(crate) fn read(words: impl Iterator<Item = OsString>) -> Option<Cli> {
    let words: Vec<String> = words.map(|word| word.into_string().ok()).collect::<Option<_>>()?;
    let (verb, rest) = words.split_first()?;
    let finish = match verb.as_str() {
        "attach" => Line::attach,
        "detach" => Line::detach,
        _ => return None,
    };
    let (mut line, mut rest) = (Line::default(), rest.iter().map(String::as_str));
    while let Some(word) = rest.next() {
        line.take(word, &mut rest)?;
    }
    let command = finish(&mut line)?;
    Some(Cli { global: line.global, command })
}

/// What was read of a line so far.
#[derive(Default)]
struct Line {
    global: Global,
    names: Vec<String>,
    namespace: NamespaceArgs,
    endpoint: EndpointArgs,
    keep_address: bool,
}

impl Line {
    fn take<'a>(&mut self, word: &'a str, next: &mut impl Iterator<Item = &'a str>) -> Option<()> {
        if !word.starts_with('-') {
            self.names.push(name_or_id(word).ok()?);
            return Some(());
        }
        match word {
            "--json" => return set(&mut self.global.json),
            "--keep-address" => return set(&mut self.keep_address),
            _ => {}
        }
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, value),
            Some(_) => return None,
            None => (word, next.next()?),
        };
        if value.is_empty() || value.starts_with('-') {
            return None;
        }
        self.take_value(flag, value)
    }

    fn take_value(&mut self, flag: &str, value: &str) -> Option<()> {
        match flag {
            "--netns" => once(&mut self.namespace.netns, PathBuf::from(value)),
            "--pid" => once(&mut self.namespace.pid, parsed(value).ok()?),
            "--network" | "--net" => more(&mut self.endpoint.network, joined(value).ok()?),
            "--ip" => more(&mut self.endpoint.ip, parsed(value).ok()?),
            "--mac" | "--mac-address" => once(&mut self.endpoint.mac, parsed(value).ok()?),
            "--publish" | "-p" => more(&mut self.endpoint.publish, ports(value).ok()?),
            "--ifname" => once(&mut self.endpoint.ifname, parsed(value).ok()?),
            "--instance" => once(&mut self.global.instance, parsed(value).ok()?),
            "--run-dir" => once(&mut self.global.run_dir, PathBuf::from(value)),
            "--state-dir" => once(&mut self.global.state_dir, PathBuf::from(value)),
            "--firewall" => once(&mut self.global.firewall, parsed(value).ok()?),
            _ => None,
        }
    }

    fn attach(&mut self) -> Option<Command> {
        let [name] = &self.names[..] else { return None };
        let name = parsed(name).ok()?;
        let (namespace, endpoint) = (std::mem::take(&mut self.namespace), std::mem::take(&mut self.endpoint));
        let is_one = namespace.netns.is_some() != namespace.pid.is_some();
        (is_one && !self.keep_address).then_some(Command::Attach(Attach { name, namespace, endpoint }))
    }

    fn detach(&mut self) -> Option<Command> {
        let NamespaceArgs { netns, pid } = &self.namespace;
        let EndpointArgs { network, ip, mac, publish, ifname } = &self.endpoint;
        let none = netns.is_none() && pid.is_none() && mac.is_none() && ifname.is_none();
        let none =
            none && network.is_empty() && ip.is_empty() && publish.is_empty() && !self.names.is_empty();
        let (names, keep_address) = (std::mem::take(&mut self.names), self.keep_address);
        none.then_some(Command::Detach { names, keep_address })
    }
}

/// Clap refuses what is given twice and counts once.
fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

fn set(slot: &mut bool) -> Option<()> {
    (!std::mem::replace(slot, true)).then_some(())
}

fn more<T>(slot: &mut Vec<T>, value: T) -> Option<()> {
    slot.push(value);
    Some(())
}
