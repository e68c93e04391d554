//! One shutdown signal for all tasks of a process.
//!
//! Invariant: once triggered it stays triggered; a dropped `Trigger` counts as triggered.

use tokio::sync::watch;

/// Fires the shutdown.
#[derive(Debug, Clone)]
pub struct Trigger(watch::Sender<bool>);

/// Waits for the shutdown; cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// A connected pair.
    #[must_use]
    pub fn new() -> (Trigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (Trigger(sender), Self(receiver))
    }

    /// Resolves when the shutdown was triggered.
    pub async fn wait(&mut self) {
        // An error means that the trigger is gone, which ends the process's work too.
        drop(self.0.wait_for(|fired| *fired).await);
    }

    /// Whether the shutdown was triggered.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

impl Trigger {
    /// Starts the shutdown.
    pub fn fire(&self) {
        self.0.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fired_trigger_wakes_every_clone() {
        let (trigger, shutdown) = Shutdown::new();
        let mut other = shutdown.clone();
        assert!(!shutdown.is_triggered());
        trigger.fire();
        other.wait().await;
        assert!(shutdown.is_triggered());
    }

    #[tokio::test]
    async fn a_dropped_trigger_ends_the_wait() {
        let (trigger, mut shutdown) = Shutdown::new();
        drop(trigger);
        shutdown.wait().await;
        assert!(shutdown.is_triggered());
    }
}
