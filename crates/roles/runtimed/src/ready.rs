//! Whether this pod can take Runs: told to the kubelet over HTTP, and to everybody by a condition of the pod.

use crate::pod::{Drain, Pod};
use k8s_openapi::api::core::v1::{Pod as KubePod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kruntimes_api::{conditions, labels, pods};
use kruntimes_cluster::watch::Chain;
use kruntimes_daemon::health::{Checks, Verdict};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// While something is missing.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// While all is well; a broken stream of events is looked at without waiting.
const BACKSTOP: Duration = Duration::from_secs(5);
/// Between two messages of a pod that stays as it is.
const SAID_AGAIN: Duration = Duration::from_secs(5);
const CONFLICTS: usize = 5;
const ENDS: &str = "the pod ends";
/// How soon after the kubelet asks for a drain its SIGTERM comes, where the pod ends.
const SIGTERM_WITHIN: Duration = Duration::from_secs(5);
const LAST_WORD_WITHIN: Duration = Duration::from_secs(1);

/// The checks of this pod.
#[derive(Debug, Clone)]
pub(crate) struct Readiness {
    pub(crate) pod: Arc<Pod>,
    pub(crate) live: watch::Receiver<bool>,
}

impl Readiness {
    async fn ready(&self) -> Verdict {
        if *self.pod.drain.borrow() > Drain::No {
            return Err(ENDS.to_owned());
        }
        if !*self.live.borrow() {
            return Err("the watch of Runs is not live".to_owned());
        }
        self.runtime_ready().await
    }

    async fn runtime_ready(&self) -> Verdict {
        self.pod.server.healthy().await
    }

    /// The preStop of the Runtime Server's container: answered when it is needed no more. It begins nothing, for a Run can
    /// ask too; where the pod does not end, the container alone is restarted, and its Runs are lost either way.
    async fn drained(&self) -> Verdict {
        let ends = async {
            tokio::select! {
                () = self.pod.drained_to(Drain::Asked) => true,
                () = sleep(SIGTERM_WITHIN) => false,
            }
        };
        if self.runtime_lives().is_ok() && ends.await {
            self.pod.drained_to(Drain::Done).await;
            self.pod.drain_to(Drain::Told);
        }
        Ok(())
    }

    fn runtime_lives(&self) -> Verdict {
        match self.pod.cancels.overdue() {
            None => Ok(()),
            Some(uid) => Err(format!("Cancel of Run {uid} is not acknowledged")),
        }
    }
}

impl Checks for Readiness {
    fn check(&self, path: &str) -> Option<Pin<Box<dyn Future<Output = Verdict> + Send + '_>>> {
        match path {
            "/healthz" => Some(Box::pin(std::future::ready(Ok(())))),
            "/readyz" => Some(Box::pin(self.ready())),
            "/readyz/runtime" => Some(Box::pin(self.runtime_ready())),
            "/drain" => Some(Box::pin(self.drained())),
            "/livez/runtime" => Some(Box::pin(std::future::ready(self.runtime_lives()))),
            _ => None,
        }
    }
}

/// Keeps the pod's condition and its control token.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) readiness: Readiness,
    pub(crate) live: watch::Sender<bool>,
    pub(crate) pods: Api<KubePod>,
    pub(crate) name: String,
    pub(crate) token: String,
}

impl Publisher {
    /// Follows the readiness for ever.
    pub(crate) async fn follow(&self) {
        let mut mode = self.readiness.pod.registry.mode();
        let mut live = self.readiness.live.clone();
        let mut published: Option<Verdict> = None;
        let mut said = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            mode.mark_unchanged();
            live.mark_unchanged();
            self.revive().await;
            let verdict = self.readiness.ready().await;
            let ready = verdict.is_ok();
            let turned = published.as_ref().map(Result::is_ok) != Some(ready);
            let other = published.as_ref() != Some(&verdict) && said.elapsed() >= SAID_AGAIN;
            if turned || other {
                published = self.publish(&verdict).await.then_some(verdict);
                said = Instant::now();
            }
            let settled = published == Some(Ok(()));
            pause = if settled { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            tokio::select! {
                () = sleep(if settled { BACKSTOP } else { pause }) => {}
                Ok(()) = mode.changed(), if settled => {
                    sleep(FIRST_PAUSE).await;
                }
                Ok(()) = live.changed() => {}
            }
        }
    }

    /// An interrupted watch resumes without a word: a list that succeeds says that the API server is back.
    async fn revive(&self) {
        if *self.live.borrow() || !self.readiness.pod.synced() {
            return;
        }
        let one = ListParams::default().limit(1);
        if self.readiness.pod.runs.list_metadata(&one).await.is_ok() {
            self.live.send_replace(true);
        }
    }

    /// The pod ends and takes no more Runs.
    pub(crate) async fn retract(&self) {
        let verdict = Err(ENDS.to_owned());
        let last = self.publish(&verdict);
        drop(timeout(LAST_WORD_WITHIN, last).await);
    }

    async fn publish(&self, verdict: &Verdict) -> bool {
        for _ in 0..CONFLICTS {
            match self.try_publish(verdict).await {
                Ok(()) => return true,
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => {
                    tracing::warn!(error = %Chain(&error), "the pod's condition could not be written");
                    return false;
                }
            }
        }
        false
    }

    /// The list of conditions goes as a whole, with the resourceVersion it was read at.
    async fn try_publish(&self, verdict: &Verdict) -> Result<(), kube::Error> {
        let pod = self.pods.get(&self.name).await?;
        let known = pod.status.as_ref().and_then(|status| status.conditions.clone());
        let (list, changed) = with_condition(known.unwrap_or_default(), verdict);
        let isolation = self.readiness.pod.server.isolation();
        let told = pod.annotations().get(labels::CONTROL_TOKEN) == Some(&self.token)
            && pod.annotations().get(labels::ISOLATION) == isolation.as_ref();
        if told && !changed {
            return Ok(());
        }
        let body = json!({
            "metadata": {
                "resourceVersion": pod.metadata.resource_version,
                "annotations": {
                    labels::CONTROL_TOKEN: self.token,
                    labels::ISOLATION: isolation,
                },
            },
            "status": { "conditions": list },
        });
        let parameters = PatchParams::default();
        self.pods.patch_status(&self.name, &parameters, &Patch::Merge(body)).await.map(drop)
    }
}

fn with_condition(mut list: Vec<PodCondition>, verdict: &Verdict) -> (Vec<PodCondition>, bool) {
    let status = if verdict.is_ok() { "True" } else { "False" };
    let known = list.iter().position(|known| known.type_ == conditions::RUNTIMED_READY);
    let same = known.filter(|at| list[*at].status == status);
    let message = verdict.as_ref().err().cloned();
    if same.is_some_and(|at| list[at].message == message) {
        return (list, false);
    }
    let since = same.and_then(|at| list[at].last_transition_time.clone());
    let condition = PodCondition {
        type_: conditions::RUNTIMED_READY.to_owned(),
        status: status.to_owned(),
        reason: Some(
            if verdict.is_ok() { pods::RUNTIMED_READY } else { pods::RUNTIMED_NOT_READY }
                .to_owned(),
        ),
        message,
        last_transition_time: since.or_else(|| Some(Time(jiff::Timestamp::now()))),
        ..PodCondition::default()
    };
    match known {
        Some(at) => list[at] = condition,
        None => list.push(condition),
    }
    (list, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_changes_with_the_verdict_and_leaves_the_others() {
        let kubelet = PodCondition { type_: "Ready".to_owned(), ..PodCondition::default() };
        let (list, changed) = with_condition(vec![kubelet.clone()], &Ok(()));
        assert!(changed);
        assert_eq!(list[0], kubelet);
        assert_eq!((list[1].status.as_str(), list[1].message.as_deref()), ("True", None));
        let (list, changed) = with_condition(list, &Ok(()));
        assert!(!changed);
        let (list, changed) = with_condition(list, &Err("why".to_owned()));
        assert!(changed && list.len() == 2);
        assert_eq!((list[1].status.as_str(), list[1].message.as_deref()), ("False", Some("why")));
        let since = list[1].last_transition_time.clone();
        let (list, changed) = with_condition(list, &Err("why".to_owned()));
        assert!(!changed);
        let (list, changed) = with_condition(list, &Err("other".to_owned()));
        assert!(changed && list[1].last_transition_time == since);
        assert_eq!(list[1].message.as_deref(), Some("other"));
    }
}
