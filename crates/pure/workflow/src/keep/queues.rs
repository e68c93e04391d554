//! What waits to be sent: creations and cancellations of each Workflow in turn, so that a large one holds up no other.

use crate::execution::Effect;
use kruntimes_rules::observed::ObjectKey;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What is sent next, for the Workflow with this UID.
pub(super) struct Turn {
    pub(super) key: ObjectKey,
    pub(super) uid: String,
    pub(super) effect: Effect,
}

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Queues {
    queues: BTreeMap<ObjectKey, VecDeque<(String, Effect)>>,
    turns: VecDeque<ObjectKey>,
    paused: BTreeSet<ObjectKey>,
}

impl Queues {
    /// Sends what a Workflow wants, behind what it wanted before.
    pub(super) fn push(&mut self, key: &ObjectKey, uid: &str, effects: Vec<Effect>) {
        if effects.is_empty() {
            return;
        }
        let queue = self.queues.entry(key.clone()).or_default();
        if queue.is_empty() && !self.paused.contains(key) {
            self.turns.push_back(key.clone());
        }
        queue.extend(effects.into_iter().map(|effect| (uid.to_owned(), effect)));
    }

    /// Nothing more is created for a Workflow; what runs is still asked to end.
    pub(super) fn drop_creations(&mut self, key: &ObjectKey) {
        if let Some(queue) = self.queues.get_mut(key) {
            queue.retain(|(_, effect)| !matches!(effect, Effect::Create(_)));
            if queue.is_empty() {
                self.queues.remove(key);
            }
        }
    }

    /// What could not be sent goes first, when the time has come.
    pub(super) fn again(&mut self, key: &ObjectKey, uid: &str, effect: Effect) {
        self.queues.entry(key.clone()).or_default().push_front((uid.to_owned(), effect));
        self.paused.insert(key.clone());
        self.turns.retain(|turn| turn != key);
    }

    /// The time has come.
    pub(super) fn unpause(&mut self, key: &ObjectKey) {
        if self.paused.remove(key) && self.queues.get(key).is_some_and(|queue| !queue.is_empty()) {
            self.turns.push_back(key.clone());
        }
    }

    /// Whether something of it waits to be sent again.
    pub(super) fn is_paused(&self, key: &ObjectKey) -> bool {
        self.paused.contains(key)
    }

    /// What is sent next.
    pub(super) fn turn(&mut self) -> Option<Turn> {
        loop {
            let key = self.turns.pop_front()?;
            let Some(queue) = self.queues.get_mut(&key) else { continue };
            let Some((uid, effect)) = queue.pop_front() else { continue };
            if queue.is_empty() {
                self.queues.remove(&key);
            } else {
                self.turns.push_back(key.clone());
            }
            return Some(Turn { key, uid, effect });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stays_of_a_workflow_that_wants_nothing() {
        let mut queues = Queues::default();
        for number in 0..1000 {
            let key = ObjectKey { namespace: "n".to_owned(), name: format!("w{number}") };
            queues.push(&key, "u", Vec::new());
            queues.drop_creations(&key);
        }
        assert_eq!(queues.queues.len(), 0, "entries of Workflows that have gone");
    }
}
