//! What is due: the kubelet's word at once, everything else after `reap_after`.

use super::{About, LeaseState, Life, Order, PodId, Reaper, Remembered, Request, Site};
use crate::placement::RunKey;
use kruntimes_api::{Reason, Run};
use std::sync::Arc;
use std::time::Duration;

/// Requests under way at once.
const IN_FLIGHT: usize = 64;

/// What is known of the pod of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unknown,
    Lives,
    Terminated,
    Gone,
}

impl Reaper {
    /// When [`Reaper::step`] has something to do even if nothing is seen until then.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let is_full = self.under_way >= IN_FLIGHT;
        if !self.dirty.is_empty() && !is_full {
            return Some(Duration::ZERO);
        }
        let take = self.takes.deadline().filter(|_| !is_full);
        let timer = self.timers.first().map(|(at, _)| *at);
        take.into_iter().chain(timer).min()
    }

    /// All that is to be done at `now`, as far as there is room for requests.
    pub fn step(&mut self, now: Duration) -> Vec<Order> {
        self.forget_terminated(now);
        while let Some((at, _)) = self.timers.first()
            && *at <= now
            && let Some((_, pod)) = self.timers.pop_first()
        {
            if let Some(site) = self.sites.get_mut(&pod) {
                site.timer = None;
            }
            self.dirty.insert(pod);
        }
        let mut orders = Vec::new();
        for pod in std::mem::take(&mut self.dirty) {
            self.look_at(&pod, now, &mut orders);
        }
        while self.under_way < IN_FLIGHT
            && let Some(order) = self.takes.next(now)
        {
            self.under_way += 1;
            orders.push(Order::Request(order));
        }
        orders
    }

    fn look_at(&mut self, pod: &PodId, now: Duration, orders: &mut Vec<Order>) {
        let fate = self.fate(pod);
        let Some(site) = self.sites.get_mut(pod) else { return };
        if fate == Fate::Gone {
            site.gone_since.get_or_insert(now);
        } else {
            site.gone_since = None;
        }
        self.ask_for_namespace(pod, orders);
        match fate {
            Fate::Terminated => {
                let message = format!("pod {} has ended", pod.key.name);
                for run in self.untaken(pod) {
                    self.take(&run, Reason::PodGone, message.clone(), now);
                }
            }
            Fate::Unknown => {}
            Fate::Lives | Fate::Gone => match self.due(pod, fate) {
                Some(due) if due > now => self.wake_at(pod, due),
                Some(_) if self.under_way >= IN_FLIGHT => {
                    self.dirty.insert(pod.clone());
                }
                Some(_) => orders.extend(self.request(pod, fate).map(Order::Request)),
                None => {}
            },
        }
    }

    fn fate(&self, pod: &PodId) -> Fate {
        match self.pods.get(&pod.key) {
            Some((uid, Life::Terminated)) if *uid == pod.uid => Fate::Terminated,
            Some((uid, Life::Stays | Life::Ends)) if *uid == pod.uid => Fate::Lives,
            Some(_) | None if self.terminated.contains(pod) => Fate::Terminated,
            Some(_) | None if self.pods_synced => Fate::Gone,
            Some(_) | None => Fate::Unknown,
        }
    }

    /// Runs of a pod that is being deleted may keep it, and with it a whole namespace, from ending.
    fn ask_for_namespace(&mut self, pod: &PodId, orders: &mut Vec<Order>) {
        let seen = self.pods.get(&pod.key);
        if !seen.is_some_and(|(uid, life)| *uid == pod.uid && *life == Life::Ends) {
            return;
        }
        let Some(site) = self.sites.get(pod) else { return };
        for key in &site.runs {
            if let Some(known) = self.runs.get_mut(key)
                && !std::mem::replace(&mut known.namespace_asked, true)
            {
                orders.push(Order::LookAtNamespace { run: Arc::clone(&known.run) });
            }
        }
    }

    /// When the Lease may be broken, or, of a pod that is gone without one, the Runs taken.
    fn due(&self, pod: &PodId, fate: Fate) -> Option<Duration> {
        let site = self.sites.get(pod).filter(|site| site.request.is_none())?;
        if site.confirm.is_some() {
            return Some(Duration::ZERO);
        }
        let first = self.since_of_untaken(site)?;
        if !self.leases_synced {
            return None;
        }
        let start = match (site.gone_since, self.lease_to_break(pod, fate)) {
            (Some(gone), None) => gone,
            (Some(gone), Some(lease)) => gone.max(lease.since).max(self.live_since),
            (None, lease) => {
                first.max(self.live_since).max(lease.map_or(Duration::ZERO, |lease| lease.since))
            }
        };
        Some(start.max(site.restart) + self.reap_after)
    }

    fn request(&mut self, pod: &PodId, fate: Fate) -> Option<Request> {
        if let Some(remembered) = self.sites.get_mut(pod)?.confirm.take() {
            let about = About::Confirm;
            self.sites.get_mut(pod)?.request = Some(Remembered { about, ..remembered });
            self.under_way += 1;
            return Some(Request::FindPod { pod: pod.clone() });
        }
        let runs = self.untaken(pod);
        let runtime = runs.first()?.spec.runtime.clone();
        let known = self.leases.get(&pod.key);
        let claimed = known.is_some_and(|known| known.claimed_by.as_ref() == Some(&pod.uid));
        let version = self.lease_to_break(pod, fate).and_then(|lease| lease.version.clone());
        let (order, about) = if fate == Fate::Gone && version.is_none() {
            (Request::FindPod { pod: pod.clone() }, About::Absence)
        } else {
            let claimed_by = claimed.then(|| pod.uid.clone());
            let about = About::Break { absent: version.is_none() };
            (Request::BreakLease { pod: pod.clone(), runtime, version, claimed_by }, about)
        };
        self.sites.get_mut(pod)?.request = Some(Remembered { runs, claimed, about });
        self.under_way += 1;
        Some(order)
    }

    /// The pod's Lease. The Lease of a pod that is gone is another one's as soon as its name has another pod that took it.
    fn lease_to_break(&self, pod: &PodId, fate: Fate) -> Option<&LeaseState> {
        let lease = self.leases.get(&pod.key)?;
        if fate == Fate::Lives {
            return Some(lease);
        }
        let is_own =
            lease.claimed_by.as_ref() == Some(&pod.uid) || !self.pods.contains_key(&pod.key);
        (lease.version.is_some() && is_own).then_some(lease)
    }

    fn untaken(&self, pod: &PodId) -> Vec<Arc<Run>> {
        let keys = self.sites.get(pod).into_iter().flat_map(|site| &site.runs);
        keys.filter(|key| self.is_untaken(key))
            .filter_map(|key| self.runs.get(key))
            .map(|known| Arc::clone(&known.run))
            .collect::<Vec<Arc<Run>>>()
    }

    fn since_of_untaken(&self, site: &Site) -> Option<Duration> {
        let untaken = site.runs.iter().filter(|key| self.is_untaken(key));
        untaken.filter_map(|key| self.runs.get(key)).map(|known| known.since).min()
    }

    fn is_untaken(&self, key: &RunKey) -> bool {
        !self.takes.contains(key) && self.runs.get(key).is_some_and(|known| !known.is_taken)
    }

    /// One timer a pod: when it comes early, the pod is looked at again.
    fn wake_at(&mut self, pod: &PodId, at: Duration) {
        let Some(site) = self.sites.get_mut(pod) else { return };
        match site.timer {
            Some(timer) if timer <= at => return,
            Some(timer) => {
                self.timers.remove(&(timer, pod.clone()));
            }
            None => {}
        }
        site.timer = Some(at);
        self.timers.insert((at, pod.clone()));
    }

    fn forget_terminated(&mut self, now: Duration) {
        while let Some((at, _)) = self.terminated_at.front()
            && *at + self.reap_after <= now
            && let Some((_, pod)) = self.terminated_at.pop_front()
        {
            self.terminated.remove(&pod);
        }
    }
}
