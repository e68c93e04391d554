//! Concurrency groups: of each one Workflow runs and one waits.

use jiff::Timestamp;
use kruntimes_rules::mutant::{self, Mutant};
use std::collections::BTreeMap;

/// A group: its namespace and name.
pub type GroupKey = (String, String);

/// A Workflow of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<K> {
    /// Which one.
    pub key: K,
    /// When it was created.
    pub created: Timestamp,
    /// Whether it cancels the one that runs.
    pub cancels: bool,
    /// Whether it has begun.
    pub has_begun: bool,
}

/// What is to be done with a Workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision<K> {
    /// It may begin.
    Admit(K),
    /// It is cancelled: a newer one takes its place.
    Cancel(K),
}

#[derive(Debug)]
struct Group<K> {
    /// More than one only where one began before this process knew of the other.
    running: Vec<K>,
    waiting: Option<Member<K>>,
}

/// All groups.
#[derive(Debug)]
pub struct Groups<K> {
    groups: BTreeMap<GroupKey, Group<K>>,
    of: BTreeMap<K, GroupKey>,
}

impl<K: Ord + Clone> Groups<K> {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { groups: BTreeMap::new(), of: BTreeMap::new() }
    }

    /// A Workflow belongs to a group.
    pub fn enter(&mut self, group: GroupKey, member: Member<K>) -> Vec<Decision<K>> {
        if self.of.insert(member.key.clone(), group.clone()).is_some() {
            return Vec::new();
        }
        let empty = || Group { running: Vec::new(), waiting: None };
        let group = self.groups.entry(group).or_insert_with(empty);
        let mut decisions = Vec::new();
        if member.has_begun || group.running.is_empty() || mutant::is(Mutant::AllAdmitted) {
            group.running.push(member.key.clone());
            decisions.push(Decision::Admit(member.key));
            return decisions;
        }
        match group.waiting.take() {
            Some(other) if other.created > member.created => {
                decisions.push(Decision::Cancel(member.key));
                group.waiting = Some(other);
            }
            other => {
                decisions.extend(other.map(|other| Decision::Cancel(other.key)));
                if member.cancels {
                    decisions.extend(group.running.iter().cloned().map(Decision::Cancel));
                }
                group.waiting = Some(member);
            }
        }
        decisions
    }

    /// A Workflow has ended or is gone; the answer is the one that may begin now.
    pub fn leave(&mut self, key: &K) -> Option<K> {
        let name = self.of.remove(key)?;
        let group = self.groups.get_mut(&name)?;
        group.running.retain(|running| running != key);
        if group.waiting.as_ref().is_some_and(|waiting| waiting.key == *key) {
            group.waiting = None;
        }
        if group.running.is_empty() {
            let Some(next) = group.waiting.take() else {
                self.groups.remove(&name);
                return None;
            };
            group.running.push(next.key.clone());
            return Some(next.key);
        }
        None
    }
}

impl<K: Ord + Clone> Default for Groups<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(key: &'static str, second: i64) -> Member<&'static str> {
        let created = Timestamp::from_second(second).unwrap();
        Member { key, created, cancels: false, has_begun: false }
    }

    fn group() -> GroupKey {
        ("n".to_owned(), "g".to_owned())
    }

    #[test]
    fn one_runs_and_the_newest_waits() {
        let mut groups = Groups::new();
        assert_eq!(groups.enter(group(), member("a", 1)), [Decision::Admit("a")]);
        assert_eq!(groups.enter(group(), member("a", 1)), []);
        assert_eq!(groups.enter(group(), member("b", 2)), []);
        assert_eq!(groups.enter(group(), member("c", 3)), [Decision::Cancel("b")]);
        assert_eq!(groups.leave(&"b"), None);
        assert_eq!(groups.enter(group(), member("old", 2)), [Decision::Cancel("old")]);
        assert_eq!(groups.leave(&"old"), None);
        assert_eq!(groups.leave(&"a"), Some("c"));
        assert_eq!(groups.leave(&"c"), None);
        assert_eq!(groups.enter(group(), member("d", 4)), [Decision::Admit("d")]);
    }

    #[test]
    fn one_that_cancels_waits_for_the_end_of_the_other() {
        let mut groups = Groups::new();
        groups.enter(group(), member("a", 1));
        let newer = Member { cancels: true, ..member("b", 2) };
        assert_eq!(groups.enter(group(), newer), [Decision::Cancel("a")]);
        assert_eq!(groups.leave(&"a"), Some("b"));
    }

    #[test]
    fn who_has_begun_goes_on_after_a_restart() {
        let mut groups = Groups::new();
        assert_eq!(groups.enter(group(), member("new", 2)), [Decision::Admit("new")]);
        let begun = Member { has_begun: true, ..member("old", 1) };
        assert_eq!(groups.enter(group(), begun), [Decision::Admit("old")]);
        assert_eq!(groups.enter(group(), member("c", 3)), []);
        assert_eq!(groups.leave(&"old"), None);
        assert_eq!(groups.leave(&"new"), Some("c"));
    }

    #[test]
    fn groups_of_other_namespaces_are_others() {
        let mut groups = Groups::new();
        groups.enter(group(), member("a", 1));
        let other = ("m".to_owned(), "g".to_owned());
        assert_eq!(groups.enter(other, member("b", 2)), [Decision::Admit("b")]);
    }
}
