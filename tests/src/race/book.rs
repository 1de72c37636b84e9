//! What somebody was told he has, and who may have taken it since.

use super::deed::{Deed, Kept, Wish};
use linkspan::{Attachment, IpNet};
use std::collections::BTreeSet;
use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Attachments that are certain: made with success, and by nobody taken away since; and so with addresses that are kept.
///
/// Deeds overlap, and the book hears of a success after it happened. So each deed is entered before it begins and
/// after it ended, and what one that may have come between could have taken away is not certain.
#[derive(Debug, Default)]
pub(super) struct Book {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    now: u64,
    certain: Vec<Certain>,
    kept: Vec<Known>,
    deeds: Vec<Entered>,
}

/// An attachment that is there.
#[derive(Clone, Debug)]
pub(super) struct Certain {
    pub(super) attachment: Attachment,
    /// The number of its namespace.
    pub(super) netns: usize,
    since: u64,
}

/// An address that is kept.
#[derive(Clone, Debug)]
struct Known {
    kept: Kept,
    since: u64,
}

impl Known {
    /// What is wrong with an attachment that began when this was kept.
    fn is_broken_by(&self, attachment: &Attachment, wish: &Wish) -> bool {
        let Kept { network, address, name } = &self.kept;
        let on = attachment.endpoints().iter().find(|end| end.network().as_str() == network);
        let has = on.is_some_and(|end| end.addresses().iter().any(|net| net.addr() == *address));
        match attachment.name().as_str() == name {
            true => on.is_some() && wish.address.is_none() && !has,
            false => has,
        }
    }
}

#[derive(Debug)]
struct Entered {
    deed: Deed,
    /// Who was certain till it began.
    in_danger: Vec<Certain>,
    ended: Option<u64>,
}

/// A deed under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    at: u64,
    place: usize,
}

impl Certain {
    fn networks(&self) -> impl Iterator<Item = &str> {
        self.attachment.endpoints().iter().map(|endpoint| endpoint.network().as_str())
    }

    /// Its addresses, as they are kept for its name.
    fn to_keep(&self) -> impl Iterator<Item = Kept> {
        self.attachment.endpoints().iter().flat_map(|end| {
            let of = |address: &IpNet| Kept {
                network: end.network().to_string(),
                address: address.addr(),
                name: self.attachment.name().to_string(),
            };
            end.addresses().iter().map(of)
        })
    }

    /// Whether a deed may take it away.
    fn is_in_danger_of(&self, deed: &Deed) -> bool {
        takes_away(deed, self.attachment.name().as_str(), self.netns, self.networks())
    }
}

/// Whether a deed may take away who has this name, in this namespace, on these networks.
fn takes_away<'a>(deed: &Deed, of: &str, within: usize, mut networks: impl Iterator<Item = &'a str>) -> bool {
    match deed {
        Deed::Detach { name } | Deed::Keep { name } => name == of,
        Deed::RemoveWithAll { network } => networks.any(|on| on == network),
        Deed::Vanish { netns } => *netns == within,
        _ => false,
    }
}

/// Whether a deed may let go of an address that is kept.
fn may_go_by(kept: &Kept, deed: &Deed) -> bool {
    match deed {
        Deed::Release(other) => other == kept,
        // What was kept for the name on that network before is let go of.
        Deed::Keep { name } => *name == kept.name,
        Deed::RemoveWithAll { network } => *network == kept.network,
        _ => false,
    }
}

/// Everything that nobody else can have at the same time, each as a line.
pub(super) fn belongings(attachment: &Attachment) -> BTreeSet<String> {
    let own = [format!("name {}", attachment.name()), format!("netns {}", attachment.namespace().cookie())];
    let ports = attachment.published().iter().filter_map(|published| {
        published.host().map(|host| format!("port {}/{}", host.port(), published.protocol()))
    });
    let ends = attachment.endpoints().iter();
    let links = ends.clone().map(|end| format!("link {}", end.host_link()));
    let on = ends.flat_map(|end| end.addresses().iter().map(IpNet::addr));
    own.into_iter().chain(ports).chain(links).chain(on.map(|address| format!("address {address}"))).collect()
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A deed begins: what it may take away is not certain from here on.
    pub(super) fn begin(&self, deed: &Deed) -> Begun {
        let mut pages = self.pages();
        pages.now += 1;
        let (in_danger, certain) =
            take(&mut pages.certain).into_iter().partition(|certain| certain.is_in_danger_of(deed));
        pages.certain = certain;
        pages.kept.retain(|known| !may_go_by(&known.kept, deed));
        pages.deeds.push(Entered { deed: deed.clone(), in_danger, ended: None });
        Begun { at: pages.now, place: pages.deeds.len() - 1 }
    }

    /// A deed ended, well or not.
    pub(super) fn end(&self, begun: Begun) {
        let mut pages = self.pages();
        pages.now += 1;
        pages.deeds[begun.place].ended = Some(pages.now);
    }

    /// An attach succeeded: nothing that it got belongs to another who is certain to have it, or is kept for another,
    /// and it got what is kept for it.
    pub(super) fn enter(&self, begun: Begun, attachment: Attachment, wish: &Wish) -> Result<(), String> {
        let mut pages = self.pages();
        let broken = |known: &&Known| known.since < begun.at && known.is_broken_by(&attachment, wish);
        if let Some(known) = pages.kept.iter().find(broken) {
            return Err(format!("{known:?}, but {attachment:?} was made as {wish:?}"));
        }
        let certain = Certain { attachment, netns: wish.netns, since: pages.now };
        if pages.may_be_gone(begun, &certain) {
            return Ok(());
        }
        let got = belongings(&certain.attachment);
        for other in &pages.certain {
            let twice: Vec<_> = belongings(&other.attachment).intersection(&got).cloned().collect();
            if !twice.is_empty() {
                return Err(format!("had twice: {twice:?}, by {certain:?} and {other:?}"));
            }
        }
        pages.certain.push(certain);
        Ok(())
    }

    /// Somebody was detached, and these addresses are on record since as kept for that name: his own are among them,
    /// unless somebody else had to do with him meanwhile.
    pub(super) fn keep(&self, begun: Begun, kept: Vec<Kept>) -> Result<(), String> {
        let mut pages = self.pages();
        let all_let = |certain: &&Certain| pages.others(begun).all(|deed| !certain.is_in_danger_of(deed));
        let own = pages.deeds[begun.place].in_danger.iter().filter(all_let).flat_map(Certain::to_keep);
        let is_lost = |own: &Kept| !kept.contains(own) && pages.keeps(own, begun);
        if let Some(lost) = own.into_iter().find(is_lost) {
            return Err(format!("{lost:?} is not among {kept:?}"));
        }
        let since = pages.now;
        let known: Vec<_> = kept.into_iter().filter(|kept| pages.keeps(kept, begun)).collect();
        pages.kept.extend(known.into_iter().map(|kept| Known { kept, since }));
        Ok(())
    }

    /// An attach succeeded, and is on no record: somebody must have taken it away.
    pub(super) fn miss(&self, begun: Begun, wish: &Wish) -> Result<(), String> {
        let networks = || wish.networks.iter().map(String::as_str);
        match self.pages().since(begun).any(|deed| takes_away(deed, &wish.name, wish.netns, networks())) {
            true => Ok(()),
            false => Err(format!("{wish:?} succeeded, and is on no record")),
        }
    }

    /// A network was removed as unused: nobody is on it for certain who was on it when that began, and no address of it
    /// was kept then.
    pub(super) fn was_unused(&self, begun: Begun, network: &str) -> Result<(), String> {
        let pages = self.pages();
        let on_it =
            |certain: &&Certain| certain.since < begun.at && certain.networks().any(|on| on == network);
        if let Some(user) = pages.certain.iter().find(on_it) {
            return Err(format!("`{network}` was removed under {user:?}"));
        }
        let of_it = |known: &&Known| known.since < begun.at && known.kept.network == network;
        match pages.kept.iter().find(of_it) {
            None => Ok(()),
            Some(known) => Err(format!("`{network}` was removed with {known:?}")),
        }
    }

    /// Everything that is certain.
    pub(super) fn certain(&self) -> Vec<Certain> {
        self.pages().certain.clone()
    }

    /// Everything that was begun and has not ended.
    pub(super) fn under_way(&self) -> Vec<Deed> {
        self.pages()
            .deeds
            .iter()
            .filter(|entered| entered.ended.is_none())
            .map(|entered| entered.deed.clone())
            .collect()
    }

    /// Every address that is kept for certain.
    pub(super) fn kept(&self) -> Vec<Kept> {
        self.pages().kept.iter().map(|known| known.kept.clone()).collect()
    }

    /// Whether it is certain still.
    pub(super) fn stands(&self, certain: &Certain) -> bool {
        self.pages().certain.iter().any(|other| other.attachment.id() == certain.attachment.id())
    }
}

impl Pages {
    /// Who was at work when a deed began, or began since.
    fn since(&self, begun: Begun) -> impl Iterator<Item = &Deed> {
        self.at_work(begun).map(|(_, entered)| &entered.deed)
    }

    /// The same, but for who asks.
    fn others(&self, begun: Begun) -> impl Iterator<Item = &Deed> {
        self.at_work(begun).filter(move |(place, _)| *place != begun.place).map(|(_, entered)| &entered.deed)
    }

    /// Whether nobody was at work since then who may have let go of an address.
    fn keeps(&self, kept: &Kept, begun: Begun) -> bool {
        self.others(begun).all(|deed| !may_go_by(kept, deed))
    }

    fn at_work(&self, begun: Begun) -> impl Iterator<Item = (usize, &Entered)> {
        let at_work = move |entered: &Entered| entered.ended.is_none_or(|ended| ended > begun.at);
        self.deeds.iter().enumerate().filter(move |(_, entered)| at_work(entered))
    }

    /// Whether somebody was at work since the attach began who may have taken it away again.
    fn may_be_gone(&self, begun: Begun, certain: &Certain) -> bool {
        self.since(begun).any(|deed| certain.is_in_danger_of(deed))
    }
}
