//! Artifacts of Runs on the cluster of this machine: on a volume of its node and in MinIO beside it.
//!
//! They come back through a pod; they go with their Run, also without their Runtime; a maintainer is there while Runs need it; a
//! namespace with a hundred such Runs ends.

use super::behaviour::{apply, items, json_of, pool, run, text};
use super::place::{NODE_ADDRESS, NODE_NAME, Place};
use super::rights::roles;
use super::test::World;
use crate::artifacts::minio::{BUCKET, KEY_ID, Minio, SECRET_KEY};
use crate::suite::Tools;
use anyhow::ensure;
use serde_json::{Value, json};
use std::path::Path;

/// Of the store on the volume (`cargo test -p kruntimes-rules the_hash_of_a_store`, by the public API's rule).
const VOLUME_MAINTAINER: &str = "runtime-maintainer-45d07093075a44a9";
const NAMESPACE: &str = "artifacts";
const RUNS: usize = 100;
const LEAVES: &str = "echo kept > \"$KRUNTIME_ARTIFACTS_DIR/f\"";

/// All of it.
pub(super) fn case(world: &World, place: &Place) -> anyhow::Result<()> {
    let tools = &world.tools;
    let directory = place.cluster("artifacts-volume");
    std::fs::create_dir_all(&directory)?;
    tools.kubectl(&format!("create namespace {NAMESPACE}"))?;
    let volume = written(&volume(&directory))?;
    tools.kubectl(&format!("apply -f {}", volume.path().display()))?;
    let claim = json!({"driver": "filesystem", "filesystem": {"volumeClaimName": "pvc1"}});
    comes_and_goes(tools, claim, &|uid| {
        directory.join(format!("namespaces/{NAMESPACE}/runs/{uid}/f")).exists()
    })?;
    tools.kubectl(&format!(
        "wait -n {NAMESPACE} --for=delete deployment/{VOLUME_MAINTAINER} --timeout=180s"
    ))?;
    let minio = Minio::start_on(NODE_ADDRESS.parse()?)?;
    tools.kubectl(&format!(
        "create secret generic -n {NAMESPACE} minio --from-literal=AWS_ACCESS_KEY_ID={KEY_ID} \
         --from-literal=AWS_SECRET_ACCESS_KEY={SECRET_KEY}"
    ))?;
    let bucket = json!({"driver": "s3", "s3": {"bucket": BUCKET, "endpoint": minio.endpoint(),
        "forcePathStyle": true, "credentialsSecretName": "minio"}});
    comes_and_goes(tools, bucket.clone(), &|uid| {
        minio.bucket().join(format!("namespaces/{NAMESPACE}/runs/{uid}/f/xl.meta")).exists()
    })?;
    ends(tools, bucket)
}

/// An artifact is kept, downloaded, and removed with its Run when its Runtime is gone.
fn comes_and_goes(
    tools: &Tools,
    store: Value,
    is_kept: &dyn Fn(&str) -> bool,
) -> anyhow::Result<()> {
    ready(tools, store)?;
    apply(tools, NAMESPACE, &run("one", &json!({"args": [LEAVES]})))?;
    tools
        .kubectl(&format!("wait -n {NAMESPACE} --for=condition=Finished run/one --timeout=90s"))?;
    let found = json_of(tools, &format!("get run one -n {NAMESPACE}"))?;
    let (phase, message) = (text(&found, "/status/phase"), text(&found, "/status/message"));
    ensure!(phase == "Succeeded", "{phase}: {message}");
    let uid = text(&found, "/metadata/uid");
    ensure!(is_kept(uid), "the artifact is not where it must be");
    let target = tempfile::tempdir()?;
    let file = target.path().join("f");
    tools.krt(&format!("artifact download one f -n {NAMESPACE} -o {}", file.display()))?;
    ensure!(std::fs::read_to_string(&file)? == "kept\n", "the artifact differs");
    let taken = tools.krt(&format!("run -n {NAMESPACE} --input f=one:in/f -- cat in/f"))?;
    ensure!(taken == "kept\n", "the input differs: {taken}");
    tools.kubectl(&format!("delete runtime bash -n {NAMESPACE} --timeout=60s"))?;
    let ours = "app.kubernetes.io/component=runtime-maintainer";
    tools.kubectl(&format!(
        "wait -n {NAMESPACE} --for=condition=Available deployment -l {ours} --timeout=120s"
    ))?;
    roles::of_maintainers(tools, NAMESPACE)?;
    // Its Runtime is gone with all pods: the maintainer gives it out.
    std::fs::remove_file(&file)?;
    tools.krt(&format!("artifact download one f -n {NAMESPACE} -o {}", file.display()))?;
    ensure!(
        std::fs::read_to_string(&file)? == "kept\n",
        "the artifact differs without its Runtime"
    );
    tools.kubectl(&format!("delete run one -n {NAMESPACE} --timeout=60s"))?;
    ensure!(!is_kept(uid), "the artifact of a deleted Run stays");
    Ok(())
}

/// A hundred Runs with artifacts keep no namespace.
fn ends(tools: &Tools, store: Value) -> anyhow::Result<()> {
    ready(tools, store)?;
    let runs: Vec<Value> =
        (0..RUNS).map(|number| run(&format!("r-{number}"), &json!({"args": [LEAVES]}))).collect();
    apply(tools, NAMESPACE, &json!({"apiVersion": "v1", "kind": "List", "items": runs}))?;
    tools.kubectl(&format!(
        "wait -n {NAMESPACE} --for=condition=Finished run --all --timeout=300s"
    ))?;
    let all = json_of(tools, &format!("get runs -n {NAMESPACE}"))?;
    let guarded = items(&all).filter(|run| run["metadata"]["finalizers"].is_array()).count();
    ensure!(guarded == RUNS, "{guarded} of {RUNS} Runs have a finalizer");
    tools.kubectl(&format!("delete namespace {NAMESPACE} --timeout=60s"))?;
    tools.kubectl("delete pv kruntimes-artifacts --timeout=60s")?;
    Ok(())
}

/// The pool of this namespace, with this store.
fn ready(tools: &Tools, store: Value) -> anyhow::Result<()> {
    let mut pool = pool(tools)?;
    pool["spec"]["artifactStore"] = store;
    apply(tools, NAMESPACE, &pool)?;
    tools.kubectl(&format!(
        "wait -n {NAMESPACE} --for=condition=Ready runtime/bash --timeout=180s"
    ))?;
    Ok(())
}

fn written(objects: &Value) -> anyhow::Result<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new()?;
    serde_json::to_writer(&file, objects)?;
    Ok(file)
}

/// A directory of the node, claimed. The kubelet gives it to the pods' group, which it does for no hostPath.
fn volume(directory: &Path) -> Value {
    let size = json!({"storage": "1Gi"});
    let on_node = json!([{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]}]}]);
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "kruntimes-artifacts"},
        "spec": {
            "capacity": size, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain", "local": {"path": directory},
            "nodeAffinity": {"required": {"nodeSelectorTerms": on_node}},
        },
    });
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "pvc1", "namespace": NAMESPACE},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "volumeName": "kruntimes-artifacts", "resources": {"requests": size},
        },
    });
    json!({"apiVersion": "v1", "kind": "List", "items": [volume, claim]})
}
