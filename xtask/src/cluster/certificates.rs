//! The cluster's CA, and a certificate for each component that proves itself with one.

use super::place::{NODE_ADDRESS, NODE_NAME, Place, SERVICE_ADDRESS};
use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// One certificate: its file, its user and the user's group.
struct Identity {
    file: &'static str,
    user: &'static str,
    group: Option<&'static str>,
    /// What a server is reached by.
    names: &'static [&'static str],
}

const ADMINISTRATORS: Option<&str> = Some("system:masters");
const API_SERVER: [&str; 7] = [
    NODE_ADDRESS,
    SERVICE_ADDRESS,
    "127.0.0.1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
];

const IDENTITIES: [Identity; 9] = [
    Identity { file: "apiserver", user: "kube-apiserver", group: None, names: &API_SERVER },
    client("apiserver-kubelet-client", "kube-apiserver-kubelet-client", ADMINISTRATORS),
    client("front-proxy-client", "front-proxy-client", None),
    client("admin", "admin", ADMINISTRATORS),
    client("controller-manager", "system:kube-controller-manager", None),
    client("scheduler", "system:kube-scheduler", None),
    client("proxy", "system:kube-proxy", None),
    client("kubelet", "system:node:e2e", Some("system:nodes")),
    Identity {
        file: "kubelet-server",
        user: "system:node:e2e",
        group: Some("system:nodes"),
        names: &[NODE_ADDRESS, NODE_NAME],
    },
];

const fn client(file: &'static str, user: &'static str, group: Option<&'static str>) -> Identity {
    Identity { file, user, group, names: &[] }
}

/// Writes all of them into `pki`.
pub(super) fn write(place: &Place) -> anyhow::Result<()> {
    let directory = place.cluster("pki");
    fs::create_dir_all(&directory)?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.distinguished_name.push(DnType::CommonName, "kruntimes-e2e-ca");
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    secret(&directory.join("ca.pem"), &ca.pem())?;
    secret(&directory.join("ca.key"), &ca.key().serialize_pem())?;
    for identity in IDENTITIES {
        let key = KeyPair::generate()?;
        let certificate = parameters(&identity)?.signed_by(&key, &ca)?;
        secret(&directory.join(format!("{}.pem", identity.file)), &certificate.pem())?;
        secret(&directory.join(format!("{}.key", identity.file)), &key.serialize_pem())?;
    }
    let tokens = KeyPair::generate()?;
    secret(&directory.join("tokens.key"), &tokens.serialize_pem())?;
    secret(&directory.join("tokens.pub"), &tokens.public_key_pem())
}

fn parameters(identity: &Identity) -> anyhow::Result<CertificateParams> {
    let names: Vec<String> = identity.names.iter().map(|name| (*name).to_owned()).collect();
    let mut certificate = CertificateParams::new(names)?;
    certificate.distinguished_name.push(DnType::CommonName, identity.user);
    if let Some(group) = identity.group {
        certificate.distinguished_name.push(DnType::OrganizationName, group);
    }
    certificate.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    certificate.extended_key_usages = vec![if identity.names.is_empty() {
        ExtendedKeyUsagePurpose::ClientAuth
    } else {
        ExtendedKeyUsagePurpose::ServerAuth
    }];
    certificate.use_authority_key_identifier_extension = true;
    Ok(certificate)
}

fn secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes()).with_context(|| format!("write {}", path.display()))
}
