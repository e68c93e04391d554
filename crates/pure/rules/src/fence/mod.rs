//! A pod's Lease, as the pod holds it (ADR 6): when it may execute, when it must kill, what it writes next.
//!
//! `now` is a reading of CLOCK_BOOTTIME. Invariants: nothing is held longer than `fence_after` from when the last
//! acknowledged renewal was sent; nothing is held from the moment a release is sent; after a break the Lease is taken
//! again only once the pod has said that all is cleared.

use crate::mutant::{self, Mutant};
pub mod object;

use std::time::Duration;

/// How long, how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// What executes is killed when the last acknowledged renewal was sent so long ago.
    pub fence_after: Duration,
    /// Between two renewals.
    pub renew_every: Duration,
    /// A pod without work gives its Lease back after this time.
    pub release_after: Duration,
    /// After a request that failed.
    pub retry: Duration,
}

/// The API server gives a request up after this time (kube-apiserver's `--request-timeout`): until then one that was not
/// answered may yet be stored.
const STORED_WITHIN: Duration = Duration::from_secs(60);

impl Timing {
    /// The usual times with this `fence_after`: a renewal every 3 s, and at least three before the fence.
    #[must_use]
    pub fn fencing_after(fence_after: Duration) -> Self {
        Self {
            fence_after,
            renew_every: Duration::from_secs(3).min(fence_after / 3),
            release_after: Duration::from_secs(10),
            retry: Duration::from_millis(500),
        }
    }
}

/// The Lease as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseView {
    /// Its resourceVersion.
    pub version: String,
    /// Who holds it.
    pub holder: LeaseHolder,
}

/// Who holds a Lease, as its pod reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseHolder {
    /// This pod: its UID is the holder's identity.
    Me,
    /// Nobody, or an earlier pod of the same name.
    Nobody,
    /// Nobody: the controller broke it.
    Broken,
}

/// What is to be done. Each request is answered by [`Holder::looked`] or [`Holder::answered`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read the Lease consistently.
    Look,
    /// Write the Lease with this pod as its holder and not broken: an update of that version, or a creation.
    Hold(Option<String>),
    /// Write the Lease without a holder: an update of that version.
    Release(String),
    /// Kill what executes. What has not started waits for the Lease.
    Fence,
    /// Kill what executes and hand back the rest, list the Runs consistently and hand back those too; when each of these
    /// writes was accepted or refused, say so by [`Holder::cleared`].
    Clear,
    /// Nothing before this time; nothing at all without one.
    Wait(Option<Duration>),
}

/// How a write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was accepted; this is the new version.
    Stored(String),
    /// Another version is stored, or none, or one where none was expected.
    Conflict,
    /// No answer, or a refusal: it may have been accepted.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Nothing,
    Absent,
    Stored { version: String, holder: LeaseHolder },
    Broken { version: Option<String>, cleared: Cleared },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cleared {
    No,
    Asked,
    Yes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Look,
    Hold,
    Release,
}

/// One pod's view of its Lease.
#[derive(Debug, Clone)]
pub struct Holder {
    timing: Timing,
    seen: Seen,
    /// Whether the last renewal was acknowledged, and nothing casts doubt on it.
    acknowledged: bool,
    /// When what executes must be dead. It stands, or has just been killed, whenever something may execute.
    fence_at: Option<Duration>,
    renew_at: Duration,
    under_way: Option<Request>,
    /// Whether the stored Lease is to be looked at before anything else.
    doubt: bool,
    works: bool,
    idle_since: Duration,
    not_before: Duration,
    /// When a write that was not answered is stored, if it ever is: the Lease is looked at then.
    stored_by: Option<Duration>,
}

impl Holder {
    /// A pod that executes nothing and knows nothing of its Lease.
    #[must_use]
    pub fn new(timing: Timing, now: Duration) -> Self {
        Self {
            timing,
            seen: Seen::Nothing,
            acknowledged: false,
            fence_at: None,
            renew_at: now,
            under_way: None,
            doubt: false,
            works: false,
            idle_since: now,
            not_before: now,
            stored_by: None,
        }
    }

    /// A runtimed that started again in a pod whose executions may have lived on: it has work until its first list says
    /// otherwise.
    #[must_use]
    pub fn resume(timing: Timing, now: Duration) -> Self {
        let fence_at = Some(now + timing.fence_after);
        Self { fence_at, doubt: true, works: true, ..Self::new(timing, now) }
    }

    /// With an earlier life: a request of that one may yet be stored, after the first look of this one.
    #[must_use]
    pub fn after_another(self, now: Duration) -> Self {
        Self { stored_by: Some(now + STORED_WITHIN), ..self }
    }

    /// Whether something may begin to execute.
    #[must_use]
    pub fn is_held(&self, now: Duration) -> bool {
        self.held_until().is_some_and(|until| now < until)
    }

    /// Until when the Lease is held, if nothing else is heard of it.
    #[must_use]
    pub fn held_until(&self) -> Option<Duration> {
        self.fence_at.filter(|_| self.acknowledged)
    }

    /// The pod has Runs.
    pub fn work(&mut self) {
        self.works = true;
    }

    /// The pod has no Runs any more.
    pub fn idle(&mut self, now: Duration) {
        if std::mem::take(&mut self.works) {
            self.idle_since = now;
        }
    }

    /// The pod may have slept through something: it looks at its Lease although it has no work.
    pub fn suspect(&mut self) {
        self.doubt = true;
    }

    /// What [`Step::Look`] has shown.
    pub fn looked(&mut self, stored: Option<LeaseView>) {
        self.under_way = None;
        self.doubt = false;
        let had = self.fence_at.is_some()
            || matches!(self.seen, Seen::Stored { .. } | Seen::Broken { .. });
        let holds = self.fence_at.is_some();
        let known = self.seen.clone();
        let broken = |version| match known {
            // Cleared for this very break.
            Seen::Broken { version: cleared_for, cleared: Cleared::Yes }
                if cleared_for == version =>
            {
                Seen::Broken { version, cleared: Cleared::Yes }
            }
            Seen::Broken { .. } | Seen::Stored { .. } | Seen::Absent | Seen::Nothing => {
                Seen::Broken { version, cleared: Cleared::No }
            }
        };
        self.seen = match stored {
            None if had => broken(None),
            None => Seen::Absent,
            Some(LeaseView { version, holder: LeaseHolder::Broken }) => broken(Some(version)),
            Some(LeaseView { version, holder: LeaseHolder::Nobody }) if holds => {
                broken(Some(version))
            }
            Some(LeaseView { version, holder }) => Seen::Stored { version, holder },
        };
    }

    /// [`Step::Look`] got no answer.
    pub fn not_looked(&mut self, now: Duration) {
        self.under_way = None;
        self.not_before = now + self.timing.retry;
    }

    /// What came of a write that was sent at `sent`.
    pub fn answered(&mut self, answer: Answer, sent: Duration, now: Duration) {
        let request = self.under_way.take();
        match (answer, request) {
            (Answer::Stored(version), Some(Request::Hold)) => {
                self.seen = Seen::Stored { version, holder: LeaseHolder::Me };
                self.acknowledged = true;
                self.fence_at = Some(sent + self.timing.fence_after);
                self.renew_at = sent + self.timing.renew_every;
            }
            (Answer::Stored(version), Some(Request::Release)) => {
                self.seen = Seen::Stored { version, holder: LeaseHolder::Nobody };
            }
            (Answer::Conflict, _) => {
                self.acknowledged = false;
                self.doubt = true;
            }
            (Answer::Failed, _) => {
                self.not_before = now + self.timing.retry;
                self.stored_by = Some(sent + STORED_WITHIN);
                // What may have been accepted leaves the stored Lease unknown, but for a renewal, which changes no holder.
                let mine = matches!(self.seen, Seen::Stored { holder: LeaseHolder::Me, .. });
                self.doubt |= (!mine && !mutant::is(Mutant::TakingForgotten))
                    || request == Some(Request::Release);
            }
            (Answer::Stored(_), Some(Request::Look) | None) => {}
        }
    }

    /// All that [`Step::Clear`] asks for is done.
    pub fn cleared(&mut self) {
        if let Seen::Broken { cleared, .. } = &mut self.seen
            && *cleared == Cleared::Asked
        {
            *cleared = Cleared::Yes;
        }
    }

    /// What is to be done at `now`. A request that it returns counts as sent.
    pub fn step(&mut self, now: Duration) -> Step {
        if self.fence_at.is_some_and(|at| at <= now) {
            self.fence_at = None;
            self.acknowledged = false;
            return Step::Fence;
        }
        if self.under_way.is_some() {
            return Step::Wait(self.fence_at);
        }
        self.doubt |= self.stored_by.take_if(|at| *at <= now).is_some();
        if now < self.not_before {
            return self.wait(self.not_before);
        }
        if self.doubt && !self.is_clearing() {
            return self.send(Request::Look, Step::Look);
        }
        match self.seen.clone() {
            Seen::Nothing if self.works => self.send(Request::Look, Step::Look),
            Seen::Absent if self.works => self.send(Request::Hold, Step::Hold(None)),
            Seen::Nothing | Seen::Absent => self.rest(),
            Seen::Stored { version, holder } => self.keep(version, holder, now),
            Seen::Broken { version, cleared } => self.recover(version, cleared),
        }
    }

    fn is_clearing(&self) -> bool {
        matches!(self.seen, Seen::Broken { cleared: Cleared::Asked, .. })
    }

    fn keep(&mut self, version: String, holder: LeaseHolder, now: Duration) -> Step {
        let mine = holder == LeaseHolder::Me;
        let release_at = self.idle_since + self.timing.release_after;
        if self.works && (!self.acknowledged || self.renew_at <= now) {
            return self.send(Request::Hold, Step::Hold(Some(version)));
        }
        if self.works {
            return self.wait(self.renew_at);
        }
        if !mine {
            return self.rest();
        }
        if release_at <= now {
            // Nothing executes: and from here on nothing may, for the release may be stored before its answer comes.
            self.acknowledged = false;
            self.fence_at = None;
            return self.send(Request::Release, Step::Release(version));
        }
        if self.acknowledged && self.renew_at <= now {
            return self.send(Request::Hold, Step::Hold(Some(version)));
        }
        self.wait(if self.acknowledged { release_at.min(self.renew_at) } else { release_at })
    }

    fn recover(&mut self, version: Option<String>, cleared: Cleared) -> Step {
        match cleared {
            Cleared::No => {
                self.seen = Seen::Broken { version, cleared: Cleared::Asked };
                self.acknowledged = false;
                self.fence_at = None;
                Step::Clear
            }
            Cleared::Asked => Step::Wait(None),
            // Also without work: the scheduler gives a broken pod none.
            Cleared::Yes => self.send(Request::Hold, Step::Hold(version)),
        }
    }

    fn send(&mut self, request: Request, step: Step) -> Step {
        self.under_way = Some(request);
        step
    }

    fn wait(&self, until: Duration) -> Step {
        Step::Wait([self.fence_at, self.stored_by, Some(until)].into_iter().flatten().min())
    }

    fn rest(&self) -> Step {
        Step::Wait([self.fence_at, self.stored_by].into_iter().flatten().min())
    }
}

#[cfg(test)]
mod tests;
