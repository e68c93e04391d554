//! What a Runtime's status says of its pool: ready pods, and the conditions `Ready`, `TemplateAccepted` and `Isolation`.

use super::trouble::Trouble;
use super::{InvalidPool, Kind};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kruntimes_api::{Isolation, Runtime, RuntimeStatus, limits, names, pools};
use serde_json::Value;
use std::collections::BTreeSet;

/// How far the objects of a pool came.
#[derive(Debug, Clone, PartialEq)]
pub enum Made {
    /// They are as they must be.
    All,
    /// The Runtime can't be built.
    Refused(InvalidPool),
    /// Somebody else has an object of that name.
    Taken(Kind),
    /// The API server's answer about one.
    Failed(Kind, String),
}

struct Said<'a> {
    type_: &'a str,
    status: &'a str,
    reason: &'a str,
    message: String,
}

/// The status as it must be, `isolations` being what its pods say of isolation. Conditions of others stay.
#[must_use]
pub fn status(
    runtime: &Runtime,
    made: &Made,
    deployment: Option<&Value>,
    trouble: Option<&Trouble>,
    isolations: &BTreeSet<String>,
    now: Timestamp,
) -> RuntimeStatus {
    let shown = runtime.status.clone().unwrap_or_default();
    let ready = count(deployment, "readyReplicas");
    let mut conditions = shown.conditions;
    let isolation = isolation(runtime.spec.isolation.unwrap_or_default(), isolations);
    for said in [readiness(runtime, made, deployment, trouble), acceptance(made), isolation] {
        put(&mut conditions, &said, runtime.metadata.generation, now);
    }
    RuntimeStatus { ready_replicas: Some(ready), conditions }
}

fn readiness<'a>(
    runtime: &Runtime,
    made: &Made,
    deployment: Option<&Value>,
    trouble: Option<&'a Trouble>,
) -> Said<'a> {
    let name = names::runtime_object(runtime.metadata.name.as_deref().unwrap_or_default());
    let not = |reason, message| Said { type_: pools::READY, status: "False", reason, message };
    match made {
        Made::Refused(why) => {
            return not(reason_of(why), format!("{why}{}", pods_stay(deployment)));
        }
        Made::Taken(kind) => {
            let message = format!(
                "{kind} {name} exists and is not owned by this Runtime: delete it, or give the Runtime another name"
            );
            return not(pools::NAME_TAKEN, message);
        }
        Made::Failed(kind, answer) => {
            return not(pools::APPLY_FAILED, format!("{kind} {name} is refused: {answer}"));
        }
        Made::All => {}
    }
    let wanted = i64::from(runtime.spec.replicas.max(1));
    let ready = i64::from(count(deployment, "readyReplicas"));
    let updated = i64::from(count(deployment, "updatedReplicas"));
    let all = i64::from(count(deployment, "replicas"));
    let counts = format!("{ready} of {wanted} pods are ready");
    let current = deployment.is_some_and(|it| {
        it["status"]["observedGeneration"].as_i64() >= it["metadata"]["generation"].as_i64()
    });
    if current && ready >= wanted && updated >= wanted && all == updated {
        return Said {
            type_: pools::READY,
            status: "True",
            reason: pools::PODS_READY,
            message: counts,
        };
    }
    if let Some(trouble) = trouble {
        return not(trouble.reason, format!("{counts}; {}", trouble.message));
    }
    let rollout = if ready >= wanted { ", some still of an older template" } else { "" };
    not(pools::PODS_STARTING, format!("{counts}{rollout}"))
}

fn pods_stay(deployment: Option<&Value>) -> &'static str {
    if deployment.is_some() { " (the pods stay as they were)" } else { "" }
}

fn reason_of(why: &InvalidPool) -> &'static str {
    match why {
        InvalidPool::NoServer | InvalidPool::Template(_) => pools::TEMPLATE_REFUSED,
        InvalidPool::NotStored
        | InvalidPool::Port(_)
        | InvalidPool::Egress(_)
        | InvalidPool::ArtifactStore
        | InvalidPool::Bucket
        | InvalidPool::NameTooLong
        | InvalidPool::Capacity(_)
        | InvalidPool::SourceName { .. }
        | InvalidPool::TooManySources { .. } => pools::INVALID_RUNTIME,
    }
}

fn acceptance(made: &Made) -> Said<'static> {
    let (status, reason, message) = match made {
        Made::Refused(why) => ("False", reason_of(why), why.to_string()),
        Made::All | Made::Taken(_) | Made::Failed(..) => {
            ("True", pools::ACCEPTED, "the template is carried to the pods".to_owned())
        }
    };
    Said { type_: pools::TEMPLATE_ACCEPTED, status, reason, message }
}

/// How the word of a pod begins whose kernel does all there is to do; behind it stands by what.
const FULL: &str = "full: ";

/// What pods say is not trusted: what does not begin with `full` counts as lacking.
fn isolation(wanted: Isolation, isolations: &BTreeSet<String>) -> Said<'static> {
    let said = |status, reason, message| Said { type_: pools::ISOLATION, status, reason, message };
    if wanted == Isolation::None {
        let message = "spec.isolation is none: nothing keeps the Runs of a pod apart".to_owned();
        return said("False", pools::ISOLATION_OFF, message);
    }
    let is_full = |text: &&String| *text == "full" || text.starts_with(FULL);
    let lacking: Vec<_> = isolations.iter().filter(|text| !is_full(text)).cloned().collect();
    if !lacking.is_empty() {
        return said("False", pools::ISOLATION_DEGRADED, lacking.join("; "));
    }
    if isolations.is_empty() {
        let message = "no pod says how it keeps Runs apart: give this Runtime only to Runs that trust each other";
        return said("Unknown", pools::NOT_REPORTED, message.to_owned());
    }
    let by: Vec<_> = isolations.iter().filter_map(|text| text.strip_prefix(FULL)).collect();
    let message = ["the kernel keeps the Runs of a pod apart", &by.join("; ")];
    let message = message.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
    said("True", pools::ISOLATION_FULL, message.join(": "))
}

fn put(conditions: &mut Vec<Condition>, said: &Said<'_>, generation: Option<i64>, now: Timestamp) {
    let message = said.message.chars().take(limits::MESSAGE_CHARS as usize).collect();
    let known = conditions.iter().position(|known| known.type_ == said.type_);
    let same = known.filter(|at| conditions[*at].status == said.status);
    let condition = Condition {
        type_: said.type_.to_owned(),
        status: said.status.to_owned(),
        reason: said.reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: same
            .map_or(Time(now), |at| conditions[at].last_transition_time.clone()),
    };
    match known {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

fn count(deployment: Option<&Value>, field: &str) -> i32 {
    let found = deployment.and_then(|deployment| deployment["status"][field].as_i64());
    found.and_then(|count| i32::try_from(count).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn runtime() -> Runtime {
        serde_json::from_value(json!({
            "metadata": {"name": "bash", "namespace": "n", "generation": 4},
            "spec": {"replicas": 2, "template": {}},
        }))
        .unwrap()
    }

    /// With these pods: all, updated, ready; and the generations of its spec and of its status.
    fn deployment([all, updated, ready]: [i32; 3], [spec, seen]: [i32; 2]) -> Value {
        json!({
            "metadata": {"generation": spec},
            "status": {
                "observedGeneration": seen,
                "replicas": all, "updatedReplicas": updated, "readyReplicas": ready,
            },
        })
    }

    fn said(made: &Made, deployment: Option<&Value>, trouble: Option<&Trouble>) -> Vec<Condition> {
        let isolations = BTreeSet::from(["full".to_owned()]);
        let now = Timestamp::from_second(9).unwrap();
        let found = status(&runtime(), made, deployment, trouble, &isolations, now);
        assert_eq!(found.ready_replicas, Some(count(deployment, "readyReplicas")));
        assert!(found.conditions.iter().all(|it| it.observed_generation == Some(4)));
        found.conditions
    }

    fn ready(conditions: &[Condition]) -> (&str, &str, &str) {
        let found = conditions.iter().find(|it| it.type_ == pools::READY).unwrap();
        (&found.status, &found.reason, &found.message)
    }

    #[test]
    fn a_pool_is_ready_when_all_its_pods_are_of_its_newest_template() {
        let older = "2 of 2 pods are ready, some still of an older template";
        for (pods, generations, status, message) in [
            ([2, 2, 2], [3, 3], "True", "2 of 2 pods are ready"),
            ([3, 3, 3], [3, 4], "True", "3 of 2 pods are ready"),
            ([2, 2, 1], [3, 3], "False", "1 of 2 pods are ready"),
            ([2, 1, 2], [3, 3], "False", older),
            ([3, 2, 2], [3, 3], "False", older),
            ([2, 2, 2], [4, 3], "False", older),
            ([0, 0, 0], [3, 3], "False", "0 of 2 pods are ready"),
        ] {
            let deployment = deployment(pods, generations);
            let found = said(&Made::All, Some(&deployment), None);
            let reason = if status == "True" { pools::PODS_READY } else { pools::PODS_STARTING };
            assert_eq!(ready(&found), (status, reason, message), "{pods:?} {generations:?}");
        }
        let found = said(&Made::All, None, None);
        assert_eq!(ready(&found), ("False", pools::PODS_STARTING, "0 of 2 pods are ready"));
    }

    #[test]
    fn what_keeps_a_pool_from_being_ready_is_said() {
        let trouble = Trouble { reason: "Why", message: "what to do".to_owned() };
        let deployment = deployment([2, 2, 1], [3, 3]);
        let found = said(&Made::All, Some(&deployment), Some(&trouble));
        assert_eq!(ready(&found), ("False", "Why", "1 of 2 pods are ready; what to do"));
        let refused = |why: InvalidPool, there| ready_of(&said(&Made::Refused(why), there, None));
        let port = InvalidPool::Port(9090);
        let [plain, staying] = [None, Some(&deployment)].map(|there| refused(port.clone(), there));
        assert_eq!(plain, (pools::INVALID_RUNTIME.to_owned(), port.to_string()));
        assert_eq!(staying.1, format!("{port} (the pods stay as they were)"));
        assert_eq!(refused(InvalidPool::NoServer, None).0, pools::TEMPLATE_REFUSED);
        let (reason, message) = ready_of(&said(&Made::Taken(Kind::Role), None, None));
        assert_eq!(reason, pools::NAME_TAKEN);
        assert!(message.starts_with("Role runtime-bash exists and is not owned"), "{message}");
        let failed = Made::Failed(Kind::Role, "no".to_owned());
        let expected = "Role runtime-bash is refused: no".to_owned();
        assert_eq!(
            ready_of(&said(&failed, None, None)),
            (pools::APPLY_FAILED.to_owned(), expected)
        );
    }

    fn ready_of(conditions: &[Condition]) -> (String, String) {
        let (status, reason, message) = ready(conditions);
        assert_eq!(status, "False");
        (reason.to_owned(), message.to_owned())
    }

    #[test]
    fn a_template_is_accepted_unless_it_is_refused() {
        let accepted = |made: &Made| {
            let found = said(made, None, None);
            let it = found.into_iter().find(|it| it.type_ == pools::TEMPLATE_ACCEPTED).unwrap();
            (it.status, it.reason)
        };
        let yes = ("True".to_owned(), pools::ACCEPTED.to_owned());
        assert_eq!(accepted(&Made::All), yes);
        assert_eq!(accepted(&Made::Taken(Kind::Role)), yes);
        let no = ("False".to_owned(), pools::TEMPLATE_REFUSED.to_owned());
        assert_eq!(accepted(&Made::Refused(InvalidPool::NoServer)), no);
    }

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stays() {
        let mut runtime = runtime();
        let time = |second| Timestamp::from_second(second).unwrap();
        let mut update = |pods, second| {
            let deployment = deployment(pods, [3, 3]);
            let none = BTreeSet::new();
            let found = status(&runtime, &Made::All, Some(&deployment), None, &none, time(second));
            let mut conditions = found.conditions.clone();
            // Another one's stays.
            if second == 1 {
                let other = Condition { type_: "Other".to_owned(), ..found.conditions[0].clone() };
                conditions.insert(0, other);
            }
            assert_eq!(conditions.len(), 4, "{conditions:?}");
            runtime.status = Some(RuntimeStatus { conditions, ..found });
            let ready = runtime.status.as_ref().unwrap().conditions.iter();
            ready.clone().find(|it| it.type_ == pools::READY).unwrap().last_transition_time.0
        };
        assert_eq!(update([2, 2, 1], 1), time(1));
        assert_eq!(update([2, 2, 0], 2), time(1), "another message alone");
        assert_eq!(update([2, 2, 2], 3), time(3));
    }

    #[test]
    fn isolation_is_what_the_weakest_pod_says() {
        for (wanted, said, status, reason, message) in [
            (Isolation::Process, &[][..], "Unknown", "NotReported", "no pod says"),
            (
                Isolation::Process,
                &["full"],
                "True",
                "Full",
                "the kernel keeps the Runs of a pod apart",
            ),
            (
                Isolation::Process,
                &["full: Landlock 7", "full: Landlock 7, namespaces (pid)"],
                "True",
                "Full",
                "the kernel keeps the Runs of a pod apart: Landlock 7; Landlock 7, namespaces (pid)",
            ),
            (Isolation::Process, &["full of holes"], "False", "Degraded", "full of holes"),
            (
                Isolation::Process,
                &["full", "degraded: signals"],
                "False",
                "Degraded",
                "degraded: signals",
            ),
            (Isolation::Process, &["none"], "False", "Degraded", "none"),
            (Isolation::None, &["full"], "False", "Off", "spec.isolation is none"),
        ] {
            let said: BTreeSet<_> = said.iter().map(|text| (*text).to_owned()).collect();
            let found = isolation(wanted, &said);
            assert_eq!((found.status, found.reason), (status, reason), "{said:?}");
            assert!(found.message.starts_with(message), "{}", found.message);
        }
    }
}
