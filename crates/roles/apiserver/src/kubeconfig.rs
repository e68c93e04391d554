//! A kubeconfig for one server and one token.
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

/// The kubeconfig, as YAML that every tool reads.
pub fn kubeconfig(server_url: &str, ca_pem: &str, token: &str) -> String {
    let ca = BASE64_STANDARD.encode(ca_pem);
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: kruntimes-local
  cluster:
    server: {server}
    certificate-authority-data: {ca}
users:
- name: kruntimes-local
  user:
    token: {token}
contexts:
- name: kruntimes-local
  context:
    cluster: kruntimes-local
    user: kruntimes-local
    namespace: default
current-context: kruntimes-local
",
        server = json!(server_url),
        token = json!(token),
    )
}
