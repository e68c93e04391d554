//! Workflows as the controller keeps them: groups across a restart, and answers that come too late.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use jiff::Timestamp;
use kruntimes_api::Workflow;
use kruntimes_rules::observed::{ObjectKey, Observed};
use kruntimes_workflow::keep::{Done, Failure, Keep, Request, Whose};
use kruntimes_workflow::{Answer, Effect};
use serde_json::{Value, json};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn workflow(name: &str, created: i64, more: &Value) -> Workflow {
    let mut workflow = json!({
        "metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": "1",
            "creationTimestamp": at(created).to_string()},
        "spec": {"concurrency": {"group": "g"}, "jobs": {
            "a": {"runs-on": "bash", "steps": [{"name": "s", "run": "true"}]}}},
    });
    workflow.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(workflow).unwrap()
}

/// Names of the Runs that are created once everything has been shown.
fn created(all: Vec<Workflow>) -> (Keep, Vec<String>) {
    let mut keep = Keep::default();
    for workflow in all {
        keep.workflow_seen(Observed::Applied(workflow), at(100));
    }
    keep.workflow_seen(Observed::Synced, at(100));
    keep.run_seen(Observed::Synced);
    let names = creations(keep.advance(at(100)));
    (keep, names)
}

fn creations(requests: Vec<(Whose, Request)>) -> Vec<String> {
    let mut names = Vec::new();
    for (_, request) in requests {
        if let Request::Create { creation, .. } = request {
            names.push(creation.name);
        }
    }
    names
}

#[test]
fn after_a_restart_who_has_begun_is_first_though_its_name_comes_later() {
    let begun = json!({"status": {"phase": "Running", "startTime": at(2).to_string()}});
    let all = vec![workflow("a", 5, &json!({})), workflow("b", 1, &begun)];
    let (mut keep, names) = created(all);
    assert_eq!(names, ["wf-b-a-s"]);
    let gone = ObjectKey { namespace: "n".to_owned(), name: "b".to_owned() };
    keep.workflow_seen(Observed::Gone(gone), at(101));
    assert_eq!(creations(keep.advance(at(101))), ["wf-a-a-s"]);
}

#[test]
fn of_those_that_wait_the_older_begins_though_its_name_comes_later() {
    let all = vec![workflow("a", 5, &json!({})), workflow("b", 1, &json!({}))];
    assert_eq!(created(all).1, ["wf-b-a-s"]);
}

#[test]
fn one_that_has_begun_is_waited_for_while_the_workflow_that_it_takes_over_is_read() {
    let mut begun =
        workflow("b", 1, &json!({"status": {"phase": "Running", "startTime": at(2).to_string()}}));
    begun.spec.reuse =
        serde_json::from_value(json!({"workflow": "w", "uid": "u", "jobs": ["a"]})).ok();
    assert!(begun.spec.reuse.is_some());
    let (mut keep, names) = created(vec![workflow("a", 5, &json!({})), begun]);
    assert!(names.is_empty(), "{names:?}");
    let gone = ObjectKey { namespace: "n".to_owned(), name: "b".to_owned() };
    keep.workflow_seen(Observed::Gone(gone), at(101));
    assert_eq!(creations(keep.advance(at(101))), ["wf-a-a-s"]);
}

#[test]
fn what_came_of_a_request_means_nothing_to_the_next_workflow_of_the_name() {
    let mut keep = Keep::default();
    keep.workflow_seen(Observed::Applied(workflow("a", 1, &json!({}))), at(100));
    keep.workflow_seen(Observed::Synced, at(100));
    keep.run_seen(Observed::Synced);
    let sent = keep.advance(at(100)).into_iter().find_map(|(whose, request)| match request {
        Request::Create { creation, .. } => Some((whose, creation)),
        Request::Cancel { .. }
        | Request::Supersede
        | Request::Write(_)
        | Request::Read
        | Request::ReadEarlier(_) => None,
    });
    let (whose, creation) = sent.unwrap();
    keep.workflow_seen(Observed::Gone(whose.key.clone()), at(101));
    let mut next = workflow("a", 101, &json!({}));
    next.metadata.uid = Some("next".to_owned());
    keep.workflow_seen(Observed::Applied(next), at(101));
    assert_eq!(creations(keep.advance(at(101))), ["wf-a-a-s"]);
    let taken = Done::Created { creation, answer: Answer::Taken, there: None };
    keep.done(whose, taken, at(102));
    assert!(creations(keep.advance(at(102))).is_empty());
}

#[test]
fn one_whose_earlier_workflow_can_not_be_read_holds_up_no_group_of_another_namespace() {
    let mut keep = Keep::default();
    let mut stuck = workflow("stuck", 1, &json!({}));
    stuck.metadata.namespace = Some("hostile".to_owned());
    stuck.spec.reuse =
        serde_json::from_value(json!({"workflow": "?limit=1", "uid": "u", "jobs": ["a"]})).ok();
    let child = json!({"metadata": {"name": "any", "namespace": "hostile", "uid": "c", "labels": {"workflow": "stuck", "job": "a", "step": "s"},
        "ownerReferences": [{"apiVersion": "kruntimes.io/v1alpha1", "kind": "Workflow", "name": "stuck", "uid": "stuck", "controller": true}]},
        "spec": {"runtime": "bash"}});
    keep.workflow_seen(Observed::Applied(stuck), at(100));
    keep.workflow_seen(Observed::Synced, at(100));
    keep.run_seen(Observed::Applied(serde_json::from_value(child).unwrap()));
    keep.run_seen(Observed::Synced);
    let mut names = Vec::new();
    keep.workflow_seen(Observed::Applied(workflow("good", 5, &json!({}))), at(100));
    for second in 0..1000 {
        for (whose, request) in keep.advance(at(100 + second)) {
            if let Request::ReadEarlier(_) = request {
                keep.done(whose, Done::Earlier(Err(Failure::Other)), at(100 + second));
            } else if let Request::Create { creation, .. } = request {
                names.push(creation.name);
            }
        }
    }
    assert_eq!(names, ["wf-good-a-s"]);
}

#[test]
fn one_status_is_on_its_way_though_a_creation_is_to_be_tried_again() {
    let mut keep = Keep::default();
    keep.workflow_seen(Observed::Applied(workflow("a", 1, &json!({}))), at(100));
    keep.workflow_seen(Observed::Synced, at(100));
    keep.run_seen(Observed::Synced);
    let sent = keep.advance(at(100));
    assert!(sent.iter().any(|(_, request)| matches!(request, Request::Write(_))), "{sent:?}");
    let (whose, creation) = sent
        .into_iter()
        .find_map(|(whose, request)| {
            let Request::Create { creation, .. } = request else { return None };
            Some((whose, creation))
        })
        .unwrap();
    keep.done(whose, Done::Again(Effect::Create(creation)), at(100));
    let again = keep.advance(at(101));
    let is_creation = |(_, request): &(Whose, Request)| matches!(request, Request::Create { .. });
    assert!(again.len() == 1 && again.iter().all(is_creation), "{again:?}");
}

#[test]
fn a_status_that_could_not_be_written_is_read_once_and_then_written_again() {
    let mut keep = Keep::default();
    keep.workflow_seen(Observed::Applied(workflow("a", 1, &json!({}))), at(100));
    keep.workflow_seen(Observed::Synced, at(100));
    keep.run_seen(Observed::Synced);
    let sent = keep.advance(at(100));
    let (whose, _) =
        sent.into_iter().find(|(_, request)| matches!(request, Request::Write(_))).unwrap();
    keep.done(whose.clone(), Done::Written(Err(Failure::Other)), at(100));
    let reads = |keep: &mut Keep, now: i64| {
        let sent = keep.advance(at(now));
        sent.iter().filter(|(_, request)| matches!(request, Request::Read)).count()
    };
    assert_eq!(reads(&mut keep, 101), 1);
    assert_eq!(reads(&mut keep, 200), 0, "it has not been answered");
    keep.done(whose.clone(), Done::Read(Err(Failure::Other)), at(200));
    assert_eq!(reads(&mut keep, 300), 1);
    keep.done(whose, Done::Read(Ok(Some(workflow("a", 1, &json!({}))))), at(300));
    let sent = keep.advance(at(300));
    assert!(sent.iter().any(|(_, request)| matches!(request, Request::Write(_))), "{sent:?}");
}
