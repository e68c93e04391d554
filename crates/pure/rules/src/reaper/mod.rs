//! When the controller breaks a pod's Lease, and which Runs it takes from that pod (ADR 6).
//!
//! `now` is a reading of a monotonic clock. Invariants: a Run is taken on the kubelet's word, on the absence of its pod
//! and of its Lease, or under a break that stands on a version of the Lease seen unchanged for `reap_after`; it is taken
//! as it was remembered before that break. No pod waits for another one's answer.

mod decide;
mod takes;
mod times;
mod view;

use crate::mutant::{self, Mutant};
use crate::placement::RunKey;
use kruntimes_api::{Phase, Reason, Run};
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use takes::Takes;
pub use times::{InvalidTimes, Times};
pub use view::{
    BreakAnswer, FindAnswer, LeaseSeen, Life, Order, PodId, PodKey, PodSeen, Request, TakeAnswer,
};

/// An assigned Run.
#[derive(Debug)]
struct Assigned {
    run: Arc<Run>,
    pod: PodId,
    /// Since when this attempt is seen there.
    since: Duration,
    /// It was taken: the watch will show it.
    is_taken: bool,
    namespace_asked: bool,
}

/// A pod with assigned Runs.
#[derive(Debug, Default)]
struct Site {
    runs: BTreeSet<RunKey>,
    /// Since when the pod is known not to exist.
    gone_since: Option<Duration>,
    /// The count began anew: a request failed, or met another version.
    restart: Duration,
    request: Option<Remembered>,
    /// A break that stands on the absence of a Lease: what is remembered is taken only if the pod exists. While it does
    /// nobody removes its Lease, so none came and went since the absence was seen.
    confirm: Option<Remembered>,
    timer: Option<Duration>,
}

/// What a request that is under way is about.
#[derive(Debug)]
struct Remembered {
    runs: Vec<Arc<Run>>,
    /// Whether the pod may have executed under the Lease that is being broken.
    claimed: bool,
    about: About,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// This version of the Lease, or its absence.
    Break { absent: bool },
    /// A pod that is to exist.
    Confirm,
    /// A pod that is gone, and its Lease too.
    Absence,
}

/// The Lease that has a pod's name.
#[derive(Debug)]
struct LeaseState {
    /// Nothing when there is none.
    version: Option<String>,
    claimed_by: Option<String>,
    since: Duration,
    /// A watch has shown it: it shows its end too.
    shown: bool,
}

/// Assigned Runs, their pods and their Leases.
#[derive(Debug)]
pub struct Reaper {
    reap_after: Duration,
    runs: BTreeMap<RunKey, Assigned>,
    sites: BTreeMap<PodId, Site>,
    pods: BTreeMap<PodKey, (String, Life)>,
    /// Pods that are gone of which the kubelet had given its word, for as long as a Run of theirs may yet be seen.
    terminated: BTreeSet<PodId>,
    terminated_at: VecDeque<(Duration, PodId)>,
    leases: BTreeMap<PodKey, LeaseState>,
    pods_synced: bool,
    leases_synced: bool,
    /// Since when the watch of Leases is without an interruption.
    live_since: Duration,
    dirty: BTreeSet<PodId>,
    timers: BTreeSet<(Duration, PodId)>,
    takes: Takes,
    under_way: usize,
}

impl Reaper {
    /// Of a controller that has seen nothing yet.
    #[must_use]
    pub fn new(reap_after: Duration) -> Self {
        Self {
            reap_after,
            runs: BTreeMap::new(),
            sites: BTreeMap::new(),
            pods: BTreeMap::new(),
            terminated: BTreeSet::new(),
            terminated_at: VecDeque::new(),
            leases: BTreeMap::new(),
            pods_synced: false,
            leases_synced: false,
            live_since: Duration::ZERO,
            dirty: BTreeSet::new(),
            timers: BTreeSet::new(),
            takes: Takes::default(),
            under_way: 0,
        }
    }

    /// A Run is like this. One that is not assigned counts as gone.
    pub fn run_seen(&mut self, run: Arc<Run>, now: Duration) {
        let key = RunKey::of(&run);
        let Some(pod) = view::pod_of(&run) else { return self.run_gone(&key) };
        let known = self.runs.get(&key);
        if known.is_some_and(|known| known.run.resource_version() == run.resource_version()) {
            return;
        }
        let same = known.filter(|known| known.pod == pod && is_same_attempt(&known.run, &run));
        let (since, namespace_asked) =
            same.map_or((now, false), |known| (known.since, known.namespace_asked));
        self.run_gone(&key);
        self.sites.entry(pod.clone()).or_default().runs.insert(key.clone());
        self.dirty.insert(pod.clone());
        self.runs.insert(key, Assigned { run, pod, since, is_taken: false, namespace_asked });
    }

    /// A Run is gone, or not assigned any more.
    pub fn run_gone(&mut self, key: &RunKey) {
        self.takes.cancel(key);
        let Some(known) = self.runs.remove(key) else { return };
        if let Some(site) = self.sites.get_mut(&known.pod) {
            site.runs.remove(key);
        }
        self.drop_idle(&known.pod);
    }

    /// A pod is like this.
    pub fn pod_seen(&mut self, seen: PodSeen, now: Duration) {
        let PodSeen { id, life } = seen;
        let known = self.pods.get(&id.key);
        if known.is_some_and(|(uid, former)| *uid == id.uid && *former == life) {
            return;
        }
        if known.is_some_and(|(uid, _)| *uid != id.uid) {
            self.pod_gone(&id.key, now);
        }
        self.touch(&id.key);
        self.pods.insert(id.key, (id.uid, life));
    }

    /// A pod is gone.
    pub fn pod_gone(&mut self, key: &PodKey, now: Duration) {
        let Some((uid, life)) = self.pods.remove(key) else { return };
        let id = PodId { key: key.clone(), uid };
        if let Some(site) = self.sites.get_mut(&id) {
            site.gone_since = Some(now);
        }
        let dead = life == Life::Terminated || mutant::is(Mutant::GoneIsDead);
        if dead && self.terminated.insert(id.clone()) {
            self.terminated_at.push_back((now, id));
        }
        self.touch(key);
    }

    /// All pods were shown.
    pub fn pods_synced(&mut self) {
        self.pods_synced = true;
        self.touch_all();
    }

    /// A Lease is like this.
    pub fn lease_seen(&mut self, seen: LeaseSeen, now: Duration) {
        let LeaseSeen { key, version, claimed_by } = seen;
        match self.leases.get_mut(&key).filter(|known| known.version.as_ref() == Some(&version)) {
            Some(known) => known.shown = true,
            None => {
                let version = Some(version);
                let state = LeaseState { version, claimed_by, since: now, shown: true };
                self.leases.insert(key, state);
            }
        }
    }

    /// A Lease is gone. Who had claimed it may still think so.
    pub fn lease_gone(&mut self, key: &PodKey, now: Duration) {
        if self.sites_of(key).next().is_none() {
            self.leases.remove(key);
        } else if let Some(lease) = self.leases.get_mut(key)
            && lease.version.take().is_some()
        {
            lease.since = now;
            // It is due earlier where the pod is gone too.
            self.touch(key);
        }
    }

    /// All Leases were shown.
    pub fn leases_synced(&mut self, now: Duration) {
        self.leases_synced = true;
        self.live_since = now;
        self.touch_all();
    }

    /// The watch of Leases was interrupted: what was seen unchanged until now counts anew.
    pub fn leases_interrupted(&mut self, now: Duration) {
        self.live_since = now;
    }

    /// What became of [`Request::BreakLease`].
    pub fn broke(&mut self, pod: &PodId, answer: BreakAnswer, now: Duration) {
        let Some(remembered) = self.answered(pod) else { return };
        match answer {
            BreakAnswer::Broken(version) => {
                let claimed_by = remembered.claimed.then(|| pod.uid.clone());
                let version = Some(version);
                let state = LeaseState { version, claimed_by, since: now, shown: false };
                self.leases.insert(pod.key.clone(), state);
                let absent = remembered.about == About::Break { absent: true };
                match self.sites.get_mut(pod) {
                    Some(site) if absent && !mutant::is(Mutant::AbsenceNotConfirmed) => {
                        site.confirm = Some(remembered);
                    }
                    Some(_) | None => self.take_all(pod, remembered, now),
                }
            }
            BreakAnswer::Conflict => {
                // What an earlier break has made may have gone with its pod before any watch showed it.
                if let Some(lease) = self.leases.get_mut(&pod.key).filter(|lease| !lease.shown) {
                    lease.version = None;
                }
                self.restart(pod, now);
            }
            BreakAnswer::Failed => self.restart(pod, now),
        }
        self.drop_idle(pod);
    }

    /// What became of [`Request::FindPod`].
    pub fn found(&mut self, pod: &PodId, answer: FindAnswer, now: Duration) {
        let Some(remembered) = self.answered(pod) else { return };
        match (answer, remembered.about) {
            (FindAnswer::Exists, About::Confirm) => self.take_all(pod, remembered, now),
            (FindAnswer::Gone, About::Absence) => {
                let (reason, message) = self.lost(pod);
                for run in remembered.runs {
                    self.take(&run, reason, message.clone(), now);
                }
            }
            (FindAnswer::Exists | FindAnswer::Gone | FindAnswer::Failed, _) => {
                self.restart(pod, now);
            }
        }
        self.drop_idle(pod);
    }

    /// What became of [`Request::Take`] of this version of the Run.
    pub fn took(&mut self, key: &RunKey, version: Option<&str>, answer: TakeAnswer, now: Duration) {
        self.under_way = self.under_way.saturating_sub(1);
        if answer == TakeAnswer::Not {
            self.takes.again(key, version, now);
        } else if self.takes.done(key, version)
            && let Some(known) = self.runs.get_mut(key)
        {
            known.is_taken = true;
        }
    }

    fn answered(&mut self, pod: &PodId) -> Option<Remembered> {
        self.under_way = self.under_way.saturating_sub(1);
        let site = self.sites.get_mut(pod)?;
        self.dirty.insert(pod.clone());
        site.request.take()
    }

    fn restart(&mut self, pod: &PodId, now: Duration) {
        if let Some(site) = self.sites.get_mut(pod) {
            site.restart = now;
        }
    }

    /// Takes what was remembered before the break that now stands.
    fn take_all(&mut self, pod: &PodId, remembered: Remembered, now: Duration) {
        let lost = self.lost(pod);
        let newer = self.runs.values().filter(|run| run.pod == *pod).map(|run| &run.run);
        let newer = newer.filter(|_| mutant::is(Mutant::TakeWhatIsNew)).cloned();
        let newer: Vec<Arc<Run>> = newer.collect();
        for run in remembered.runs.into_iter().chain(newer) {
            let started = remembered.claimed || run.phase() == Phase::Running;
            let (reason, message) = if started { lost.clone() } else { not_started(pod) };
            self.take(&run, reason, message, now);
        }
    }

    /// Takes a Run if it still is what was remembered.
    fn take(&mut self, run: &Arc<Run>, reason: Reason, message: String, now: Duration) {
        let key = RunKey::of(run);
        let same = self.runs.get(&key).is_some_and(|known| {
            !known.is_taken
                && known.run.uid() == run.uid()
                && known.run.resource_version() == run.resource_version()
        });
        if same && !self.takes.contains(&key) {
            self.takes.begin(Arc::clone(run), reason, message, now);
        }
    }

    /// Why a Run that may have started there has lost its pod.
    fn lost(&self, pod: &PodId) -> (Reason, String) {
        let name = &pod.key.name;
        match self.pods.get(&pod.key) {
            Some((uid, _)) if *uid == pod.uid => (
                Reason::PodUnhealthy,
                format!("pod {name} has not renewed its Lease for {} s", self.reap_after.as_secs()),
            ),
            Some(_) => (Reason::PodGone, format!("pod {name} was replaced by another one")),
            None => (Reason::PodGone, format!("pod {name} is gone")),
        }
    }

    fn sites_of(&self, key: &PodKey) -> impl Iterator<Item = &PodId> {
        let first = PodId { key: key.clone(), uid: String::new() };
        let range = self.sites.range(first..).map(|(pod, _)| pod);
        range.take_while(move |pod| pod.key == *key)
    }

    fn touch(&mut self, key: &PodKey) {
        let pods: Vec<PodId> = self.sites_of(key).cloned().collect();
        self.dirty.extend(pods);
    }

    fn touch_all(&mut self) {
        self.dirty.extend(self.sites.keys().cloned());
    }

    fn drop_idle(&mut self, pod: &PodId) {
        let Some(site) = self.sites.get(pod) else { return };
        if !site.runs.is_empty() || site.request.is_some() {
            return;
        }
        if let Some(at) = site.timer {
            self.timers.remove(&(at, pod.clone()));
        }
        self.sites.remove(pod);
        self.dirty.remove(pod);
        let is_absent = self.leases.get(&pod.key).is_some_and(|lease| lease.version.is_none());
        if is_absent && self.sites_of(&pod.key).next().is_none() {
            self.leases.remove(&pod.key);
        }
    }
}

fn is_same_attempt(one: &Run, other: &Run) -> bool {
    let attempt = |run: &Run| run.status.as_ref().and_then(|status| status.attempt);
    one.uid() == other.uid() && attempt(one) == attempt(other)
}

fn not_started(pod: &PodId) -> (Reason, String) {
    let name = &pod.key.name;
    (Reason::NotStarted, format!("pod {name} did not take the Run, and held no Lease"))
}

#[cfg(test)]
mod tests;
