//! Requests with one token and nothing else, and whether the API server let them through.

use crate::suite::Tools;
use anyhow::{Context, bail, ensure};
use kube::api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::core::Request;
use kube::{Client, Config};
use serde_json::Value;

/// What must come of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is let through.
    Done,
    /// RBAC or an admission policy refuses it.
    Refused,
}

/// A request. Whatever is let through is a dry run, so that the order of requests does not matter.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Get(String),
    List,
    Create(Value),
    Delete(String),
    /// A merge patch of an object, or of its subresource.
    Change(String, Value),
    Status(String, Value),
    /// Lists of conditions are merged by type.
    Strategic(String, Value),
}

/// One row: what it is, the collection's path, the request.
pub(super) type Row = (&'static str, String, Ask);

/// Who has this token.
pub(super) async fn client(tools: &Tools, token: String) -> anyhow::Result<Client> {
    let mut config = admin_config(tools).await?;
    config.auth_info = AuthInfo { token: Some(token.into()), ..AuthInfo::default() };
    Ok(Client::try_from(config)?)
}

/// The cluster's admin.
pub(super) async fn admin(tools: &Tools) -> anyhow::Result<Client> {
    Ok(Client::try_from(admin_config(tools).await?)?)
}

async fn admin_config(tools: &Tools) -> anyhow::Result<Config> {
    let kubeconfig = Kubeconfig::read_from(tools.kubeconfig())?;
    Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
}

/// Makes each request and compares.
pub(super) async fn check(
    client: &Client,
    who: &str,
    answer: Answer,
    rows: Vec<Row>,
) -> anyhow::Result<()> {
    let mut findings = Vec::new();
    for (what, path, ask) in rows {
        let asked = client.request::<Value>(request(&path, &ask, answer)?).await;
        let wrong = match (asked, answer) {
            (Ok(_), Answer::Done) => continue,
            (Ok(_), Answer::Refused) => "is let through".to_owned(),
            (Err(kube::Error::Api(status)), Answer::Refused)
                if status.code == 403 || status.message.contains("denied request") =>
            {
                continue;
            }
            (Err(error), Answer::Done | Answer::Refused) => format!("{error}"),
        };
        findings.push(format!("{who}: {what}: {wrong}"));
    }
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    Ok(())
}

/// A dry run is judged like any other request. What must be refused is asked for in earnest.
fn request(path: &str, ask: &Ask, answer: Answer) -> anyhow::Result<http::Request<Vec<u8>>> {
    let dry_run = answer == Answer::Done;
    let patching = PatchParams { dry_run, ..PatchParams::default() };
    let collection = Request::new(path);
    let built = match ask {
        Ask::Get(name) => collection.get(name, &GetParams::default()),
        Ask::List => collection.list(&ListParams::default()),
        Ask::Create(object) => collection
            .create(&PostParams { dry_run, ..PostParams::default() }, serde_json::to_vec(object)?),
        Ask::Delete(name) => {
            collection.delete(name, &DeleteParams { dry_run, ..DeleteParams::default() })
        }
        Ask::Change(name, body) => collection.patch(name, &patching, &Patch::Merge(body)),
        Ask::Status(name, body) => {
            collection.patch_subresource("status", name, &patching, &Patch::Merge(body))
        }
        Ask::Strategic(name, body) => {
            collection.patch_subresource("status", name, &patching, &Patch::Strategic(body))
        }
    };
    built.context("build the request")
}

/// A token of a ServiceAccount: bound to a pod, or to nothing.
pub(super) fn make(
    tools: &Tools,
    namespace: &str,
    account: &str,
    pod: Option<(&str, &str)>,
) -> anyhow::Result<String> {
    let bound = pod.map_or_else(String::new, |(name, uid)| {
        format!(" --bound-object-kind Pod --bound-object-name {name} --bound-object-uid {uid}")
    });
    let token = tools.kubectl(&format!("create token -n {namespace} {account}{bound}"))?;
    match token.trim() {
        "" => bail!("kubectl made no token for {account}"),
        token => Ok(token.to_owned()),
    }
}
