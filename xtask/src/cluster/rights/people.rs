//! What each role for people may do, alone and as a part of view, edit and admin.

use super::{apply, block_on, in_namespace, token};
use crate::cluster::test::World;
use crate::suite::Tools;
use anyhow::ensure;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;

/// The roles of the columns. The last is the namespace's own person without a role.
const ROLES: [&str; 8] = [
    "kruntimes-viewer",
    "kruntimes-submitter",
    "kruntimes-runtime-owner",
    "view",
    "edit",
    "admin",
    "kruntimes-platform-admin",
    "",
];

/// Verb, group and resource, and for each role whether it may: `y` or `-`.
const TABLE: [(&str, &str, &str, &str); 24] = [
    ("get", "kruntimes.io", "runs", "yyyyyyy-"),
    ("watch", "kruntimes.io", "runs", "yyyyyyy-"),
    ("create", "kruntimes.io", "runs", "-yy-yyy-"),
    ("patch", "kruntimes.io", "runs", "-yy-yyy-"),
    ("delete", "kruntimes.io", "runs", "-yy-yyy-"),
    ("patch", "kruntimes.io", "runs/status", "------y-"),
    ("update", "kruntimes.io", "runs/status", "------y-"),
    ("override", "kruntimes.io", "runs/status", "------y-"),
    ("list", "kruntimes.io", "runtimes", "yyyyyyy-"),
    ("create", "kruntimes.io", "runtimes", "--y--yy-"),
    ("patch", "kruntimes.io", "runtimes", "--y--yy-"),
    ("delete", "kruntimes.io", "runtimes", "--y--yy-"),
    ("patch", "kruntimes.io", "runtimes/status", "------y-"),
    ("get", "", "pods", "-yyyyyy-"),
    ("get", "", "pods/log", "-yyyyyy-"),
    ("create", "", "pods/portforward", "-yy-yyy-"),
    ("get", "", "pods/portforward", "-yy-yyy-"),
    ("create", "", "pods", "----yy--"),
    ("create", "", "pods/exec", "----yy--"),
    ("get", "", "secrets", "----yy--"),
    ("create", "", "serviceaccounts/token", "----yy--"),
    ("list", "apps", "deployments", "--yyyyy-"),
    ("patch", "apps", "deployments", "----yy--"),
    ("list", "rbac.authorization.k8s.io", "roles", "-----yy-"),
];

/// Asks the API server for every cell of the table.
pub(super) fn may(world: &World) -> anyhow::Result<()> {
    let tools = &world.tools;
    let namespace = "rights-people";
    tools.kubectl(&format!("create namespace {namespace}"))?;
    for role in ROLES.into_iter().filter(|role| !role.is_empty()) {
        tools.kubectl(&format!(
            "create rolebinding {role} -n {namespace} --clusterrole={role} --user=has-{role}"
        ))?;
    }
    let compared = block_on(compare(tools, namespace));
    tools.kubectl(&format!("delete namespace {namespace} --timeout=60s"))?;
    compared
}

async fn compare(tools: &Tools, namespace: &str) -> anyhow::Result<()> {
    let reviews: Api<SubjectAccessReview> = Api::all(token::admin(tools).await?);
    let mut findings = Vec::new();
    for (verb, group, resource, answers) in TABLE {
        for (role, answer) in ROLES.iter().zip(answers.chars()) {
            let (plural, sub) = resource.split_once('/').unwrap_or((resource, ""));
            let asked = SubjectAccessReview {
                spec: SubjectAccessReviewSpec {
                    user: Some(format!("has-{role}")),
                    resource_attributes: Some(ResourceAttributes {
                        namespace: Some(namespace.to_owned()),
                        verb: Some(verb.to_owned()),
                        group: Some(group.to_owned()),
                        resource: Some(plural.to_owned()),
                        subresource: Some(sub.to_owned()),
                        ..ResourceAttributes::default()
                    }),
                    ..SubjectAccessReviewSpec::default()
                },
                ..SubjectAccessReview::default()
            };
            let review = reviews.create(&PostParams::default(), &asked).await?;
            let allowed = review.status.is_some_and(|status| status.allowed);
            if allowed != (answer == 'y') {
                findings.push(format!("{role:?} {verb} {resource}: {allowed}"));
            }
        }
    }
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    Ok(())
}

const SECRET: &str = "
apiVersion: v1
kind: Secret
metadata: {name: payroll}
stringData: {salary: canary-of-the-payroll}
";

const STEALS_A_SECRET: &str = "
apiVersion: kruntimes.io/v1alpha1
kind: Run
metadata: {name: greedy}
spec:
  runtime: bash
  args: ['echo \"got $SALARY\"; cat /etc/kruntimes/secrets/payroll/salary; true']
  env:
    - name: SALARY
      valueFrom:
        secretKeyRef: {name: payroll, key: salary}
";

/// With it the Run would count as a step of the Workflow, and work in the directory of its job.
const OF_A_WORKFLOW: &str = "\
apiVersion: kruntimes.io/v1alpha1
kind: Run
metadata:
  name: forged
  ownerReferences:
    - {apiVersion: kruntimes.io/v1alpha1, kind: Workflow, name: w, uid: 00000000-0000-0000-0000-000000000000, controller: true}
spec: {runtime: bash, args: [\"true\"]}
";

/// Somebody with the role of a submitter and no other: runs and cancels, forges nothing, reads no Secret.
pub(super) fn submits(world: &World) -> anyhow::Result<()> {
    let tools = &world.tools;
    in_namespace(world, "rights-submitter", |namespace| {
        tools.kubectl(&format!(
            "create rolebinding ada -n {namespace} --clusterrole=kruntimes-submitter --user=ada"
        ))?;
        apply(tools, namespace, SECRET)?;
        let as_ada = |words: &str| tools.kubectl(&format!("--as=ada -n {namespace} {words}"));
        let refused = |words: &str| tools.refused(&format!("--as=ada -n {namespace} {words}"));

        let directory = tempfile::tempdir()?;
        let path = directory.path().join("run.yaml");
        std::fs::write(&path, STEALS_A_SECRET)?;
        as_ada(&format!("create -f {}", path.display()))?;
        as_ada("wait --for=condition=Finished run/greedy --timeout=60s")?;
        let reason = as_ada("get run greedy -o jsonpath={.status.phase}:{.status.reason}")?;
        ensure!(reason == "Failed:EnvNotAllowed", "the Run ended as {reason}");
        let shown = as_ada("get run greedy -o yaml")?;
        ensure!(!shown.contains("canary-of-the-payroll"), "the Secret stands in the Run");

        for (words, why) in [
            ("get secret payroll", "cannot get resource \"secrets\""),
            (
                "patch run greedy --subresource=status --type=merge -p {\"status\":{}}",
                "runs/status",
            ),
            (
                "patch runtime bash --type=merge -p {\"spec\":{\"allowedSecrets\":[\"payroll\"]}}",
                "runtimes",
            ),
            ("exec deploy/runtime-bash -c runtime -- true", "cannot"),
            ("create token runtime-bash", "serviceaccounts/token"),
        ] {
            let said = refused(words)?;
            ensure!(said.contains("forbidden") && said.contains(why), "{words}: {said}");
        }
        std::fs::write(&path, OF_A_WORKFLOW)?;
        let said = refused(&format!("create -f {}", path.display()))?;
        ensure!(said.contains("only the controller makes a Run"), "a forged owner: {said}");
        Ok(())
    })
}
