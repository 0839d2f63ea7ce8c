//! Who is watched, by id. An id is a place in a list and a count, so that none is given twice, though places are:
//! what comes late for somebody who has left is nobody's.
//!
//! A list, since thousands are on it who only sleep: it takes two words for each, and nothing is hashed.

use std::sync::Arc;

use crate::engine::Look;

#[derive(Debug, Default)]
pub(crate) struct Roster {
    places: Vec<Place>,
    /// The first that is free, if any is.
    free: Option<u32>,
    /// How many ids were given.
    given: u32,
}

#[derive(Debug)]
enum Place {
    Taken(Arc<dyn Look>),
    Free { next: Option<u32> },
}

impl Roster {
    /// Enters whoever is made with this id, which is never 0.
    pub(crate) fn enter<T: Look + 'static>(&mut self, make: impl FnOnce(u64) -> Arc<T>) -> Arc<T> {
        self.given = self.given.wrapping_add(1);
        let place = self.free.unwrap_or_else(|| {
            self.places.push(Place::Free { next: None });
            u32::try_from(self.places.len() - 1).expect("fewer than 4 billion")
        });
        let who = make(u64::from(self.given) << 32 | u64::from(place + 1));
        if let Place::Free { next } =
            std::mem::replace(&mut self.places[place as usize], Place::Taken(who.clone()))
        {
            self.free = next;
        }
        who
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Arc<dyn Look>> {
        match self.places.get(place(id)?)? {
            Place::Taken(who) => Some(who).filter(|who| who.id() == id),
            Place::Free { .. } => None,
        }
    }

    pub(crate) fn leave(&mut self, id: u64) -> Option<Arc<dyn Look>> {
        self.get(id)?;
        let place = place(id)?;
        let left = std::mem::replace(&mut self.places[place], Place::Free { next: self.free });
        self.free = u32::try_from(place).ok();
        match left {
            Place::Taken(who) => Some(who),
            Place::Free { .. } => None,
        }
    }
}

fn place(id: u64) -> Option<usize> {
    usize::try_from(id & u64::from(u32::MAX)).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Somebody(u64);

    impl Look for Somebody {
        fn id(&self) -> u64 {
            self.0
        }

        fn look(self: Arc<Somebody>, _ready: bool) {}
    }

    fn somebody(id: u64) -> Arc<Somebody> {
        Arc::new(Somebody(id))
    }

    #[test]
    fn a_place_is_given_again_and_a_name_is_not() {
        let mut roster = Roster::default();
        let ids: Vec<u64> = (0..4).map(|_| roster.enter(somebody).0).collect();
        assert!(!ids.contains(&0));
        assert!(ids.iter().all(|id| roster.get(*id).expect("entered").id() == *id));

        assert_eq!(roster.leave(ids[2]).expect("entered").id(), ids[2]);
        assert_eq!(roster.leave(ids[0]).expect("entered").id(), ids[0]);
        assert!(roster.get(ids[2]).is_none() && roster.leave(ids[2]).is_none());

        let more: Vec<u64> = (0..3).map(|_| roster.enter(somebody).0).collect();
        assert_eq!(roster.places.len(), 5);
        assert!(ids.iter().all(|id| !more.contains(id)));
        assert!(roster.get(ids[2]).is_none() && roster.leave(ids[0]).is_none());
        assert!([ids[1], ids[3]].iter().chain(&more).all(|id| roster.get(*id).is_some()));
    }

    #[test]
    fn two_words_each() {
        assert_eq!(size_of::<Place>(), 2 * size_of::<usize>());
    }
}
