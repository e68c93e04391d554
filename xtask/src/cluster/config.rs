//! The files that the components read.

use super::packages::Debian;
use super::pause::NAME as PAUSE;
use super::place::{CGROUP, NODE_ADDRESS, NODE_NAME, POD_BRIDGE, POD_NETWORK, Place};
use serde_json::{Value, json};
use std::fs;

/// The API server, as its clients on this machine reach it.
pub(super) const SERVER: &str = "https://10.99.0.1:6443";

/// Writes all of them.
pub(super) fn write(place: &Place, debian: &Debian) -> anyhow::Result<()> {
    fs::write(place.cluster("containerd.toml"), containerd(place, debian))?;
    fs::create_dir_all(place.cluster("cni"))?;
    let files = [
        ("cni/10-pods.conflist", network(place)),
        ("kubelet.json", kubelet(place)),
        ("proxy.json", proxy(place)),
        ("audit.json", audit()),
        ("kubeconfig", kubeconfig(place, "admin")),
        ("controller-manager.kubeconfig", kubeconfig(place, "controller-manager")),
        ("scheduler.kubeconfig", kubeconfig(place, "scheduler")),
        ("proxy.kubeconfig", kubeconfig(place, "proxy")),
        ("kubelet.kubeconfig", kubeconfig(place, "kubelet")),
    ];
    for (name, value) in files {
        fs::write(place.cluster(name), serde_json::to_vec_pretty(&value)?)?;
    }
    Ok(())
}

fn kubeconfig(place: &Place, identity: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "e2e", "cluster": {
            "server": SERVER,
            "certificate-authority": place.cluster("pki/ca.pem"),
        }}],
        "users": [{"name": identity, "user": {
            "client-certificate": place.cluster(&format!("pki/{identity}.pem")),
            "client-key": place.cluster(&format!("pki/{identity}.key")),
        }}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": identity}}],
        "current-context": "e2e",
    })
}

/// Everything under the cluster's directory. Lowering `oom_score_adj` needs a capability that a container may lack.
fn containerd(place: &Place, debian: &Debian) -> String {
    format!(
        r#"version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{opt}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{plugins}"
  conf_dir = "{networks}"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  BinaryName = "{runc}"
  Root = "{runs}"
"#,
        root = place.cluster("containerd/root").display(),
        state = place.cluster("containerd/state").display(),
        socket = place.containerd_socket().display(),
        opt = place.cluster("containerd/opt").display(),
        plugins = debian.network_plugins().display(),
        networks = place.cluster("cni").display(),
        runc = debian.program("runc").display(),
        runs = place.cluster("containerd/runc").display(),
    )
}

fn network(place: &Place) -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": CGROUP,
        "plugins": [
            {
                "type": "bridge",
                "bridge": POD_BRIDGE,
                "isGateway": true,
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": POD_NETWORK}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": place.cluster("addresses"),
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

/// Eviction and the collection of images stay out of the way of a machine whose disk is half full.
fn kubelet(place: &Place) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": place.cluster("pki/ca.pem")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{CGROUP}"),
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": format!("unix://{}", place.containerd_socket().display()),
        "evictionHard": {
            "imagefs.available": "1%",
            "memory.available": "50Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "failCgroupV1": false,
        "failSwapOn": false,
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "maxPods": 250,
        "podLogsDir": place.cluster("pod-logs"),
        "tlsCertFile": place.cluster("pki/kubelet-server.pem"),
        "tlsPrivateKeyFile": place.cluster("pki/kubelet-server.key"),
        "volumePluginDir": place.cluster("volume-plugins"),
    })
}

/// The limits of connection tracking stay as the machine has them.
fn proxy(place: &Place) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": place.cluster("proxy.kubeconfig")},
        "clusterCIDR": POD_NETWORK,
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpCloseWaitTimeout": "0s",
            "tcpEstablishedTimeout": "0s",
        },
        "healthzBindAddress": "127.0.0.1:10256",
        "hostnameOverride": NODE_NAME,
        "metricsBindAddress": "127.0.0.1:10249",
        "mode": "iptables",
    })
}

/// Bodies of requests, so that tests can look for what must not be in them; but for those that hold secrets by nature.
fn audit() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {
                "level": "Metadata",
                "resources": [
                    {"group": "", "resources": ["secrets", "serviceaccounts/token"]},
                    {"group": "authentication.k8s.io", "resources": ["tokenreviews"]},
                ],
            },
            {"level": "Request"},
        ],
    })
}
