//! The recent changes of one resource, and which of them a watch gets.
//!
//! A window is bounded in events, in bytes and in time: memory stays flat however much is written, and goes back when
//! writing ends. (Old events hold objects that lie scattered among what was freed since.)
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::fields::FieldSelector;
use crate::labels::LabelSelector;
use crate::state::Change;
use crate::stored::Stored;

/// What a watch calls a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// The object is new, or starts to match.
    Added,
    /// The object changed.
    Modified,
    /// The object is gone, or stops matching.
    Deleted,
}

impl EventType {
    /// As it stands in the event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// What a list or watch selects.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Only these labels.
    pub labels: LabelSelector,
    /// Only these fields.
    pub fields: FieldSelector,
}

impl Filter {
    /// Whether `stored` is selected.
    pub fn selects(&self, stored: &Stored) -> bool {
        self.namespace.as_ref().is_none_or(|n| *n == stored.key.namespace)
            && self.labels.matches(&stored.labels)
            && self.fields.matches(&stored.key.namespace, &stored.key.name, &stored.fields)
    }

    /// What `change` is for this filter, if it is anything.
    pub fn classify(&self, change: &Change) -> Option<EventType> {
        let selects = |s: &Option<Arc<Stored>>| s.as_ref().is_some_and(|s| self.selects(s));
        match (selects(&change.old), selects(&change.new)) {
            (false, true) => Some(EventType::Added),
            (true, true) => Some(EventType::Modified),
            (true, false) => Some(EventType::Deleted),
            (false, false) => None,
        }
    }
}

/// The most bytes of objects that a window keeps alive; one event is kept whatever its size.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// What an event takes beside its object's JSON, about.
const EVENT_BYTES: usize = 1024;

/// A change. Its object was encoded when it was stored, once for all watches.
#[derive(Debug)]
pub struct Event {
    /// The change.
    pub change: Change,
    gone: OnceLock<Option<Arc<Stored>>>,
}

impl Event {
    /// An event for `change`.
    pub fn new(change: Change) -> Self {
        Self { change, gone: OnceLock::new() }
    }

    /// The object that a watch shows for this event; a deleted one carries the version of its deletion.
    pub fn object(&self, kind: EventType) -> Option<&Arc<Stored>> {
        if kind != EventType::Deleted {
            return self.change.new.as_ref();
        }
        let make = || {
            let old = self.change.old.as_ref()?;
            Some(Arc::new(old.at_version(self.change.version)))
        };
        self.gone.get_or_init(make).as_ref()
    }

    /// The event as one line of JSON.
    pub fn frame(&self, kind: EventType) -> Vec<u8> {
        frame(kind.as_str(), self.object(kind).map_or(b"null", |stored| &stored.json))
    }

    /// What the event takes in memory, about, in bytes.
    pub fn weight(&self) -> usize {
        let stored = self.change.new.as_ref().or(self.change.old.as_ref());
        EVENT_BYTES + stored.map_or(0, |s| s.json.len())
    }
}

/// One line of a watch.
pub fn frame(kind: &str, object: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(object.len() + 40);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    line
}

/// The recent events of one resource.
#[derive(Debug)]
pub struct Window {
    events: VecDeque<(Duration, Arc<Event>)>,
    /// Everything after this version is still here.
    start: u64,
    limit: usize,
    bytes: usize,
}

/// The asked-for version is older than the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({start})")]
pub struct TooOld {
    /// What was asked for.
    pub asked: u64,
    /// What the window starts at.
    pub start: u64,
}

impl Window {
    /// An empty window that knows everything after `start`.
    pub fn new(start: u64, limit: usize) -> Self {
        Self { events: VecDeque::new(), start, limit, bytes: 0 }
    }

    /// Adds the newest event, of the time `now`.
    pub fn push(&mut self, event: Arc<Event>, now: Duration) {
        self.bytes += event.weight();
        self.events.push_back((now, event));
        while self.events.len() > self.limit || (self.bytes > MAX_BYTES && self.events.len() > 1) {
            self.forget_oldest();
        }
    }

    /// Forgets the events of before `time`.
    pub fn forget(&mut self, time: Duration) {
        while self.oldest().is_some_and(|oldest| oldest < time) {
            self.forget_oldest();
        }
        self.events.shrink_to(2 * self.events.len());
    }

    /// The time of the oldest event.
    pub fn oldest(&self) -> Option<Duration> {
        self.events.front().map(|(at, _)| *at)
    }

    fn forget_oldest(&mut self) {
        if let Some((_, oldest)) = self.events.pop_front() {
            self.bytes -= oldest.weight();
            self.start = oldest.change.version;
        }
    }

    /// The events after `version`.
    pub fn since(&self, version: u64) -> Result<impl Iterator<Item = &Arc<Event>>, TooOld> {
        if version < self.start {
            return Err(TooOld { asked: version, start: self.start });
        }
        let first = self.events.partition_point(|(_, event)| event.change.version <= version);
        Ok(self.events.range(first..).map(|(_, event)| event))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::stored::Key;

    fn event(version: u64, size: usize) -> Arc<Event> {
        let object = json!({ "metadata": { "name": "a" }, "data": "x".repeat(size) });
        let key = Arc::new(Key::of("configmaps", "default", "a"));
        let new = Some(Arc::new(Stored::new(key, version, object, Arc::default())));
        Arc::new(Event::new(Change { version, old: None, new }))
    }

    #[test]
    fn a_window_forgets_by_count_and_by_bytes() {
        let mut window = Window::new(0, 100);
        for version in 1..=150 {
            window.push(event(version, 10), Duration::ZERO);
        }
        assert_eq!(window.since(50).unwrap().count(), 100);
        assert_eq!(window.since(149).unwrap().count(), 1);
        assert_eq!(window.since(49).err(), Some(TooOld { asked: 49, start: 50 }));
        for version in 151..=160 {
            window.push(event(version, 1_048_576), Duration::ZERO);
        }
        assert!(window.since(152).is_err());
        assert_eq!(window.since(153).unwrap().count(), 7);
        for version in 161..=400 {
            window.push(event(version, 10), Duration::ZERO);
        }
        assert_eq!(window.since(300).unwrap().count(), 100);
    }

    #[test]
    fn a_window_forgets_by_age_and_still_serves_who_is_up_to_date() {
        let mut window = Window::new(0, 100);
        for version in 1..=10 {
            window.push(event(version, 10), Duration::from_secs(version));
        }
        window.forget(Duration::from_secs(8));
        assert_eq!(window.oldest(), Some(Duration::from_secs(8)));
        assert_eq!(window.since(7).unwrap().count(), 3);
        assert_eq!(window.since(6).err(), Some(TooOld { asked: 6, start: 7 }));
        window.forget(Duration::from_secs(11));
        assert_eq!((window.oldest(), window.bytes), (None, 0));
        assert_eq!(window.since(10).unwrap().count(), 0);
        assert!(window.since(9).is_err());
    }
}
