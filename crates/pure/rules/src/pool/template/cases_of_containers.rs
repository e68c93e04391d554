//! The hostile templates by container: what is refused, where, and a legal neighbour.

use super::cases::{At, Extra, Init, Server, env_from, merge, mounted, port, secure};
use serde_json::{Value, json};

/// Each of these in the Runtime Server's container, in a sidecar and in an init container.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn of_any_container() -> Vec<(Value, &'static str, Value)> {
    vec![
        (
            secure(json!({"privileged": true})),
            "securityContext.privileged",
            secure(json!({"privileged": false})),
        ),
        (
            secure(json!({"allowPrivilegeEscalation": true})),
            "securityContext.allowPrivilegeEscalation",
            secure(json!({"allowPrivilegeEscalation": false})),
        ),
        (
            secure(json!({"capabilities": {"add": ["NET_ADMIN"]}})),
            "securityContext.capabilities.add",
            secure(json!({"capabilities": {"add": [], "drop": ["ALL"]}})),
        ),
        (
            secure(json!({"procMount": "Unmasked"})),
            "securityContext.procMount",
            secure(json!({"procMount": "Default"})),
        ),
        (
            secure(json!({"runAsUser": 0})),
            "securityContext.runAsUser",
            secure(json!({"runAsUser": 1})),
        ),
        (
            secure(json!({"runAsNonRoot": false})),
            "securityContext.runAsNonRoot",
            secure(json!({"runAsNonRoot": true})),
        ),
        (
            secure(json!({"seccompProfile": {"type": "Unconfined"}})),
            "securityContext.seccompProfile.type",
            secure(json!({"seccompProfile": {"type": "RuntimeDefault"}})),
        ),
        (
            secure(json!({"appArmorProfile": {"type": "Unconfined"}})),
            "securityContext.appArmorProfile.type",
            secure(json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": "p"}})),
        ),
        (
            secure(json!({"seLinuxOptions": {"type": "spc_t"}})),
            "securityContext.seLinuxOptions.type",
            secure(json!({"seLinuxOptions": {"type": "container_t"}})),
        ),
        (
            secure(json!({"seLinuxOptions": {"role": "r"}})),
            "securityContext.seLinuxOptions.role",
            secure(json!({"readOnlyRootFilesystem": false})),
        ),
        (
            secure(json!({"windowsOptions": {"hostProcess": true}})),
            "securityContext.windowsOptions",
            secure(json!({"runAsGroup": 7})),
        ),
        (
            json!({"volumeDevices": [{"name": "v", "devicePath": "/dev/x"}]}),
            "volumeDevices",
            json!({"volumeDevices": []}),
        ),
        (port(json!({"hostPort": 80})), "ports[0].hostPort", port(json!({"hostPort": 0}))),
        (port(json!({"hostIP": "10.0.0.1"})), "ports[0].hostIP", port(json!({"protocol": "UDP"}))),
        (port(json!({"containerPort": 9093})), "ports[0]", port(json!({"containerPort": 9092}))),
        (port(json!({"containerPort": 9094})), "ports[0]", port(json!({"containerPort": 9095}))),
        (port(json!({"containerPort": 9090})), "ports[0]", port(json!({"containerPort": 9089}))),
        (port(json!({"name": "health"})), "ports[0]", port(json!({"name": "web"}))),
        (port(json!({"name": "grpc"})), "ports[0]", port(json!({"name": "grpc2"}))),
        (
            mounted(json!({"name": "kruntimes-state", "mountPath": "/a"})),
            "volumeMounts[0].name",
            mounted(json!({"name": "v", "mountPath": "/a"})),
        ),
        (
            mounted(json!({"name": "kruntimes-api-access", "mountPath": "/a"})),
            "volumeMounts[0].name",
            mounted(json!({"name": "v", "mountPath": "/a", "subPath": "b"})),
        ),
        (
            mounted(json!({"name": "kruntimes-control", "mountPath": "/a", "subPath": "token"})),
            "volumeMounts[0].name",
            mounted(json!({"name": "v", "mountPath": "/a/b"})),
        ),
        (
            mounted(json!({"name": "v", "mountPath": "/a", "mountPropagation": "Bidirectional"})),
            "volumeMounts[0].mountPropagation",
            mounted(json!({"name": "v", "mountPath": "/a", "mountPropagation": "None"})),
        ),
        (
            mounted(json!({"name": "v", "mountPath": "/a/../workspace"})),
            "volumeMounts[0].mountPath",
            mounted(json!({"name": "v", "mountPath": "/a/..b"})),
        ),
        (
            mounted(json!({"name": "v", "mountPath": "workspace"})),
            "volumeMounts[0].mountPath",
            mounted(json!({"name": "v", "mountPath": "/workspaces"})),
        ),
        (
            env_from(json!({"secretKeyRef": {"name": "db", "key": "k"}})),
            "env[0].valueFrom.secretKeyRef",
            env_from(json!({"secretKeyRef": {"name": "tls", "key": "k"}})),
        ),
        (
            env_from(
                json!({"fieldRef": {"fieldPath": "metadata.annotations['kruntimes.io/control-token']"}}),
            ),
            "env[0].valueFrom.fieldRef.fieldPath",
            env_from(json!({"fieldRef": {"fieldPath": "metadata.uid"}})),
        ),
        (
            json!({"envFrom": [{"secretRef": {"name": "db"}}]}),
            "envFrom[0].secretRef",
            json!({"envFrom": [{"secretRef": {"name": "tls"}}]}),
        ),
        (
            json!({"readinessProbe": {"httpGet": {"host": "10.0.0.1", "port": 80}}}),
            "readinessProbe.httpGet.host",
            json!({"readinessProbe": {"httpGet": {"port": 80}}}),
        ),
        (
            json!({"startupProbe": {"tcpSocket": {"host": "10.0.0.1", "port": 80}}}),
            "startupProbe.tcpSocket.host",
            json!({"startupProbe": {"tcpSocket": {"port": 80}}}),
        ),
        (
            json!({"lifecycle": {"postStart": {"httpGet": {"host": "10.0.0.1", "port": 80}}}}),
            "lifecycle.postStart.httpGet.host",
            json!({"lifecycle": {"postStart": {"exec": {"command": ["true"]}}}}),
        ),
        (json!({"restartPolicy": "Never"}), "restartPolicy", json!({"restartPolicy": "Always"})),
        (
            json!({"restartPolicyRules": [{"action": "Restart"}]}),
            "restartPolicyRules",
            json!({"workingDir": "/"}),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn of_one_container() -> Vec<(At, Value, &'static str, Value)> {
    let over = |path: &str| mounted(json!({"name": "v", "mountPath": path}));
    let workspace = |fields: Value| {
        let mut mount = json!({"name": "workspace", "mountPath": "/workspace"});
        merge(&mut mount, &fields);
        mounted(mount)
    };
    vec![
        (
            Server,
            json!({"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}),
            "lifecycle.preStop",
            json!({"lifecycle": {"stopSignal": "SIGINT"}}),
        ),
        (
            Server,
            json!({"livenessProbe": {"tcpSocket": {"port": 9091}}}),
            "livenessProbe",
            json!({"startupProbe": {"exec": {"command": ["true"]}}}),
        ),
        (
            Server,
            port(json!({"name": "grpc", "containerPort": 9092})),
            "ports[0]",
            port(json!({"name": "grpc", "containerPort": 9091})),
        ),
        (Server, over("/workspace"), "volumeMounts[0]", over("/work")),
        (Server, over("/workspace/x"), "volumeMounts[0]", over("/workspace2/x")),
        (Server, over("//workspace/."), "volumeMounts[0]", over("/opt//workspace")),
        (Server, over("/"), "volumeMounts[0]", over("/tmp")),
        (Server, over("/var/run/kruntimes/token"), "volumeMounts[0]", over("/var/run/other")),
        (Server, over("/run/kruntimes"), "volumeMounts[0]", over("/run/other")),
        (Server, over("/var"), "volumeMounts[0]", over("/var/lib")),
        (
            Server,
            over("/var/run/secrets/kubernetes.io/serviceaccount"),
            "volumeMounts[0]",
            over("/var/run/secrets/mine"),
        ),
        (Server, workspace(json!({"subPath": "x"})), "volumeMounts[0]", workspace(json!({}))),
        (
            Server,
            workspace(json!({"mountPath": "/elsewhere"})),
            "volumeMounts[0]",
            workspace(json!({"mountPath": "/workspace/"})),
        ),
        (
            Server,
            workspace(json!({"readOnly": true})),
            "volumeMounts[0]",
            workspace(json!({"readOnly": false})),
        ),
        (Extra, json!({"name": "runtimed"}), "name", json!({"name": "runtimed2"})),
        (
            Extra,
            port(json!({"containerPort": 9091})),
            "ports[0]",
            port(json!({"containerPort": 9096})),
        ),
        (Init, json!({"name": "runtimed"}), "name", json!({"name": "prepare"})),
        (
            Init,
            json!({"name": "runtime"}),
            "name",
            json!({"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}),
        ),
    ]
}
