//! The objects that a Workflow creates.

use crate::execution::Identity;
use crate::names::{self, Place};
use k8s_openapi::api::core::v1::EnvVar;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kruntimes_api::{Run, RunInput, RunSpec, Source, Workflow, limits};
use kube::ResourceExt;
use kube::core::ObjectMeta;
use std::collections::BTreeMap;

/// Label with the name of the Workflow.
pub const LABEL_WORKFLOW: &str = "workflow";
/// Label with the name of the job.
pub const LABEL_JOB: &str = "job";
/// Label with the name of the step.
pub const LABEL_STEP: &str = "step";
/// Label with the name of the matrix's leg.
pub const LABEL_LEG: &str = "kruntimes.io/workflow-leg";
/// Label with the attempt of the job, from 1.
pub const LABEL_ATTEMPT: &str = "kruntimes.io/workflow-attempt";
/// Annotation of a Workflow that a job uses: the templates that use each other so far, its own at the end.
const CHAIN: &str = "kruntimes.io/workflow-templates";
/// Annotation of a Workflow that a job uses: among how many as deep as itself it may be.
const AMONG: &str = "kruntimes.io/workflow-among";

/// Which step, or which job that uses a Workflow, a child is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Child {
    /// The job.
    pub job: String,
    /// The leg of its matrix.
    pub leg: Option<String>,
    /// The step; none where the child is the whole job.
    pub step: Option<String>,
    /// The attempt of the leg, from 1.
    pub attempt: i32,
}

impl Child {
    /// What the labels of an object say.
    #[must_use]
    pub fn of(labels: &BTreeMap<String, String>) -> Option<Self> {
        Some(Self {
            job: labels.get(LABEL_JOB)?.clone(),
            leg: labels.get(LABEL_LEG).cloned(),
            step: labels.get(LABEL_STEP).cloned(),
            attempt: labels.get(LABEL_ATTEMPT).map_or(Some(1), |text| text.parse().ok())?,
        })
    }

    pub(crate) fn place(&self) -> Place<'_> {
        Place {
            job: &self.job,
            leg: self.leg.as_deref(),
            step: self.step.as_deref(),
            attempt: self.attempt,
        }
    }

    /// The two names it may have.
    pub(crate) fn names(&self, of: &Identity) -> [String; 2] {
        let place = self.place();
        [names::child(&of.name, place), names::other(&of.uid, &of.name, place)]
    }

    fn labels(&self, workflow: &str) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([
            (LABEL_WORKFLOW.to_owned(), workflow.to_owned()),
            (LABEL_JOB.to_owned(), self.job.clone()),
        ]);
        let optional = [(LABEL_STEP, &self.step), (LABEL_LEG, &self.leg)];
        for (label, value) in optional {
            if let Some(value) = value {
                labels.insert(label.to_owned(), value.clone());
            }
        }
        if self.attempt > 1 {
            labels.insert(LABEL_ATTEMPT.to_owned(), self.attempt.to_string());
        }
        labels
    }

    /// Its metadata.
    pub(crate) fn metadata(&self, of: &Identity, name: String) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(of.namespace.clone()),
            labels: Some(self.labels(&of.name)),
            owner_references: Some(vec![OwnerReference {
                api_version: kruntimes_api::API_VERSION.to_owned(),
                kind: "Workflow".to_owned(),
                name: of.name.clone(),
                uid: of.uid.clone(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]),
            ..ObjectMeta::default()
        }
    }
}

/// What a step's Run executes, evaluated.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Work {
    pub(crate) runtime: String,
    pub(crate) script: String,
    pub(crate) inputs: Vec<RunInput>,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) timeout_seconds: Option<i64>,
    pub(crate) retry_policy: Option<kruntimes_api::RetryPolicy>,
    pub(crate) workspace_group: Option<String>,
}

/// The Run of a step. It stays as long as its Workflow does, which deletes it.
pub(crate) fn run(metadata: ObjectMeta, work: Work) -> Run {
    let variable = |(name, value)| EnvVar { name, value: Some(value), value_from: None };
    Run {
        metadata,
        spec: RunSpec {
            runtime: work.runtime,
            source: Some(Source { inline: Some(work.script), ..Source::default() }),
            inputs: work.inputs,
            args: work.args,
            env: work.env.into_iter().map(variable).collect(),
            timeout_seconds: work.timeout_seconds,
            retry_policy: work.retry_policy,
            workspace_group: work.workspace_group,
            ttl_seconds_after_finished: Some(0),
            ..RunSpec::default()
        },
        ..Run::default()
    }
}

/// The Run that holds the workspace of a group.
pub(crate) fn holder(metadata: ObjectMeta, runtime: String, group: String) -> Run {
    Run {
        metadata,
        spec: RunSpec {
            runtime,
            workspace_group: Some(group),
            holds_workspace: Some(true),
            ttl_seconds_after_finished: Some(0),
            ..RunSpec::default()
        },
        ..Run::default()
    }
}

/// A job that uses a template.
#[derive(Debug, Clone, PartialEq)]
pub struct Use {
    /// Of the Workflow to create.
    pub metadata: ObjectMeta,
    /// Name of the template.
    pub template: String,
    /// Values of its inputs.
    pub with: BTreeMap<String, String>,
    /// Among how many of its user it is.
    pub among: usize,
}

/// The Workflow that is a job: the template as it is now, told what the job says.
///
/// # Errors
/// Why there can be none.
pub fn use_template(
    user: &Workflow,
    template: Option<&Workflow>,
    job: Use,
) -> Result<Workflow, String> {
    let Use { mut metadata, template: name, with, among } = job;
    let Some(template) = template.filter(|template| template.is_template()) else {
        return Err(match template {
            Some(_) => format!("the Workflow {name} is no template: set its spec.template to true"),
            None => format!("the namespace has no Workflow {name}"),
        });
    };
    let chain = chain(user, &name)?;
    let of_user = user.annotations().get(AMONG).and_then(|text| text.parse().ok());
    let among = among.saturating_mul(of_user.unwrap_or(1));
    let most = limits::WORKFLOWS_OF_A_DEPTH;
    if among > most {
        return Err(format!(
            "{name} would be one of {among} Workflows that are used as deep as it; there may be {most}"
        ));
    }
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(CHAIN.to_owned(), chain);
    annotations.insert(AMONG.to_owned(), among.to_string());
    let mut spec = template.spec.clone();
    spec.template = None;
    spec.with = with;
    spec.ttl_seconds_after_finished = Some(0);
    (spec.cancel_requested, spec.suspend, spec.approvals, spec.reuse) =
        (None, None, Vec::new(), None);
    Ok(Workflow { metadata, spec, ..Workflow::default() })
}

/// The templates that use each other, with this one at the end.
fn chain(user: &Workflow, name: &str) -> Result<String, String> {
    let above = user.annotations().get(CHAIN).map_or("", String::as_str);
    let mut chain: Vec<&str> = above.split(',').filter(|name| !name.is_empty()).collect();
    let uses_itself = chain.contains(&name);
    chain.push(name);
    if uses_itself {
        return Err(format!("{name} would use itself: {}", chain.join(" -> ")));
    }
    let (depth, most) = (chain.len() + 1, limits::WORKFLOW_DEPTH as usize);
    if depth > most {
        return Err(format!(
            "{name} would be the {depth}th Workflow that uses another one in a row; there may be {most}"
        ));
    }
    Ok(chain.join(","))
}

#[cfg(test)]
mod tests {
    use super::{Use, use_template};
    use kruntimes_api::Workflow;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn uses(user: &Workflow, name: &str, among: usize) -> Result<Workflow, String> {
        let template = json!({"spec": {"template": true, "jobs": {}}});
        let template: Workflow = serde_json::from_value(template).unwrap();
        let (metadata, with) = (Default::default(), BTreeMap::new());
        let job = Use { metadata, template: name.to_owned(), with, among };
        use_template(user, Some(&template), job)
    }

    #[test]
    fn templates_use_each_other_eight_deep_and_never_themselves() {
        let mut user = Workflow::default();
        for name in ["a", "b", "c", "d", "e", "f", "g"] {
            user = uses(&user, name, 1).unwrap();
        }
        let why = uses(&user, "h", 1).unwrap_err();
        assert!(why.starts_with("h would be the 9th Workflow"), "{why}");
        let why = uses(&user, "f", 1).unwrap_err();
        assert_eq!(why, "f would use itself: a -> b -> c -> d -> e -> f -> g -> f");
    }

    #[test]
    fn as_many_are_used_at_a_depth_as_there_may_be() {
        let user = uses(&Workflow::default(), "a", 64).unwrap();
        assert!(uses(&user, "b", 16).is_ok());
        let why = uses(&user, "b", 17).unwrap_err();
        assert!(why.starts_with("b would be one of 1088 Workflows"), "{why}");
    }
}
