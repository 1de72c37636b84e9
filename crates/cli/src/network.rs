//! `linkspan network`.

use crate::args::{NetworkCommand, NetworkCreate};
use crate::fault::{Fault, note, stays};
use crate::output::{self, Listed, Output};
use crate::wish;
use linkspan::{
    Attachment, AttachmentId, ContainerName, DefinedNetwork, Error, Host, Mac, NetworkName, Remedy,
    Reservation,
};
use serde::Serialize;
use std::collections::BTreeSet;
use std::net::IpAddr;

pub(crate) fn perform(host: &Host, command: &NetworkCommand, out: Output) -> Result<(), Fault> {
    match command {
        NetworkCommand::Create(args) => create(host, args, out),
        NetworkCommand::Ls => list(host, out),
        NetworkCommand::Inspect { networks } => inspect(host, networks, out),
        NetworkCommand::Release { network, ip } => release(host, network, *ip, out),
        NetworkCommand::Rm { networks, force } => remove(host, networks, *force, out),
    }
}

fn list(host: &Host, out: Output) -> Result<(), Fault> {
    let on_record = host.networks()?;
    let all = Listed::all(&on_record);
    // The table has no column for what is kept, and does not read it.
    let table = output::networks(&all);
    let shown = if out.json { all } else { Vec::new() };
    let shown = shown.into_iter().map(|network| keeping(host, network)).collect::<Result<Vec<_>, _>>()?;
    out.show(&table, &shown)
}

/// What `network ls` shows of a network as JSON: all that is on record, with the addresses that are kept.
#[derive(Debug, Serialize)]
struct Keeping<'a> {
    #[serde(flatten)]
    network: Listed<'a>,
    reservations: Vec<Reservation>,
}

fn keeping<'a>(host: &Host, network: Listed<'a>) -> Result<Keeping<'a>, Error> {
    let reservations = match &network {
        Listed::OnRecord { network, .. } => host.reservations_of(network),
        Listed::BuiltIn { .. } => Ok(Vec::new()),
    };
    Ok(Keeping { reservations: reservations?, network })
}

fn create(host: &Host, args: &NetworkCreate, out: Output) -> Result<(), Fault> {
    let network = host.create_network(&wish::network(args)?)?;
    out.report(&format!("{}\n", network.id()), &network)
}

/// What `network inspect` shows of a network: all that is on record, and who is on it.
#[derive(Debug, Serialize)]
struct Inspected<'a> {
    #[serde(flatten)]
    network: Keeping<'a>,
    containers: Vec<Member<'a>>,
}

#[derive(Debug, Serialize)]
struct Member<'a> {
    name: &'a ContainerName,
    id: AttachmentId,
    mac: Mac,
    addresses: Vec<String>,
}

fn inspect(host: &Host, wanted: &[String], out: Output) -> Result<(), Fault> {
    let (on_record, attachments) = (host.networks()?, host.attachments()?);
    let mut all = Vec::new();
    for wanted in wanted {
        let network = match find(&on_record, wanted)? {
            Some(network) => Listed::of(network),
            None => built_in(wanted).ok_or_else(|| Fault::NoSuchNetwork { wanted: wanted.clone() })?,
        };
        let containers = members(network.name(), &attachments);
        all.push(Inspected { containers, network: keeping(host, network)? });
    }
    out.show(&output::pretty(&all)?, &all)
}

fn built_in(wanted: &str) -> Option<Listed<'static>> {
    Listed::all(&[]).into_iter().find(|network| network.name().as_str() == wanted)
}

fn members<'a>(network: &NetworkName, attachments: &'a [Attachment]) -> Vec<Member<'a>> {
    let each = attachments.iter().flat_map(|attachment| {
        let on_it = attachment.endpoints().iter().filter(|endpoint| endpoint.network() == network);
        on_it.map(|endpoint| Member {
            name: attachment.name(),
            id: attachment.id(),
            mac: endpoint.mac(),
            addresses: endpoint.addresses().iter().map(ToString::to_string).collect(),
        })
    });
    each.collect()
}

/// An address that is not kept is as good as released: doing it twice is fine.
fn release(host: &Host, wanted: &str, ip: IpAddr, out: Output) -> Result<(), Fault> {
    let on_record = host.networks()?;
    let network = find(&on_record, wanted)?.map(Listed::of).or_else(|| built_in(wanted));
    let network = network.ok_or_else(|| Fault::NoSuchNetwork { wanted: wanted.to_owned() })?;
    let address = ip.to_canonical();
    let released = host.release_address(network.name(), address)?;
    let released = released.map(|container| Released { address, container });
    if released.is_none() {
        note(format!("ip {ip} is not kept"));
    }
    out.report(&released.as_ref().map(|it| format!("{}\n", it.address)).unwrap_or_default(), &released)
}

/// What `network release` says as JSON; `null` where the address was not kept.
#[derive(Debug, Serialize)]
struct Released {
    address: IpAddr,
    container: ContainerName,
}

/// Finds all before it removes the first one. One that is refused keeps no other from going, and each of them is told.
fn remove(host: &Host, wanted: &[String], force: bool, out: Output) -> Result<(), Fault> {
    let on_record = match host.networks() {
        // One that cannot be read is removed by its name.
        Err(damaged) if damaged.remedy() == Some(Remedy::RemoveNetwork) => None,
        on_record => Some(on_record?),
    };
    let names = match &on_record {
        Some(on_record) => named(on_record, wanted, force)?,
        None => wanted.iter().map(|wanted| wanted.parse().ok()).collect(),
    };
    if names.iter().any(Option::is_none) {
        // What a dead process left of one that is not there is taken back.
        host.repair()?;
    }
    let was_there = |name: &NetworkName| on_record.iter().flatten().any(|there| there.name() == name);
    let (mut removed, mut refused) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for name in names.into_iter().flatten().filter(|name| seen.insert(name.clone())) {
        match remove_one(host, &name, force) {
            // Somebody else was faster.
            Err(Error::NoSuchNetwork { .. }) if force || was_there(&name) => removed.push(name),
            Ok(()) => removed.push(name),
            Err(why) => refused.push((name, why)),
        }
    }
    let why = |(name, why)| if removed.is_empty() { why } else { stays(&name, why) };
    let refused = refused.into_iter().map(why).collect();
    let lines: String = removed.iter().map(|name| format!("{name}\n")).collect();
    let reported = out.report(&lines, &removed);
    Fault::of_each(refused)?;
    reported
}

/// The names of networks that are given by name or id; `None` for those that need not be there.
fn named(
    on_record: &[DefinedNetwork],
    wanted: &[String],
    force: bool,
) -> Result<Vec<Option<NetworkName>>, Fault> {
    let name = |wanted: &String| match certain(on_record, wanted) {
        Some(network) => Ok(Some(network.name().clone())),
        None => absent(wanted, force),
    };
    wanted.iter().map(name).collect()
}

/// The network of this name or id; the name of one that is gone may well begin the id of another.
fn certain<'a>(on_record: &'a [DefinedNetwork], wanted: &str) -> Option<&'a DefinedNetwork> {
    let named = on_record.iter().find(|network| network.name().as_str() == wanted);
    named.or_else(|| on_record.iter().find(|network| network.id().to_string() == wanted))
}

fn absent(wanted: &str, force: bool) -> Result<Option<NetworkName>, Fault> {
    // The library says what there is to say of the names that exist always.
    if let Some(network) = built_in(wanted) {
        return Ok(Some(network.name().clone()));
    }
    let absent = Fault::NoSuchNetwork { wanted: wanted.to_owned() };
    if !force {
        return Err(absent);
    }
    note(absent.line());
    Ok(None)
}

fn remove_one(host: &Host, name: &NetworkName, force: bool) -> Result<(), Error> {
    if force { host.remove_network_and_attachments(name) } else { host.remove_network(name) }
}

/// The network of this name, or the one whose id begins like this.
pub(crate) fn find<'a>(
    on_record: &'a [DefinedNetwork],
    wanted: &str,
) -> Result<Option<&'a DefinedNetwork>, Fault> {
    if let Some(named) = on_record.iter().find(|network| network.name().as_str() == wanted) {
        return Ok(Some(named));
    }
    let like: Vec<_> =
        on_record.iter().filter(|network| network.id().to_string().starts_with(wanted)).collect();
    match like[..] {
        [] => Ok(None),
        [network] => Ok(Some(network)),
        _ => Err(Fault::Ambiguous { wanted: wanted.to_owned(), count: like.len() }),
    }
}
