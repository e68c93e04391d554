//! Which of several replicas leads: one Lease, written by compare-and-set, judged by this process's own clock.
//!
//! Invariants: another's Lease is taken only after it stood unchanged for its whole duration on our clock, or was
//! given back; who leads stops before others may take over, for `renew_within` < `lease`.

use std::time::Duration;

/// How long a leader leads without a sign of life, and how often it gives one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Others take over after a Lease stood unchanged for so long.
    pub lease: Duration,
    /// A leader whose last acknowledged renewal was sent longer ago than this leads no more.
    pub renew_within: Duration,
    /// Between two renewals, and between tries.
    pub retry: Duration,
}

impl Default for Timing {
    /// What Kubernetes' own components use: 15 s, 10 s, 2 s.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew_within: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// The Lease as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its resourceVersion.
    pub version: String,
    /// Who holds it; empty when it was given back.
    pub holder: String,
    /// How often it has passed from one to another.
    pub transitions: i32,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Create the Lease with this process as its holder.
    Create,
    /// Take the Lease: an update with the version, and the count of transitions to write.
    Take {
        /// The version that must still be stored.
        version: String,
        /// The count to write.
        transitions: i32,
    },
    /// Write the Lease again with a new time.
    Renew {
        /// The version that must still be stored.
        version: String,
        /// The count to write.
        transitions: i32,
    },
    /// Nothing before this time; for ever without one.
    Wait(Option<Duration>),
    /// Another leads, or nobody knows: stop at once.
    Lost,
}

/// How a write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The Lease is stored like this.
    Stored(Record),
    /// Somebody else has written it; a look shows who.
    Conflict,
    /// No answer, or a refusal.
    Failed,
}

#[derive(Debug, Clone)]
enum Seen {
    Nothing,
    Absent,
    Lease { record: Record, since: Duration },
}

/// One replica's view of the election.
#[derive(Debug, Clone)]
pub struct Election {
    me: String,
    timing: Timing,
    seen: Seen,
    /// When the last acknowledged renewal was sent, while this replica leads.
    held_since: Option<Duration>,
    not_before: Duration,
}

impl Election {
    /// A replica that has seen nothing. `me` must be unique, also between two starts of one pod.
    #[must_use]
    pub fn new(me: String, timing: Timing) -> Self {
        Self { me, timing, seen: Seen::Nothing, held_since: None, not_before: Duration::ZERO }
    }

    /// Whether this replica has taken the Lease.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.held_since.is_some()
    }

    /// What this replica holds: version and count of the Lease.
    #[must_use]
    pub fn held(&self) -> Option<(String, i32)> {
        match &self.seen {
            Seen::Lease { record, .. } if self.leads() && record.holder == self.me => {
                Some((record.version.clone(), record.transitions))
            }
            Seen::Lease { .. } | Seen::Absent | Seen::Nothing => None,
        }
    }

    /// The Lease is stored like this, or is absent. A watch that lags behind this replica's own writes changes nothing.
    pub fn observe(&mut self, record: Option<Record>, now: Duration) {
        if let (Some(record), Seen::Lease { record: known, .. }) = (&record, &self.seen)
            && is_older(&record.version, &known.version)
        {
            return;
        }
        self.seen = match (record, &self.seen) {
            (None, _) => Seen::Absent,
            (Some(record), Seen::Lease { record: known, since })
                if known.version == record.version =>
            {
                Seen::Lease { record, since: *since }
            }
            (Some(record), _) => Seen::Lease { record, since: now },
        };
    }

    /// All that exists has been shown: a Lease that was not is absent.
    pub fn shown_all(&mut self) {
        if matches!(self.seen, Seen::Nothing) {
            self.seen = Seen::Absent;
        }
    }

    /// What came of a write that was sent at `sent`.
    pub fn answered(&mut self, answer: Answer, sent: Duration, now: Duration) {
        match answer {
            Answer::Stored(record) => {
                self.held_since = Some(sent);
                self.seen = Seen::Lease { record, since: now };
                self.not_before = sent + self.timing.retry;
            }
            Answer::Conflict => {}
            Answer::Failed => self.not_before = now + self.timing.retry,
        }
    }

    /// What is to be done at `now`.
    #[must_use]
    pub fn step(&self, now: Duration) -> Step {
        match self.held_since {
            Some(since) => self.lead(since, now),
            None => self.stand_by(now),
        }
    }

    fn lead(&self, since: Duration, now: Duration) -> Step {
        let Seen::Lease { record, .. } = &self.seen else { return Step::Lost };
        let until = since + self.timing.renew_within;
        if record.holder != self.me || now >= until {
            return Step::Lost;
        }
        if now < self.not_before {
            return Step::Wait(Some(self.not_before.min(until)));
        }
        Step::Renew { version: record.version.clone(), transitions: record.transitions }
    }

    fn stand_by(&self, now: Duration) -> Step {
        let (step, from) = match &self.seen {
            Seen::Nothing => return Step::Wait(None),
            Seen::Absent => (Step::Create, Duration::ZERO),
            Seen::Lease { record, since } => {
                let free = record.holder.is_empty() || record.holder == self.me;
                let from = if free { Duration::ZERO } else { *since + self.timing.lease };
                let transitions = record.transitions.saturating_add(1);
                (Step::Take { version: record.version.clone(), transitions }, from)
            }
        };
        let from = from.max(self.not_before);
        if now < from { Step::Wait(Some(from)) } else { step }
    }
}

/// Of one object resourceVersions grow (Kubernetes documentation, "Resource versions"); what is no number is not compared.
fn is_older(version: &str, known: &str) -> bool {
    matches!((version.parse::<u128>(), known.parse::<u128>()), (Ok(version), Ok(known)) if version < known)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn record(version: &str, holder: &str) -> Option<Record> {
        Some(Record { version: version.to_owned(), holder: holder.to_owned(), transitions: 3 })
    }

    fn stored(version: &str) -> Answer {
        Answer::Stored(record(version, "me").unwrap())
    }

    fn election() -> Election {
        Election::new("me".to_owned(), Timing::default())
    }

    #[test]
    fn nothing_is_written_before_something_is_seen() {
        assert_eq!(election().step(at(100)), Step::Wait(None));
    }

    #[test]
    fn an_absent_lease_is_created_and_one_given_back_is_taken_at_once() {
        let mut election = election();
        election.shown_all();
        assert_eq!(election.step(at(0)), Step::Create);
        election.observe(record("1", ""), at(0));
        election.shown_all();
        assert_eq!(election.step(at(0)), Step::Take { version: "1".to_owned(), transitions: 4 });
    }

    #[test]
    fn anothers_lease_is_taken_when_it_stood_still_for_its_whole_duration() {
        let mut election = election();
        election.observe(record("1", "other"), at(0));
        election.observe(record("2", "other"), at(10));
        // Seen again, unchanged: the clock goes on.
        election.observe(record("2", "other"), at(20));
        assert_eq!(election.step(at(24)), Step::Wait(Some(at(25))));
        assert_eq!(election.step(at(25)), Step::Take { version: "2".to_owned(), transitions: 4 });
        election.answered(Answer::Conflict, at(25), at(25));
        election.observe(record("3", "third"), at(25));
        assert_eq!(election.step(at(26)), Step::Wait(Some(at(40))));
        assert!(!election.leads());
    }

    #[test]
    fn a_leader_renews_and_stops_before_others_may_take_over() {
        let mut election = election();
        election.observe(None, at(0));
        election.answered(stored("1"), at(1), at(2));
        assert!(election.leads());
        assert_eq!(election.step(at(2)), Step::Wait(Some(at(3))));
        let renew = Step::Renew { version: "1".to_owned(), transitions: 3 };
        assert_eq!(election.step(at(3)), renew);
        election.answered(Answer::Failed, at(3), at(4));
        assert_eq!(election.step(at(5)), Step::Wait(Some(at(6))));
        assert_eq!(election.step(at(6)), renew);
        election.answered(Answer::Failed, at(6), at(10));
        // Ten seconds after the last acknowledged renewal was sent, not after its answer.
        assert_eq!(election.step(at(10)), Step::Wait(Some(at(11))));
        assert_eq!(election.step(at(11)), Step::Lost);
    }

    #[test]
    fn a_leader_that_sees_another_stops_and_one_whose_lease_somebody_edited_goes_on() {
        let mut election = election();
        election.answered(stored("1"), at(1), at(1));
        election.observe(record("2", "me"), at(2));
        assert_eq!(election.step(at(3)), Step::Renew { version: "2".to_owned(), transitions: 3 });
        election.observe(record("3", "other"), at(3));
        assert_eq!(election.step(at(3)), Step::Lost);
        assert_eq!(election.held(), None);
        election.observe(None, at(3));
        assert_eq!(election.step(at(3)), Step::Lost);
    }

    #[test]
    fn a_watch_that_lags_behind_ones_own_write_changes_nothing() {
        let mut election = election();
        election.answered(stored("10"), at(1), at(1));
        election.observe(record("9", "other"), at(2));
        assert_eq!(election.held(), Some(("10".to_owned(), 3)));
        election.observe(record("11", "other"), at(2));
        assert_eq!(election.step(at(2)), Step::Lost);
    }
}
