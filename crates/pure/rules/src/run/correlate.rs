//! Which notes become Events: the same one again raises a count, and nobody may flood the API server.
//!
//! `now` is a reading of a monotonic clock. Invariants: at most [`BURST`] writes at once and [`PER_SECOND`] in the long
//! run; at most [`REMEMBERED`] Events are remembered.

use super::notes::Note;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Writes at once.
pub const BURST: u32 = 100;
/// Writes a second in the long run.
pub const PER_SECOND: u32 = 10;
/// Events that a repeated note may raise the count of.
pub const REMEMBERED: usize = 1000;
/// An Event older than this gets no more counts: the API server forgets Events after an hour.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// What is to be written for a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// A new Event.
    Create,
    /// The Event of this name has happened this often.
    Count {
        /// Its name.
        name: String,
        /// How often.
        count: i32,
    },
    /// Nothing: too much was written lately.
    Drop,
}

/// UID of the Run, reason, message.
type Key = (String, &'static str, String);

#[derive(Debug)]
struct Known {
    name: String,
    count: i32,
    used: (Duration, u64),
}

/// What was written lately.
#[derive(Debug)]
pub struct Correlator {
    known: BTreeMap<Key, Known>,
    oldest: BTreeSet<((Duration, u64), Key)>,
    uses: u64,
    /// When the next write is within the rate; writes may run ahead by [`BURST`].
    paid_until: Duration,
}

impl Default for Correlator {
    fn default() -> Self {
        Self {
            known: BTreeMap::new(),
            oldest: BTreeSet::new(),
            uses: 0,
            paid_until: Duration::ZERO,
        }
    }
}

impl Correlator {
    /// Decides about one note. A [`Write::Count`] counts as written.
    pub fn decide(&mut self, note: &Note, now: Duration) -> Write {
        self.forget(now);
        let price = Duration::from_secs(1) / PER_SECOND;
        let paid = self.paid_until.max(now) + price;
        if paid > now + price * BURST {
            return Write::Drop;
        }
        self.paid_until = paid;
        let key = key(note);
        let Some(known) = self.known.get_mut(&key) else { return Write::Create };
        known.count = known.count.saturating_add(1);
        let write = Write::Count { name: known.name.clone(), count: known.count };
        self.use_again(key, now);
        write
    }

    /// The Event of this name was created for the note.
    pub fn created(&mut self, note: &Note, name: String, now: Duration) {
        let key = key(note);
        let used = (now, self.uses);
        if let Some(former) = self.known.insert(key.clone(), Known { name, count: 1, used }) {
            self.oldest.remove(&(former.used, key.clone()));
        }
        self.oldest.insert((used, key));
        self.uses += 1;
        while self.known.len() > REMEMBERED {
            self.forget_oldest();
        }
    }

    /// The Event of the note is gone: the next one is a new one.
    pub fn lost(&mut self, note: &Note) {
        let key = key(note);
        if let Some(known) = self.known.remove(&key) {
            self.oldest.remove(&(known.used, key));
        }
    }

    fn use_again(&mut self, key: Key, now: Duration) {
        let used = (now, self.uses);
        self.uses += 1;
        if let Some(known) = self.known.get_mut(&key) {
            self.oldest.remove(&(known.used, key.clone()));
            known.used = used;
            self.oldest.insert((used, key));
        }
    }

    fn forget(&mut self, now: Duration) {
        while let Some(((used, _), _)) = self.oldest.first()
            && *used + FORGOTTEN_AFTER <= now
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.oldest.pop_first() {
            self.known.remove(&key);
        }
    }
}

fn key(note: &Note) -> Key {
    (note.about.uid.clone().unwrap_or_default(), note.reason, note.message.clone())
}

#[cfg(test)]
mod tests {
    use super::super::notes::Severity;
    use super::*;
    use k8s_openapi::api::core::v1::ObjectReference;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn note(uid: &str, message: &str) -> Note {
        let about = ObjectReference { uid: Some(uid.to_owned()), ..ObjectReference::default() };
        Note { about, severity: Severity::Warning, reason: "R", message: message.to_owned() }
    }

    fn count(name: &str, count: i32) -> Write {
        Write::Count { name: name.to_owned(), count }
    }

    #[test]
    fn the_same_again_raises_the_count_of_one_event() {
        let mut written = Correlator::default();
        let one = note("a", "m");
        assert_eq!(written.decide(&one, at(0)), Write::Create);
        // Not created after all: the next one is.
        assert_eq!(written.decide(&one, at(0)), Write::Create);
        written.created(&one, "e1".to_owned(), at(0));
        assert_eq!(written.decide(&one, at(1)), count("e1", 2));
        assert_eq!(written.decide(&one, at(2)), count("e1", 3));
        for other in [note("b", "m"), note("a", "n"), Note { reason: "S", ..note("a", "m") }] {
            assert_eq!(written.decide(&other, at(3)), Write::Create, "{other:?}");
        }
        written.lost(&one);
        assert_eq!(written.decide(&one, at(4)), Write::Create);
    }

    #[test]
    fn an_event_is_forgotten_ten_minutes_after_its_last_count() {
        let mut written = Correlator::default();
        let one = note("a", "m");
        written.created(&one, "e1".to_owned(), at(0));
        assert_eq!(written.decide(&one, at(599)), count("e1", 2));
        assert_eq!(written.decide(&one, at(1198)), count("e1", 3));
        assert_eq!(written.decide(&one, at(1798)), Write::Create);
    }

    #[test]
    fn a_thousand_events_are_remembered_and_the_oldest_goes_first() {
        let mut written = Correlator::default();
        for number in 0..=REMEMBERED {
            let name = number.to_string();
            written.created(&note(&name, "m"), name, at(0));
        }
        assert_eq!(written.decide(&note("0", "m"), at(1)), Write::Create);
        assert_eq!(written.decide(&note("1", "m"), at(1)), count("1", 2));
        assert_eq!((written.known.len(), written.oldest.len()), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn a_flood_is_cut_to_a_burst_and_a_rate() {
        let mut written = Correlator::default();
        let mut creations = |now: Duration, tries: u32| {
            (0..tries)
                .filter(|number| {
                    written.decide(&note(&number.to_string(), "m"), now) == Write::Create
                })
                .count()
        };
        assert_eq!(creations(at(100), 500), 100);
        assert_eq!(creations(at(100), 500), 0);
        assert_eq!(creations(at(101), 500), 10);
        assert_eq!(creations(at(111), 500), 100);
    }
}
