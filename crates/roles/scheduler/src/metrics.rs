//! What the scheduler counts, by Runtime.
//!
//! Invariant: a label's values are bounded. Anybody may name any Runtime in a Run, so past [`NAMES`] the rest is one.

use jiff::Timestamp;
use kruntimes_api::Run;
use kube::ResourceExt;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Names of Runtimes that are told apart.
const NAMES: usize = 1000;
/// Stands for the others.
const OTHERS: &str = "(others)";
/// Prometheus' default buckets, seconds.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How a decision about a Run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the label's values")]
pub(crate) enum Sync {
    /// It has a pod.
    scheduled,
    /// It waits.
    no_pods,
    /// No pod could ever take it.
    selection_error,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRuntime {
    runtime: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSync {
    runtime: String,
    result: Sync,
}

/// Counters and histograms; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    syncs: Family<OfSync, Counter>,
    durations: Family<OfRuntime, Histogram>,
    no_pods: Family<OfRuntime, Counter>,
    queued: Family<OfRuntime, Histogram>,
    names: Arc<Mutex<BTreeSet<String>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram = || Histogram::new(BUCKETS);
        Self {
            syncs: Family::default(),
            durations: Family::new_with_constructor(histogram),
            no_pods: Family::default(),
            queued: Family::new_with_constructor(histogram),
            names: Arc::default(),
        }
    }
}

impl Metrics {
    /// Adds them to what a process serves.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("scheduler");
        registry.register("sync", "Decisions written, by result", self.syncs.clone());
        registry.register_with_unit(
            "sync_duration",
            "From a decision to the API server's answer",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register("no_pods", "Decisions that a Run waits", self.no_pods.clone());
        registry.register_with_unit(
            "run_queue_duration",
            "From the creation of a Run to its assignment",
            Unit::Seconds,
            self.queued.clone(),
        );
    }

    /// A decision about `run` was written after `took`.
    pub(crate) fn written(&self, run: &Run, result: Sync, took: Duration, now: Timestamp) {
        let runtime = self.known(&run.spec.runtime);
        let of_runtime = OfRuntime { runtime: runtime.clone() };
        self.syncs.get_or_create(&OfSync { runtime, result }).inc();
        self.durations.get_or_create(&of_runtime).observe(took.as_secs_f64());
        match result {
            Sync::no_pods => {
                self.no_pods.get_or_create(&of_runtime).inc();
            }
            Sync::scheduled => {
                let created = run.creation_timestamp().map_or(now, |created| created.0);
                let waited = Duration::try_from(now.duration_since(created)).unwrap_or_default();
                self.queued.get_or_create(&of_runtime).observe(waited.as_secs_f64());
            }
            Sync::selection_error => {}
        }
    }

    fn known(&self, runtime: &str) -> String {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.contains(runtime) || (names.len() < NAMES && names.insert(runtime.to_owned())) {
            runtime.to_owned()
        } else {
            OTHERS.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;

    #[test]
    fn past_a_thousand_names_the_rest_is_one() {
        let metrics = Metrics::default();
        let mut registry = Registry::with_prefix("kruntimes");
        metrics.register(&mut registry);
        for index in 0..=NAMES + 1 {
            let runtime = format!("r{index}");
            let run = serde_json::json!({
                "apiVersion": "kruntimes.io/v1alpha1", "kind": "Run",
                "metadata": {"name": "r"}, "spec": {"runtime": runtime},
            });
            let run = serde_json::from_value(run).unwrap();
            metrics.written(&run, Sync::no_pods, Duration::from_millis(7), Timestamp::UNIX_EPOCH);
        }
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "kruntimes_scheduler_sync_total{runtime=\"r999\",result=\"no_pods\"} 1",
            "kruntimes_scheduler_no_pods_total{runtime=\"(others)\"} 2",
            "kruntimes_scheduler_sync_duration_seconds_bucket{le=\"0.01\",runtime=\"r0\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("r1000"));
    }
}
