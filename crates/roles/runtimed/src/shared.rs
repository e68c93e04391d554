//! Workspaces that Runs share on this pod (ADR 15): which Run holds each, and how many work in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

#[derive(Debug, Default)]
struct Group {
    /// UID of the Run that holds it.
    holder: Option<String>,
    inside: usize,
}

/// The groups of this pod.
#[derive(Debug, Clone)]
pub(crate) struct Shared(Arc<watch::Sender<BTreeMap<String, Group>>>);

/// A Run that works in a shared workspace, until this is dropped.
#[derive(Debug)]
pub(crate) struct Inside {
    shared: Shared,
    group: String,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(BTreeMap::new())))
    }

    /// The Run holds the workspace, unless another one does.
    pub(crate) fn hold(&self, group: &str, uid: &str) {
        self.change(group, |group| {
            group.holder.get_or_insert_with(|| uid.to_owned());
        });
    }

    /// It does not any more.
    pub(crate) fn let_go(&self, group: &str, uid: &str) {
        self.change(group, |group| drop(group.holder.take_if(|holder| holder == uid)));
    }

    /// UID of the Run that holds the workspace.
    pub(crate) fn holder(&self, group: &str) -> Option<String> {
        self.0.borrow().get(group).and_then(|group| group.holder.clone())
    }

    /// A Run works in it.
    pub(crate) fn enter(&self, group: &str) -> Inside {
        self.change(group, |group| group.inside += 1);
        Inside { shared: self.clone(), group: group.to_owned() }
    }

    /// Waits until nobody works in it.
    pub(crate) async fn emptied(&self, name: &str) {
        let is_empty = |groups: &BTreeMap<String, Group>| {
            groups.get(name).is_none_or(|group| group.inside == 0)
        };
        // The sender is at hand.
        drop(self.0.subscribe().wait_for(is_empty).await);
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Group)) {
        self.0.send_modify(|groups| {
            let group = groups.entry(name.to_owned()).or_default();
            change(group);
            if group.holder.is_none() && group.inside == 0 {
                groups.remove(name);
            }
        });
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.shared.change(&self.group, |group| group.inside -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::Shared;
    use futures::FutureExt;

    #[test]
    fn the_first_holder_stays_until_it_lets_go() {
        let shared = Shared::new();
        shared.hold("g", "a");
        shared.hold("g", "b");
        shared.let_go("g", "b");
        assert_eq!(shared.holder("g").as_deref(), Some("a"));
        assert_eq!(shared.holder("other"), None);
        shared.let_go("g", "a");
        assert_eq!(shared.holder("g"), None);
        assert!(shared.0.borrow().is_empty());
    }

    #[test]
    fn a_holder_learns_when_nobody_is_inside() {
        let shared = Shared::new();
        let inside = shared.enter("g");
        shared.hold("g", "a");
        let mut emptied = Box::pin(shared.emptied("g"));
        assert_eq!((&mut emptied).now_or_never(), None);
        drop(inside);
        assert_eq!(emptied.now_or_never(), Some(()));
        assert_eq!(shared.holder("g").as_deref(), Some("a"));
    }
}
