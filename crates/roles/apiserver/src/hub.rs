//! Watches: who gets which event, and the recent past of each resource.
//!
//! A watch that asks for one exact field value (one pod's Runs, one object by name) is found by that value, so an event
//! costs no more when there are many of them. A watch that falls behind its bounded queue is cut off, never buffered.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kruntimes_objects::state::Change;
use kruntimes_objects::stored::{Key, Stored};
use kruntimes_objects::window::{Event, EventType, Filter, TooOld, Window};

use crate::queue::Queue;

/// What a watch is sent.
pub(crate) type Delivery = (Arc<Event>, EventType);

#[derive(Debug)]
struct Watcher {
    filter: Filter,
    after: u64,
    queue: Arc<Queue>,
}

#[derive(Debug)]
struct Lane {
    window: Window,
    watchers: BTreeMap<u64, Watcher>,
    /// Watches without an exact field value.
    broad: BTreeSet<u64>,
    /// field → value → watches.
    exact: BTreeMap<String, BTreeMap<String, BTreeSet<u64>>>,
}

/// All watches and windows.
#[derive(Debug)]
pub(crate) struct Hub {
    lanes: BTreeMap<Arc<str>, Lane>,
    next_id: u64,
    start: u64,
    limit: usize,
}

/// A registered watch.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) id: u64,
    pub(crate) queue: Arc<Queue>,
    /// The events between the asked-for version and now.
    pub(crate) missed: Vec<Delivery>,
}

impl Hub {
    /// A hub that knows everything after `start`.
    pub(crate) fn new(start: u64, limit: usize) -> Self {
        Self { lanes: BTreeMap::new(), next_id: 0, start, limit }
    }

    fn lane(&mut self, resource: &Arc<str>) -> &mut Lane {
        let (start, limit) = (self.start, self.limit);
        self.lanes.entry(resource.clone()).or_insert_with(|| Lane {
            window: Window::new(start, limit),
            watchers: BTreeMap::new(),
            broad: BTreeSet::new(),
            exact: BTreeMap::new(),
        })
    }

    /// Registers a watch for what comes after `after`.
    pub(crate) fn subscribe(
        &mut self,
        resource: &Arc<str>,
        filter: Filter,
        after: u64,
    ) -> Result<Subscription, TooOld> {
        self.next_id += 1;
        let id = self.next_id;
        let lane = self.lane(resource);
        let missed = lane
            .window
            .since(after)?
            .filter_map(|event| Some((event.clone(), filter.classify(&event.change)?)))
            .collect();
        match filter.fields.exact() {
            Some((field, value)) => {
                let values = lane.exact.entry(field.to_owned()).or_default();
                values.entry(value.to_owned()).or_default().insert(id);
            }
            None => {
                lane.broad.insert(id);
            }
        }
        let queue = Arc::new(Queue::default());
        lane.watchers.insert(id, Watcher { filter, after, queue: queue.clone() });
        Ok(Subscription { id, queue, missed })
    }

    /// What a resource's objects were at `version`, as far as they changed since: `None` if they were not there.
    pub(crate) fn past(
        &mut self,
        resource: &Arc<str>,
        version: u64,
    ) -> Result<BTreeMap<Arc<Key>, Option<Arc<Stored>>>, TooOld> {
        let mut past = BTreeMap::new();
        for event in self.lane(resource).window.since(version)? {
            if let Some(key) = event.change.key() {
                past.entry(key.clone()).or_insert_with(|| event.change.old.clone());
            }
        }
        Ok(past)
    }

    /// Forgets a watch.
    pub(crate) fn unsubscribe(&mut self, resource: &Arc<str>, id: u64) {
        self.lane(resource).remove(id);
    }

    /// Sends a change of the time `now` to whom it concerns, and remembers it.
    pub(crate) fn publish(&mut self, change: Change, now: Duration) {
        let Some(key) = change.key().cloned() else { return };
        let event = Arc::new(Event::new(change));
        let lane = self.lane(&key.resource);
        lane.window.push(event.clone(), now);
        for id in lane.candidates(&event.change) {
            let Some(watcher) = lane.watchers.get(&id) else { continue };
            if event.change.version <= watcher.after {
                continue;
            }
            let Some(kind) = watcher.filter.classify(&event.change) else { continue };
            if !watcher.queue.push((event.clone(), kind)) {
                lane.remove(id);
            }
        }
    }

    /// Forgets what was before `time`; the answer is the time of the oldest change that stays.
    pub(crate) fn forget(&mut self, time: Duration) -> Option<Duration> {
        self.lanes.values_mut().for_each(|lane| lane.window.forget(time));
        self.lanes.values().filter_map(|lane| lane.window.oldest()).min()
    }

    /// Ends all watches.
    pub(crate) fn close(&mut self) {
        for lane in self.lanes.values_mut() {
            for watcher in std::mem::take(&mut lane.watchers).into_values() {
                watcher.queue.close();
            }
        }
    }
}

impl Lane {
    fn candidates(&self, change: &Change) -> BTreeSet<u64> {
        let mut ids = self.broad.clone();
        for stored in [&change.old, &change.new].into_iter().flatten() {
            for (field, values) in &self.exact {
                ids.extend(values.get(value_of(stored, field)).into_iter().flatten());
            }
        }
        ids
    }

    fn remove(&mut self, id: u64) {
        let Some(watcher) = self.watchers.remove(&id) else { return };
        self.broad.remove(&id);
        let Some((field, value)) = watcher.filter.fields.exact() else { return };
        if let Some(values) = self.exact.get_mut(field) {
            if let Some(ids) = values.get_mut(value) {
                ids.remove(&id);
                if ids.is_empty() {
                    values.remove(value);
                }
            }
            if values.is_empty() {
                self.exact.remove(field);
            }
        }
    }
}

fn value_of<'s>(stored: &'s Stored, field: &str) -> &'s str {
    match field {
        "metadata.name" => &stored.key.name,
        "metadata.namespace" => &stored.key.namespace,
        other => stored.fields.get(other).map_or("", String::as_str),
    }
}

#[cfg(test)]
mod tests {
    use kruntimes_objects::builtin;
    use kruntimes_objects::fields::FieldSelector;
    use serde_json::json;

    use super::*;
    use crate::queue::{MAX_BYTES, MAX_EVENTS};

    fn pod(name: &str, node: &str, version: u64) -> Arc<Stored> {
        let pods = builtin::resources().into_iter().find(|r| r.is("pods")).unwrap();
        let object = json!({ "metadata": { "name": name }, "spec": { "nodeName": node } });
        let key = Arc::new(Key::new(&pods, "default", name));
        Arc::new(Stored::new(key, version, object, pods.fields))
    }

    fn on_node(node: &str) -> Filter {
        let pods = builtin::resources().into_iter().find(|r| r.is("pods")).unwrap();
        let fields = FieldSelector::parse(&format!("spec.nodeName={node}"), &pods).unwrap();
        Filter { fields, ..Filter::default() }
    }

    #[test]
    fn an_event_goes_only_to_the_watches_of_its_field_value() {
        let mut hub = Hub::new(0, 10);
        let pods: Arc<str> = "pods".into();
        let watches: Vec<_> =
            (0..50).map(|n| hub.subscribe(&pods, on_node(&format!("n{n}")), 0).unwrap()).collect();
        let old = pod("p", "n1", 1);
        let change = Change { version: 2, old: Some(old), new: Some(pod("p", "n2", 2)) };
        let lane = hub.lane(&pods);
        assert_eq!(lane.candidates(&change).len(), 2);
        hub.publish(change, Duration::ZERO);
        assert_eq!(watches[1].queue.try_next().unwrap().1, EventType::Deleted);
        assert_eq!(watches[2].queue.try_next().unwrap().1, EventType::Added);
        for watch in watches {
            hub.unsubscribe(&pods, watch.id);
        }
        assert!(hub.lane(&pods).exact.is_empty());
    }

    fn change(size: usize, version: u64) -> Change {
        let object = json!({ "metadata": { "name": "p" }, "data": "x".repeat(size) });
        let key = Arc::new(Key::of("pods", "default", "p"));
        let new = Stored::new(key, version, object, Arc::default());
        Change { version, old: None, new: Some(Arc::new(new)) }
    }

    /// How many events of `size` bytes a watch that reads nothing is given before it is cut off.
    fn given(size: usize) -> usize {
        let mut hub = Hub::new(0, 10);
        let pods: Arc<str> = "pods".into();
        let slow = hub.subscribe(&pods, Filter::default(), 0).unwrap();
        for version in 1..=10_000 {
            hub.publish(change(size, version), Duration::ZERO);
            if hub.lane(&pods).watchers.is_empty() {
                assert!(slow.queue.is_empty(), "what waited is freed at once");
                let missed = hub.subscribe(&pods, Filter::default(), version.saturating_sub(1));
                assert_eq!(missed.unwrap().missed.len(), 1);
                return usize::try_from(version).unwrap() - 1;
            }
        }
        panic!("the watch was never cut off");
    }

    #[test]
    fn a_watch_that_falls_behind_is_cut_off_by_count_and_by_bytes() {
        assert_eq!(given(10), MAX_EVENTS);
        let large = MAX_BYTES / 8;
        assert_eq!(given(large), 7);
        assert_eq!(given(2 * MAX_BYTES), 1);
    }

    #[tokio::test]
    async fn a_closed_hub_ends_its_watches_after_what_waits() {
        let mut hub = Hub::new(0, 10);
        let pods: Arc<str> = "pods".into();
        let watch = hub.subscribe(&pods, Filter::default(), 0).unwrap();
        hub.publish(change(10, 1), Duration::ZERO);
        hub.close();
        assert_eq!(watch.queue.next().await.unwrap().0.change.version, 1);
        assert!(watch.queue.next().await.is_none());
    }
}
