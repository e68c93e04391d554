//! The hostile templates by place: what is refused, where, and a legal neighbour.

#![expect(clippy::needless_pass_by_value, reason = "a table's values are used once")]

use serde_json::{Map, Value, json};

/// Where a case puts its fields.
#[derive(Clone, Copy)]
pub(super) enum At {
    Metadata,
    Pod,
    Server,
    Extra,
    Init,
    Volume,
}
pub(super) use At::{Extra, Init, Metadata, Pod, Server, Volume};

impl At {
    pub(super) fn path(self) -> &'static str {
        match self {
            Metadata => "spec.template.metadata.",
            Pod => "spec.template.spec.",
            Server => "spec.template.spec.containers[0].",
            Extra => "spec.template.spec.containers[1].",
            Init => "spec.template.spec.initContainers[0].",
            Volume => "spec.template.spec.volumes[0].",
        }
    }
}

pub(super) fn merge(target: &mut Value, fields: &Value) {
    let fields: &Map<String, Value> = fields.as_object().unwrap();
    target.as_object_mut().unwrap().extend(fields.clone());
}

pub(super) fn mounted(mount: Value) -> Value {
    json!({"volumeMounts": [mount]})
}

pub(super) fn secure(fields: Value) -> Value {
    json!({"securityContext": fields})
}

pub(super) fn env_from(source: Value) -> Value {
    json!({"env": [{"name": "A", "valueFrom": source}]})
}

pub(super) fn port(fields: Value) -> Value {
    let mut port = json!({"containerPort": 8080});
    merge(&mut port, &fields);
    json!({"ports": [port]})
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn pods_and_tokens() -> Vec<(At, Value, &'static str, Value)> {
    let token = json!([{"serviceAccountToken": {"path": "t"}}]);
    let item = |path: &str| json!([{"path": "a", "fieldRef": {"fieldPath": path}}]);
    let control = "metadata.annotations['kruntimes.io/control-token']";
    vec![
        (
            Pod,
            json!({"containers": []}),
            "containers",
            json!({"containers": [{"name": "runtime"}]}),
        ),
        (Pod, json!({"containers": [{"name": "server"}]}), "containers[0].name", json!({})),
        (Pod, json!({"hostNetwork": true}), "hostNetwork", json!({"hostNetwork": false})),
        (Pod, json!({"hostPID": true}), "hostPID", json!({"hostPID": false})),
        (Pod, json!({"hostIPC": true}), "hostIPC", json!({"hostIPC": false})),
        (
            Pod,
            json!({"shareProcessNamespace": true}),
            "shareProcessNamespace",
            json!({"shareProcessNamespace": false}),
        ),
        (
            Pod,
            json!({"ephemeralContainers": [{"name": "d"}]}),
            "ephemeralContainers",
            json!({"ephemeralContainers": []}),
        ),
        (
            Pod,
            json!({"automountServiceAccountToken": true}),
            "automountServiceAccountToken",
            json!({"automountServiceAccountToken": false}),
        ),
        (
            Pod,
            json!({"serviceAccount": "robot"}),
            "serviceAccount",
            json!({"serviceAccountName": "robot"}),
        ),
        (Pod, json!({"nodeName": "n1"}), "nodeName", json!({"nodeSelector": {"a": "b"}})),
        (Pod, json!({"priority": 2_000_000_000}), "priority", json!({"priorityClassName": "high"})),
        (Pod, json!({"overhead": {"cpu": "1"}}), "overhead", json!({"runtimeClassName": "gvisor"})),
        (
            Pod,
            json!({"activeDeadlineSeconds": 5}),
            "activeDeadlineSeconds",
            json!({"schedulerName": "mine"}),
        ),
        (
            Pod,
            json!({"terminationGracePeriodSeconds": 0}),
            "terminationGracePeriodSeconds",
            json!({"dnsPolicy": "Default"}),
        ),
        (
            Pod,
            json!({"restartPolicy": "Never"}),
            "restartPolicy",
            json!({"restartPolicy": "Always"}),
        ),
        (Pod, json!({"os": {"name": "windows"}}), "os.name", json!({"os": {"name": "linux"}})),
        (
            Pod,
            json!({"schedulingGroup": {"podGroupName": "g"}}),
            "schedulingGroup",
            json!({"schedulingGates": [{"name": "g"}]}),
        ),
        (
            Pod,
            secure(json!({"sysctls": [{"name": "kernel.msgmax", "value": "1"}]})),
            "securityContext.sysctls",
            secure(json!({"sysctls": []})),
        ),
        (
            Pod,
            secure(json!({"runAsUser": 0})),
            "securityContext.runAsUser",
            secure(json!({"runAsUser": 1})),
        ),
        (
            Pod,
            secure(json!({"runAsNonRoot": false})),
            "securityContext.runAsNonRoot",
            secure(json!({"runAsNonRoot": true})),
        ),
        (
            Pod,
            secure(json!({"seccompProfile": {"type": "Unconfined"}})),
            "securityContext.seccompProfile.type",
            secure(json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "p"}})),
        ),
        (
            Pod,
            secure(json!({"appArmorProfile": {"type": "Unconfined"}})),
            "securityContext.appArmorProfile.type",
            secure(json!({"appArmorProfile": {"type": "RuntimeDefault"}})),
        ),
        (
            Pod,
            secure(json!({"seLinuxOptions": {"user": "root"}})),
            "securityContext.seLinuxOptions.user",
            secure(json!({"seLinuxOptions": {"level": "s0:c1,c2"}})),
        ),
        (
            Pod,
            secure(json!({"windowsOptions": {"hostProcess": true}})),
            "securityContext.windowsOptions",
            secure(json!({"supplementalGroups": [7]})),
        ),
        (
            Volume,
            json!({"hostPath": {"path": "/"}}),
            "hostPath",
            json!({"emptyDir": {"medium": "Memory"}}),
        ),
        (
            Volume,
            json!({"nfs": {"server": "s", "path": "/"}}),
            "nfs",
            json!({"persistentVolumeClaim": {"claimName": "c"}}),
        ),
        (
            Volume,
            json!({"iscsi": {"targetPortal": "p", "iqn": "i", "lun": 0}}),
            "iscsi",
            json!({"csi": {"driver": "d"}}),
        ),
        (
            Volume,
            json!({"gitRepo": {"repository": "r"}}),
            "gitRepo",
            json!({"configMap": {"name": "c"}}),
        ),
        (
            Volume,
            json!({"flexVolume": {"driver": "d"}}),
            "flexVolume",
            json!({"secret": {"secretName": "tls"}}),
        ),
        (
            Volume,
            json!({"projected": {"sources": token}}),
            "projected.sources[0].serviceAccountToken",
            json!({"projected": {"sources": [{"configMap": {"name": "c"}}]}}),
        ),
        (
            Volume,
            json!({"projected": {"sources": [{"secret": {"name": "db"}}]}}),
            "projected.sources[0].secret",
            json!({"projected": {"sources": [{"secret": {"name": "tls"}}]}}),
        ),
        (
            Volume,
            json!({"secret": {"secretName": "db"}}),
            "secret",
            json!({"secret": {"secretName": "dbx"}}),
        ),
        (
            Volume,
            json!({"downwardAPI": {"items": item(control)}}),
            "downwardAPI.items[0].fieldRef.fieldPath",
            json!({"downwardAPI": {"items": item("metadata.name")}}),
        ),
        (
            Volume,
            json!({"downwardAPI": {"items": item("metadata.annotations")}}),
            "downwardAPI.items[0].fieldRef.fieldPath",
            json!({"downwardAPI": {"items": item("metadata.annotations['note']")}}),
        ),
        (Volume, json!({"name": "workspace"}), "name", json!({"name": "work"})),
        (Volume, json!({"name": "kruntimes-state"}), "name", json!({"name": "kruntime"})),
        (Volume, json!({"name": "artifact-store"}), "name", json!({"name": "artifacts"})),
        (
            Metadata,
            json!({"labels": {"runtime": "other"}}),
            "labels",
            json!({"labels": {"runtime": "bash"}}),
        ),
        (
            Metadata,
            json!({"labels": {"app": "other"}}),
            "labels",
            json!({"labels": {"app": "kruntimes-bash"}}),
        ),
        (
            Metadata,
            json!({"labels": {"kruntimes.io/x": "y"}}),
            "labels",
            json!({"labels": {"team": "a"}}),
        ),
        (
            Metadata,
            json!({"annotations": {"kruntimes.io/capacity.runs": "99"}}),
            "annotations",
            json!({"annotations": {"note": "b"}}),
        ),
        (
            Metadata,
            json!({"annotations": {"container.apparmor.security.beta.kubernetes.io/runtime": "unconfined"}}),
            "annotations",
            json!({"annotations": {"kruntimes.io/local-command": "[]"}}),
        ),
        (Metadata, json!({"finalizers": ["x.io/stay"]}), "finalizers", json!({})),
        (Metadata, json!({"name": "fixed"}), "name", json!({})),
    ]
}
