//! The components and their command lines.

use super::kubernetes::Kubernetes;
use super::packages::Debian;
use super::place::{NODE_ADDRESS, NODE_NAME, Place, SERVICE_NETWORK};
use std::path::{Path, PathBuf};

/// The client port of etcd.
pub(crate) const ETCD: &str = "http://127.0.0.1:23790";
const ETCD_PEER: &str = "http://127.0.0.1:23800";

/// One process of the cluster.
#[derive(Debug, Clone)]
pub(super) struct Component {
    /// The name of its pid file and its log.
    pub(super) name: &'static str,
    /// What runs.
    pub(super) program: PathBuf,
    /// With which arguments.
    pub(super) arguments: Vec<String>,
}

/// In the order of their start; `down` stops them from the end.
pub(super) const NAMES: [&str; 7] = [
    "etcd",
    "containerd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
];

/// One component by its name.
pub(super) fn component(
    name: &'static str,
    place: &Place,
    debian: &Debian,
    kubernetes: &Kubernetes,
) -> Component {
    let file = |name: &str| place.cluster(name).display().to_string();
    let (program, arguments) = match name {
        "etcd" => (debian.program(name), etcd(&file)),
        "containerd" => (debian.program(name), vec!["--config".into(), file("containerd.toml")]),
        "kube-apiserver" => (kubernetes.component(name), api_server(&file)),
        "kube-controller-manager" => (kubernetes.component(name), controller_manager(&file)),
        "kube-scheduler" => (kubernetes.component(name), scheduler(&file)),
        "kubelet" => (kubernetes.component(name), kubelet(&file)),
        other => (kubernetes.component(other), vec![format!("--config={}", file("proxy.json"))]),
    };
    Component { name, program, arguments }
}

fn etcd(file: &dyn Fn(&str) -> String) -> Vec<String> {
    vec![
        format!("--name={NODE_NAME}"),
        format!("--data-dir={}", file("etcd")),
        format!("--listen-client-urls={ETCD}"),
        format!("--advertise-client-urls={ETCD}"),
        format!("--listen-peer-urls={ETCD_PEER}"),
        format!("--initial-advertise-peer-urls={ETCD_PEER}"),
        format!("--initial-cluster={NODE_NAME}={ETCD_PEER}"),
        "--quota-backend-bytes=8589934592".into(),
    ]
}

/// The owner check is beside the default plugins because a cluster may have it: who sets `blockOwnerDeletion` must be
/// allowed to set the owner's finalizers.
fn api_server(file: &dyn Fn(&str) -> String) -> Vec<String> {
    let pair = |name: &str, flags: [&str; 2]| {
        [
            format!("--{}={}", flags[0], file(&format!("pki/{name}.pem"))),
            format!("--{}={}", flags[1], file(&format!("pki/{name}.key"))),
        ]
    };
    let mut arguments = vec![
        format!("--advertise-address={NODE_ADDRESS}"),
        format!("--bind-address={NODE_ADDRESS}"),
        "--secure-port=6443".into(),
        format!("--etcd-servers={ETCD}"),
        "--allow-privileged=true".into(),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement".into(),
        format!("--client-ca-file={}", file("pki/ca.pem")),
        format!("--service-cluster-ip-range={SERVICE_NETWORK}"),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={}", file("pki/tokens.pub")),
        format!("--service-account-signing-key-file={}", file("pki/tokens.key")),
        format!("--kubelet-certificate-authority={}", file("pki/ca.pem")),
        "--kubelet-preferred-address-types=InternalIP".into(),
        format!("--requestheader-client-ca-file={}", file("pki/ca.pem")),
        "--requestheader-allowed-names=front-proxy-client".into(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
        "--requestheader-group-headers=X-Remote-Group".into(),
        "--requestheader-username-headers=X-Remote-User".into(),
        format!("--audit-policy-file={}", file("audit.json")),
        format!("--audit-log-path={}", file("audit.log")),
        "--audit-log-maxsize=1024".into(),
    ];
    arguments.extend(pair("apiserver", ["tls-cert-file", "tls-private-key-file"]));
    arguments.extend(pair(
        "apiserver-kubelet-client",
        ["kubelet-client-certificate", "kubelet-client-key"],
    ));
    arguments
        .extend(pair("front-proxy-client", ["proxy-client-cert-file", "proxy-client-key-file"]));
    arguments
}

fn controller_manager(file: &dyn Fn(&str) -> String) -> Vec<String> {
    let kubeconfig = file("controller-manager.kubeconfig");
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        format!("--service-account-private-key-file={}", file("pki/tokens.key")),
        format!("--root-ca-file={}", file("pki/ca.pem")),
        format!("--cluster-signing-cert-file={}", file("pki/ca.pem")),
        format!("--cluster-signing-key-file={}", file("pki/ca.key")),
        "--use-service-account-credentials=true".into(),
        "--leader-elect=false".into(),
        "--bind-address=127.0.0.1".into(),
    ]
}

fn scheduler(file: &dyn Fn(&str) -> String) -> Vec<String> {
    let kubeconfig = file("scheduler.kubeconfig");
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--leader-elect=false".into(),
        "--bind-address=127.0.0.1".into(),
    ]
}

fn kubelet(file: &dyn Fn(&str) -> String) -> Vec<String> {
    vec![
        format!("--config={}", file("kubelet.json")),
        format!("--kubeconfig={}", file("kubelet.kubeconfig")),
        format!("--root-dir={}", file("kubelet")),
        format!("--cert-dir={}", file("pki")),
        format!("--hostname-override={NODE_NAME}"),
        format!("--node-ip={NODE_ADDRESS}"),
    ]
}

/// The two that must answer before others start.
pub(super) fn containerd_answers(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}

/// The path that says that the API server takes requests.
pub(super) const READY: &str = "/readyz";

#[cfg(test)]
mod tests {
    use super::api_server;
    use crate::cluster::config::SERVER;
    use crate::cluster::place::NODE_ADDRESS;

    #[test]
    fn clients_are_told_the_address_that_the_server_listens_on() {
        let arguments = api_server(&str::to_owned);
        assert!(arguments.contains(&format!("--bind-address={NODE_ADDRESS}")), "{arguments:?}");
        assert_eq!(SERVER, format!("https://{NODE_ADDRESS}:6443"));
    }
}
