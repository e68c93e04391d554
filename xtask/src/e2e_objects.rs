//! The cases of `cargo xtask e2e local` about the API server alone: patches, deletion, pages, a full disk.

use crate::suite::{Tools, contains, text};
use anyhow::{Context, ensure};
use std::path::Path;
use std::process::{Command, Stdio};

/// `kubectl patch --type=json`, and a `test` that does not hold.
pub(crate) fn json_patches(tools: &Tools) -> anyhow::Result<()> {
    tools.kubectl("create configmap patched --from-literal=a=b")?;
    let patch =
        r#"[{"op":"test","path":"/data/a","value":"b"},{"op":"add","path":"/data/c","value":"d"}]"#;
    contains(
        &tools.kubectl(&format!("patch configmap patched --type=json -p={patch}"))?,
        &["configmap/patched patched"],
    )?;
    let data = tools.kubectl("get configmap patched -o jsonpath={.data}")?;
    ensure!(data == r#"{"a":"b","c":"d"}"#, "data is {data}");
    let stale = r#"[{"op":"test","path":"/data/a","value":"x"},{"op":"remove","path":"/data/c"}]"#;
    contains(
        &tools.refused(&format!("patch configmap patched --type=json -p={stale}"))?,
        &["testing value failed: it is \"b\", not \"x\""],
    )
}

/// `kubectl delete --cascade` in its three ways, which each wait for the owner to be gone.
pub(crate) fn cascades(tools: &Tools) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("child.yaml");
    for (how, child_stays) in [("background", false), ("foreground", false), ("orphan", true)] {
        tools.kubectl("create configmap owner")?;
        let uid = tools.kubectl("get configmap owner -o jsonpath={.metadata.uid}")?;
        let owner = format!(
            "{{apiVersion: v1, kind: ConfigMap, name: owner, uid: {uid}, blockOwnerDeletion: true}}"
        );
        let child = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: child\n  ownerReferences: [{owner}]\n"
        );
        std::fs::write(&path, child)?;
        tools.kubectl(&format!("apply -f {}", path.display()))?;
        tools.kubectl(&format!("delete configmap owner --cascade={how} --timeout=30s"))?;
        contains(&tools.refused("get configmap owner")?, &["not found"])?;
        if child_stays {
            let owners =
                tools.kubectl("get configmap child -o jsonpath={.metadata.ownerReferences}")?;
            ensure!(owners.is_empty(), "{how}: the child still has owners: {owners}");
            tools.kubectl("delete configmap child")?;
        } else {
            contains(&tools.refused("get configmap child")?, &["not found"])?;
        }
    }
    Ok(())
}

/// What `kubectl get -o yaml` prints of several objects can be applied again.
pub(crate) fn lists(tools: &Tools) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("list.yaml");
    for name in ["listed-1", "listed-2"] {
        tools.kubectl(&format!("create configmap {name} --from-literal=a=b"))?;
    }
    std::fs::write(&path, tools.kubectl("get configmap listed-1 listed-2 -o yaml")?)?;
    tools.kubectl("delete configmap listed-1 listed-2")?;
    contains(
        &tools.kubectl(&format!("create -f {}", path.display()))?,
        &["configmap/listed-1 created", "configmap/listed-2 created"],
    )?;
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: kruntimes.io/v1alpha1\n  kind: Run\n  \
                metadata: {name: listed}\n  spec: {runtime: bash, argz: [x]}\n";
    std::fs::write(&path, list)?;
    contains(
        &tools.refused(&format!("create -f {}", path.display()))?,
        &["unknown field \"spec.argz\""],
    )?;
    tools.kubectl("delete configmap listed-1 listed-2")?;
    Ok(())
}

/// `kubectl get --chunk-size` brings everything, page after page.
pub(crate) fn chunks(tools: &Tools) -> anyhow::Result<()> {
    tools.kubectl("create ns pages")?;
    for n in 0..7 {
        tools.kubectl(&format!("create configmap c{n} -n pages"))?;
    }
    for size in [1, 2, 3, 7, 500] {
        let listed =
            tools.kubectl(&format!("get configmaps -n pages -o name --chunk-size={size}"))?;
        let expected: String = (0..7).map(|n| format!("configmap/c{n}\n")).collect();
        ensure!(listed == expected, "chunks of {size}: {listed}");
    }
    tools.kubectl("delete configmaps --all -n pages --timeout=30s")?;
    ensure!(tools.kubectl("get configmaps -n pages -o name")?.is_empty(), "configmaps are left");
    Ok(())
}

/// `kubectl delete ns` waits for what has finalizers, refuses what is new, and takes all along.
pub(crate) fn namespace_ends(tools: &Tools) -> anyhow::Result<()> {
    tools.kubectl("create ns ending")?;
    tools.kubectl("create configmap free -n ending")?;
    tools.kubectl("create configmap held -n ending")?;
    let hold = r#"-p={"metadata":{"finalizers":["example.com/x"]}}"#;
    tools.kubectl(&format!("patch configmap held -n ending --type=merge {hold}"))?;
    tools.kubectl("delete ns ending --wait=false")?;
    contains(&tools.kubectl("get ns ending")?, &["Terminating"])?;
    contains(
        &tools.kubectl("describe ns ending")?,
        &["Some resources are remaining: configmaps. has 1 resource instances", "example.com/x"],
    )?;
    contains(
        &tools.refused("create configmap new -n ending")?,
        &["because it is being terminated"],
    )?;
    let release = r#"-p={"metadata":{"finalizers":null}}"#;
    tools.kubectl(&format!("patch configmap held -n ending --type=merge {release}"))?;
    tools.kubectl("wait --for=delete ns/ending --timeout=30s")?;
    tools.kubectl("delete ns pages --timeout=30s")?;
    contains(&tools.refused("get ns pages")?, &["namespaces \"pages\" not found"])
}

/// The store, and the server's log, on a small disk of its own that fills up and is freed again.
const FULL_DISK: &str = r#"
set -eu
disk=$(mktemp -d)
mount -t tmpfs -o size=24m none "$disk"
"$KRT" serve apiserver --data-dir "$disk/data" 2>"$disk/log" &
server=$!
trap 'kill $server; wait $server || true; umount "$disk"; rmdir "$disk"' EXIT
export KUBECONFIG="$disk/data/kubeconfig"
until kubectl get --raw /readyz >/dev/null 2>&1; do kill -0 $server; done
kubectl create configmap before
head -c 900000 /dev/zero | tr '\0' x >"$disk/big"
dd if=/dev/zero of="$disk/filler" bs=64k 2>/dev/null || true
refused=
for n in 1 2 3 4 5 6 7 8; do
  kubectl create configmap big$n --from-file="$disk/big" 2>/dev/null || refused=yes
done
test $refused
for n in 1 2 3 4 5; do
  kubectl create configmap more$n --from-file="$disk/big" && exit 1
done
kubectl get configmap before -o name
rm "$disk/filler"
kubectl create configmap after
kubectl delete configmap before
kubectl get configmaps -o name
"#;

/// A full disk: writes are refused, reads go on, and all goes on once there is room.
pub(crate) fn full_disk(krt: &Path) -> anyhow::Result<()> {
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", FULL_DISK])
        .env("KRT", krt)
        .stdin(Stdio::null())
        .output()
        .context("start unshare (util-linux): it must be installed")?;
    let shown = text(&output);
    ensure!(
        output.status.success(),
        "e2e local, a full disk (it needs user namespaces, to mount a tmpfs without root): {shown}"
    );
    contains(
        &shown,
        &[
            "is full (No space left on device",
            "nothing is written until there is room; reads go on",
            "configmap/after created",
            "configmap \"before\" deleted",
        ],
    )
    .context("e2e local, a full disk")
}
