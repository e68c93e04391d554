//! What the script of a step does: a function of the step, its leg and its attempt, whatever happens around it.

use kruntimes_api::Run;
use kruntimes_workflow::{Child, LABEL_WORKFLOW};
use kube::ResourceExt;
use std::time::Duration;

/// What a child does when nothing happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) lasts: Duration,
    pub(crate) succeeds: bool,
}

impl Script {
    /// None where the Run is no step's.
    pub(crate) fn of(run: &Run) -> Option<Self> {
        run.labels().get(LABEL_WORKFLOW)?;
        let child = Child::of(run.labels())?;
        let text = run.spec.source.as_ref()?.inline.as_deref()?;
        let value = |key: &str| {
            let mut words = text.split(' ').filter_map(|word| word.split_once('='));
            words.find(|(name, _)| *name == key).map(|(_, value)| value)
        };
        let number = |key: &str| value(key)?.parse::<u64>().ok();
        let attempt = u64::try_from(child.attempt).unwrap_or(1);
        let is_meant =
            value("leg").is_none_or(|leg| run.spec.args.first().is_some_and(|v| v == leg));
        let succeeds = attempt > number("fails")? || !is_meant;
        Some(Self { lasts: Duration::from_millis(number("lasts")?), succeeds })
    }
}
