//! What keeps the pods of each Runtime, by what pods and Events show.

use k8s_openapi::api::core::v1::{Event, Pod};
use kruntimes_api::labels;
use kruntimes_cluster::watch::{ObjectKey, Observed};
use kruntimes_rules::pool::trouble::{self, Trouble};
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};

/// Reason of the Event about a volume.
pub(super) const FAILED_MOUNT: &str = "FailedMount";

/// What is kept of a pod.
#[derive(Debug)]
struct Seen {
    runtime: String,
    uid: String,
    trouble: Option<Trouble>,
    waits_for_volumes: bool,
    /// What it says of how it keeps Runs apart.
    isolation: Option<String>,
}

impl Seen {
    /// What the status of a Runtime is made of.
    fn said(&self) -> (Option<&Trouble>, bool, Option<&String>) {
        (self.trouble.as_ref(), self.waits_for_volumes, self.isolation.as_ref())
    }
}

/// The pods of all Runtimes, by namespace and name, and what Events say of their volumes, by the Event's.
#[derive(Debug, Default)]
pub(super) struct Pods {
    pods: BTreeMap<ObjectKey, Seen>,
    mounts: BTreeMap<ObjectKey, (String, String)>,
}

impl Pods {
    /// Takes a pod in; the answer is its Runtime where the pod says something new.
    pub(super) fn take(&mut self, observed: Observed<Pod>) -> Option<ObjectKey> {
        match observed {
            Observed::Applied(pod) => self.keep(&pod),
            Observed::Gone(key) => {
                let gone = self.pods.remove(&key)?;
                let said = gone.said() != (None, false, None);
                said.then_some(ObjectKey { name: gone.runtime, ..key })
            }
            Observed::Synced | Observed::Interrupted => None,
        }
    }

    fn keep(&mut self, pod: &Pod) -> Option<ObjectKey> {
        let runtime = pod.labels().get(labels::RUNTIME)?.clone();
        let key = ObjectKey { namespace: pod.namespace()?, name: pod.name_any() };
        let seen = Seen {
            runtime: runtime.clone(),
            uid: pod.uid().unwrap_or_default(),
            trouble: trouble::of_pod(pod),
            waits_for_volumes: trouble::waits_for_volumes(pod),
            isolation: pod.annotations().get(labels::ISOLATION).cloned(),
        };
        let before = self.pods.get(&key).map_or((None, false, None), Seen::said);
        let says_something_new = before != seen.said();
        self.pods.insert(key.clone(), seen);
        says_something_new.then_some(ObjectKey { name: runtime, ..key })
    }

    /// Takes an Event about a volume in; the answer is the Runtime of its pod.
    pub(super) fn take_event(&mut self, observed: Observed<Event>) -> Option<ObjectKey> {
        match observed {
            Observed::Applied(event) => {
                let key = ObjectKey { namespace: event.namespace()?, name: event.name_any() };
                let uid = event.involved_object.uid?;
                let pod = ObjectKey {
                    namespace: key.namespace.clone(),
                    name: event.involved_object.name?,
                };
                self.mounts.insert(key, (uid, event.message.unwrap_or_default()));
                self.pods.get(&pod).map(|seen| ObjectKey { name: seen.runtime.clone(), ..pod })
            }
            Observed::Gone(key) => {
                self.mounts.remove(&key);
                None
            }
            Observed::Synced | Observed::Interrupted => None,
        }
    }

    /// What keeps the first of a Runtime's pods that something keeps.
    pub(super) fn trouble(&self, runtime: &ObjectKey) -> Option<Trouble> {
        self.of(runtime).find_map(|(key, seen)| {
            let trouble = seen.trouble.clone().or_else(|| self.mount(seen))?;
            Some(trouble.on(&key.name))
        })
    }

    /// What a Runtime's pods say of how they keep Runs apart.
    pub(super) fn isolations(&self, runtime: &ObjectKey) -> BTreeSet<String> {
        self.of(runtime).filter_map(|(_, seen)| seen.isolation.clone()).collect()
    }

    fn of(&self, runtime: &ObjectKey) -> impl Iterator<Item = (&ObjectKey, &Seen)> {
        let first = ObjectKey { namespace: runtime.namespace.clone(), name: String::new() };
        let pods =
            self.pods.range(first..).take_while(|(key, _)| key.namespace == runtime.namespace);
        pods.filter(|(_, seen)| seen.runtime == runtime.name)
    }

    fn mount(&self, seen: &Seen) -> Option<Trouble> {
        let mut said = self.mounts.values().filter(|(uid, _)| *uid == seen.uid);
        said.next().filter(|_| seen.waits_for_volumes).map(|(_, said)| trouble::of_mount(said))
    }
}
