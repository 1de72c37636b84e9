//! `linkspan attach`, `detach`, `ps`, `inspect` and `port`.

use crate::args::{Attach, EndpointArgs, Joined, NamespaceArgs};
use crate::fault::{Fault, chain, note, stayed};
use crate::network;
use crate::output::{self, Output};
use crate::recovery::left_over;
use crate::wish;
use linkspan::{Addresses, Attachment, Error, Host, NetNs, NetworkName};

pub(crate) fn attach(host: &Host, wanted: &Attach, out: Output) -> Result<(), Fault> {
    let container = wish::attached(wanted.name.clone(), &resolve(host, &wanted.endpoint)?)?;
    let attachment = host.attach(&namespace(host, &wanted.namespace)?, &container)?;
    out.report(&format!("{}\n", attachment.id()), &attachment)
}

pub(crate) fn namespace(host: &Host, args: &NamespaceArgs) -> Result<NetNs, Fault> {
    let opened = match (&args.netns, args.pid) {
        // This is the only thread, and where it does not come back, nothing follows.
        (Some(path), _) => NetNs::open_lent(path, host.netns()),
        (None, Some(pid)) => NetNs::of_pid(pid),
        (None, None) => return Err(Fault::Usage("--netns or --pid is needed".to_owned())),
    };
    Ok(opened.map_err(Error::from)?)
}

/// The arguments with the names of the networks that were given by their ids.
pub(crate) fn resolve(host: &Host, args: &EndpointArgs) -> Result<EndpointArgs, Fault> {
    let named = |joined: &Joined| match joined {
        Joined::Network(name) => Ok(Joined::Network(by_id(host, name)?)),
        other => Ok(other.clone()),
    };
    let network = args.network.iter().map(named).collect::<Result<_, Fault>>()?;
    Ok(EndpointArgs { network, ..args.clone() })
}

/// Only what could be the beginning of an id is looked for: an attach does not read every network.
fn by_id(host: &Host, name: &NetworkName) -> Result<NetworkName, Fault> {
    if name.as_str().bytes().any(|c| !matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(name.clone());
    }
    let networks = host.networks()?;
    Ok(network::find(&networks, name.as_str())?.map_or_else(|| name.clone(), |found| found.name().clone()))
}

/// Who is to be detached.
#[derive(Default)]
struct Found<'a> {
    attachments: Vec<Attachment>,
    /// Those whose records are damaged, as they were given.
    damaged: Vec<(&'a str, Error)>,
}

/// A container that is not attached is as good as detached: doing it twice is fine.
fn find_all<'a>(host: &Host, wanted: &'a [String]) -> Result<Found<'a>, Fault> {
    let mut found = Found::default();
    for wanted in wanted {
        match host.find_certain(wanted) {
            Ok(attachment) if found.attachments.iter().any(|other| other.id() == attachment.id()) => {}
            Ok(attachment) => found.attachments.push(attachment),
            Err(absent @ Error::NoSuchAttachment { .. }) => {
                // What a dead process left of it is taken back on the way.
                wanted.parse().map_or(Ok(()), |name| host.repair_container(&name))?;
                note(chain(&absent));
            }
            Err(damaged) if damaged.remedy().is_some() => found.damaged.push((wanted, damaged)),
            Err(refused) => return Err(refused.into()),
        }
    }
    Ok(found)
}

/// All are found before the first one is detached; one whose record is damaged is left, and told, and the others go.
/// Those that went are reported, whatever stayed.
pub(crate) fn detach(host: &Host, wanted: &[String], addresses: Addresses, out: Output) -> Result<(), Fault> {
    let Found { mut attachments, damaged } = find_all(host, wanted)?;
    if attachments.is_empty() {
        // Where nothing else was to do, nothing was changed.
        Fault::of_each(damaged.into_iter().map(|(_, damaged)| damaged).collect())?;
        return report(&attachments, out);
    }
    let mut left: Vec<_> = damaged.into_iter().map(|(of, damaged)| stayed(&of, damaged)).collect();
    match host.detach_all_with(&attachments.iter().map(Attachment::id).collect::<Vec<_>>(), addresses) {
        Err(Error::LeftBehind { left: more, refused: None }) => left.extend(more),
        done => done?,
    }
    if !left.is_empty() {
        attachments.retain(|attachment| host.is_on_record(attachment.id()).is_ok_and(|on_record| !on_record));
    }
    let reported = report(&attachments, out);
    left_over(left)?;
    reported
}

fn report(detached: &[Attachment], out: Output) -> Result<(), Fault> {
    let lines: String = detached.iter().map(|attachment| format!("{}\n", attachment.name())).collect();
    out.report(&lines, &detached)
}

pub(crate) fn list(host: &Host, out: Output) -> Result<(), Fault> {
    let all = host.attachments()?;
    out.show(&output::attachments(&all), &all)
}

pub(crate) fn inspect(host: &Host, wanted: &str, out: Output) -> Result<(), Fault> {
    let attachment = host.find(wanted)?;
    out.show(&output::pretty(&attachment)?, &attachment)
}

pub(crate) fn port(host: &Host, wanted: &str, out: Output) -> Result<(), Fault> {
    let attachment = host.find(wanted)?;
    out.show(&output::ports(attachment.published()), &attachment.published())
}
