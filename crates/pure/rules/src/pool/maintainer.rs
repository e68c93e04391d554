//! Who removes the artifacts of deleted Runs on a cluster: a Deployment for each store that Runs of a namespace refer to, with a
//! ServiceAccount, a Role and a RoleBinding that those of a namespace share.
//!
//! Nobody owns them: a store is cleaned when its Runtime is long gone. They are ours by their labels.

use super::containers;
use super::store;
use super::wanted::{Kind, Wanted, wanted};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy};
use k8s_openapi::api::core::v1::{
    Container, PodSecurityContext, PodSpec, PodTemplateSpec, ResourceRequirements, SecurityContext,
    ServiceAccount,
};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kruntimes_api::{ArtifactStore, GROUP, labels, names};
use kube::core::ObjectMeta;
use serde_json::Value;
use std::collections::BTreeMap;

/// What all of them are, by the label `app.kubernetes.io/component`.
pub const COMPONENT: &str = "runtime-maintainer";
/// ServiceAccount, Role and RoleBinding in each namespace.
pub const ACCOUNT: &str = "kruntimes-runtime-maintainer";
/// What these have for the hash of a store.
const SHARED: &str = "rbac";
const RBAC: &str = "rbac.authorization.k8s.io";
/// Group, resource and verbs. The controller must hold each of them itself.
pub const RIGHTS: [(&str, &str, &[&str]); 2] =
    [(GROUP, "runs", &["get", "list", "watch", "patch"]), ("", "events", &["create", "patch"])];

/// The Deployment for a store of this hash.
#[must_use]
pub fn name(hash: &str) -> String {
    format!("{COMPONENT}-{hash}")
}

/// What the maintainer of a store needs, in the order in which it is made; nothing for a store that is none.
///
/// # Errors
/// An object that can't be written as JSON.
pub fn objects(
    namespace: &str,
    store: &ArtifactStore,
    image: &str,
    cluster: Option<&str>,
) -> Result<Vec<Wanted>, serde_json::Error> {
    let Ok(checked) = store::check(store) else { return Ok(Vec::new()) };
    let account = ServiceAccount {
        metadata: metadata(namespace, ACCOUNT, SHARED),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    let hash = crate::artifact::store_hash(store);
    Ok(vec![
        wanted(Kind::ServiceAccount, serde_json::to_value(account)?),
        wanted(Kind::Role, serde_json::to_value(role(namespace))?),
        wanted(Kind::RoleBinding, serde_json::to_value(role_binding(namespace))?),
        wanted(
            Kind::Deployment,
            serde_json::to_value(deployment(namespace, &hash, &checked, (image, cluster)))?,
        ),
    ])
}

/// Whether an object is a maintainer's, so that it may be changed and deleted.
#[must_use]
pub fn is_ours(object: &Value) -> bool {
    let label = |name: &str| object["metadata"]["labels"][name].as_str();
    label(labels::COMPONENT) == Some(COMPONENT) && label(labels::NAME) == Some(labels::PRODUCT)
}

fn own_labels(hash: &str) -> BTreeMap<String, String> {
    [
        (labels::NAME, labels::PRODUCT),
        (labels::COMPONENT, COMPONENT),
        (labels::ARTIFACT_STORE_HASH, hash),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn metadata(namespace: &str, name: &str, hash: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        labels: Some(own_labels(hash)),
        ..ObjectMeta::default()
    }
}

fn role(namespace: &str) -> Role {
    let rule = |(group, resource, verbs): (&str, &str, &[&str])| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    };
    Role { metadata: metadata(namespace, ACCOUNT, SHARED), rules: Some(RIGHTS.map(rule).to_vec()) }
}

fn role_binding(namespace: &str) -> RoleBinding {
    RoleBinding {
        metadata: metadata(namespace, ACCOUNT, SHARED),
        role_ref: RoleRef {
            api_group: Some(RBAC.to_owned()),
            kind: "Role".to_owned(),
            name: ACCOUNT.to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: ACCOUNT.to_owned(),
            namespace: Some(namespace.to_owned()),
            api_group: None,
        }]),
    }
}

fn deployment(
    namespace: &str,
    hash: &str,
    store: &store::Store,
    of: (&str, Option<&str>),
) -> Deployment {
    let labels = own_labels(hash);
    let spec = PodSpec {
        service_account_name: Some(ACCOUNT.to_owned()),
        automount_service_account_token: Some(true),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(names::POD_USER),
            run_as_group: Some(names::POD_USER),
            fs_group: Some(names::POD_USER),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(containers::default_seccomp()),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(namespace, store, of)],
        volumes: store.volume().map(|volume| vec![volume]),
        ..PodSpec::default()
    };
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels.clone()), ..ObjectMeta::default() }),
        spec: Some(spec),
    };
    Deployment {
        metadata: metadata(namespace, &name(hash), hash),
        spec: Some(DeploymentSpec {
            replicas: Some(1),
            // A volume may let only one node have it.
            strategy: Some(DeploymentStrategy {
                type_: Some("Recreate".to_owned()),
                rolling_update: None,
            }),
            selector: LabelSelector { match_labels: Some(labels), ..LabelSelector::default() },
            template,
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn container(
    namespace: &str,
    store: &store::Store,
    (image, cluster): (&str, Option<&str>),
) -> Container {
    let mut arguments =
        vec!["serve".to_owned(), "maintainer".to_owned(), format!("--run-namespace={namespace}")];
    arguments.extend(store.arguments(cluster));
    let mut container = Container {
        name: "cleaner".to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(arguments),
        security_context: Some(SecurityContext {
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            ..SecurityContext::default()
        }),
        resources: Some(ResourceRequirements {
            requests: Some(containers::quantities("25m", "32Mi")),
            limits: Some(containers::quantities("250m", "128Mi")),
            ..ResourceRequirements::default()
        }),
        volume_mounts: store.mount().map(|mount| vec![mount]),
        ..Container::default()
    };
    containers::confine(&mut container);
    container
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{Step, decide_labelled};
    use serde_json::json;

    fn of(store: Value) -> Vec<Wanted> {
        objects("ns", &serde_json::from_value(store).unwrap(), "krt:1", Some("c")).unwrap()
    }

    #[test]
    fn a_store_on_a_volume_has_a_cleaner_that_mounts_it() {
        let store = json!({"driver": "filesystem", "filesystem": {"volumeClaimName": "pvc1"}});
        let made = of(store);
        let kinds: Vec<Kind> = made.iter().map(|wanted| wanted.kind).collect();
        assert_eq!(kinds, [Kind::ServiceAccount, Kind::Role, Kind::RoleBinding, Kind::Deployment]);
        let deployment = &made[3].object;
        assert_eq!(deployment["metadata"]["name"], "runtime-maintainer-45d07093075a44a9");
        assert_eq!(deployment["metadata"]["namespace"], "ns");
        let labels = json!({"app.kubernetes.io/name": "kruntimes",
            "app.kubernetes.io/component": "runtime-maintainer",
            "kruntimes.io/artifact-store-hash": "45d07093075a44a9"});
        assert_eq!(deployment["metadata"]["labels"], labels);
        assert_eq!(deployment["spec"]["selector"]["matchLabels"], labels);
        assert_eq!(deployment["spec"]["template"]["metadata"]["labels"], labels);
        let pod = &deployment["spec"]["template"]["spec"];
        let claim =
            json!([{"name": "artifact-store", "persistentVolumeClaim": {"claimName": "pvc1"}}]);
        assert_eq!(pod["volumes"], claim);
        assert_eq!(pod["serviceAccountName"], ACCOUNT);
        let container = &pod["containers"][0];
        assert_eq!(container["image"], "krt:1");
        let args = [
            "serve",
            "maintainer",
            "--run-namespace=ns",
            "--artifact-store-driver=filesystem",
            "--artifact-volume-claim=pvc1",
        ];
        assert_eq!(container["args"], json!(args));
        let mount =
            json!([{"name": "artifact-store", "mountPath": "/var/lib/kruntimes/artifacts"}]);
        assert_eq!(container["volumeMounts"], mount);
        assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
        assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    }

    #[test]
    fn a_bucket_brings_its_secret_and_one_that_is_none_nothing() {
        let made =
            of(json!({"driver": "s3", "s3": {"bucket": "b", "credentialsSecretName": "keys"}}));
        let pod = &made[3].object["spec"]["template"]["spec"];
        assert_eq!(pod["volumes"][0]["secret"]["secretName"], "keys");
        let args = pod["containers"][0]["args"].as_array().unwrap();
        assert!(args.contains(&json!("--artifact-s3-cluster-uid=c")), "{args:?}");
        assert_eq!(of(json!({"driver": "s3"})), []);
    }

    #[test]
    fn only_what_has_our_labels_is_changed() {
        let made = of(json!({"driver": "s3", "s3": {"bucket": "b"}}));
        let wanted = &made[3].object;
        assert_eq!(decide_labelled(None, wanted), Step::Create);
        assert_eq!(decide_labelled(Some(wanted), wanted), Step::Keep);
        let mut changed = wanted.clone();
        changed["spec"]["replicas"] = json!(0);
        assert!(matches!(decide_labelled(Some(&changed), wanted), Step::Patch(_)));
        changed["metadata"]["labels"] = json!({});
        assert_eq!(decide_labelled(Some(&changed), wanted), Step::Foreign);
    }
}
