//! What is made ahead, and whom it is fit for. Nothing here looks or acts.

use crate::{AttachmentId, Container, ContainerName, Endpoint, NetworkName};
use linkspan_net_types::IfName;
use std::collections::VecDeque;

/// Which containers something made ahead is fit for: those with these endpoints, but for their addresses and MACs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fit(Vec<(NetworkName, Option<IfName>)>);

impl Fit {
    pub(crate) fn of(endpoints: &[Endpoint]) -> Self {
        Self(endpoints.iter().map(|end| (end.network().clone(), end.wanted_link())).collect())
    }

    /// The wish that something of this kind is made for.
    pub(crate) fn wish(&self, id: AttachmentId) -> Container {
        let endpoint = |(network, link): &(NetworkName, Option<IfName>)| {
            link.iter().fold(Endpoint::new(network.clone()), |endpoint, link| endpoint.link(*link))
        };
        self.0.iter().map(endpoint).fold(Container::new(name(id)), Container::on)
    }
}

/// What it is called until it is handed out.
fn name(id: AttachmentId) -> ContainerName {
    format!("warm-{id}").parse().expect("letters, a dash and digits are a name")
}

/// What waits to be handed out, and what is being made: of each kind no more than is wanted.
#[derive(Debug)]
pub(crate) struct Shelf<T> {
    waiting: VecDeque<(Fit, T)>,
    begun: Vec<Fit>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), begun: Vec::new() }
    }
}

impl<T> Shelf<T> {
    /// Keeps a place for one more of this kind, unless so many wait or are being made. Whoever has the place
    /// [ends](Self::end) it.
    pub(crate) fn begin(&mut self, fit: &Fit, size: usize) -> bool {
        let there = self.waiting.iter().map(|(fit, _)| fit).chain(&self.begun).filter(|there| *there == fit);
        let has_room = there.count() < size;
        if has_room {
            self.begun.push(fit.clone());
        }
        has_room
    }

    /// Puts what was made into its place, or gives the place up.
    pub(crate) fn end(&mut self, fit: Fit, made: Option<T>) {
        if let Some(place) = self.begun.iter().position(|begun| *begun == fit) {
            self.begun.swap_remove(place);
        }
        self.waiting.extend(made.map(|made| (fit, made)));
    }

    /// Hands out what waited longest of this kind.
    pub(crate) fn take(&mut self, fit: &Fit) -> Option<T> {
        let place = self.waiting.iter().position(|(there, _)| there == fit)?;
        self.waiting.remove(place).map(|(_, taken)| taken)
    }

    /// Takes back what was handed out and not used; it is the next to go.
    pub(crate) fn put_back(&mut self, fit: Fit, unused: T) {
        self.waiting.push_front((fit, unused));
    }

    /// Hands out all that waits.
    pub(crate) fn clear(&mut self) -> Vec<T> {
        self.waiting.drain(..).map(|(_, taken)| taken).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fit(networks: &[&str]) -> Fit {
        let endpoints: Vec<_> = networks.iter().map(|name| Endpoint::new(name.parse().unwrap())).collect();
        Fit::of(&endpoints)
    }

    #[test]
    fn an_address_is_no_part_of_the_kind_and_the_name_of_a_link_is() {
        let plain = Endpoint::new("web".parse().unwrap());
        let check = |other: Endpoint, same: bool| {
            assert_eq!(Fit::of(std::slice::from_ref(&plain)) == Fit::of(std::slice::from_ref(&other)), same);
        };
        check(plain.clone().address("10.88.0.9".parse().unwrap()), true);
        check(plain.clone().mac("02:00:00:00:00:09".parse().unwrap()), true);
        check(plain.clone().link("net0".parse().unwrap()), false);
        check(Endpoint::new("db".parse().unwrap()), false);
    }

    #[test]
    fn what_waited_longest_goes_first_and_what_was_not_used_before_all() {
        let (web, db) = (fit(&["web"]), fit(&["db"]));
        let mut shelf = Shelf::default();
        for (fit, made) in [(&web, 1), (&db, 2), (&web, 3)] {
            assert!(shelf.begin(fit, 2));
            shelf.end(fit.clone(), Some(made));
        }
        assert_eq!(shelf.take(&web), Some(1));
        shelf.put_back(web.clone(), 1);
        assert_eq!((shelf.take(&web), shelf.take(&web), shelf.take(&web)), (Some(1), Some(3), None));
        assert_eq!(shelf.clear(), [2]);
        assert_eq!(shelf.take(&db), None);
    }

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Begin(usize),
        Made,
        GivenUp,
        Taken(usize),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            3 => (0usize..2).prop_map(Act::Begin),
            2 => Just(Act::Made),
            1 => Just(Act::GivenUp),
            1 => (0usize..2).prop_map(Act::Taken)
        ];
        proptest::collection::vec(act, 0..60)
    }

    proptest! {
        #[test]
        fn of_each_kind_there_are_never_more_than_wanted(acts in acts(), size in 0usize..4) {
            let kinds = [fit(&["web"]), fit(&[])];
            let (mut shelf, mut begun, mut there) = (Shelf::default(), Vec::new(), [0usize; 2]);
            for act in acts {
                match act {
                    Act::Begin(kind) => {
                        let has_room = there[kind] < size;
                        prop_assert_eq!(shelf.begin(&kinds[kind], size), has_room);
                        if has_room {
                            there[kind] += 1;
                            begun.push(kind);
                        }
                    }
                    Act::Made => begun.pop().into_iter().for_each(|kind| {
                        shelf.end(kinds[kind].clone(), Some(kind));
                    }),
                    Act::GivenUp => begun.pop().into_iter().for_each(|kind| {
                        there[kind] -= 1;
                        shelf.end(kinds[kind].clone(), None);
                    }),
                    Act::Taken(kind) => {
                        let waiting = there[kind] - begun.iter().filter(|begun| **begun == kind).count();
                        prop_assert_eq!(shelf.take(&kinds[kind]), (waiting > 0).then_some(kind));
                        there[kind] -= usize::from(waiting > 0);
                    }
                }
            }
        }
    }
}
