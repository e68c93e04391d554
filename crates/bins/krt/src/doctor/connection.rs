//! The kubeconfig, and whether the API server of its context answers and serves Runs.

use super::Check;
use crate::cli::Connection;
use crate::failure::Failure;
use crate::kubeconfig;
use crate::local::data_dir::{self, State};
use kube::Client;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// How long the API server may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Whether somebody said which cluster is meant: what is not there then is missing, not only a pity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Said,
    Found,
}

impl Wish {
    fn check(self, name: &'static str, failure: &Failure) -> Check {
        const REMEDY: &str =
            "mend it, name another one with --kubeconfig or --context, or use --local";
        let found = failure.lines.join("; ");
        match self {
            Self::Said => Check::missing(name, found, REMEDY),
            Self::Found => Check::degraded(name, found, REMEDY),
        }
    }
}

/// All of them.
pub(super) async fn checks(flags: &Connection, dir: &Path) -> Vec<Check> {
    let said = flags.kubeconfig.is_some()
        || flags.context.is_some()
        || flags.cluster.is_some()
        || flags.server.is_some()
        || std::env::var_os("KUBECONFIG").is_some_and(|list| !list.is_empty());
    let wish = if said { Wish::Said } else { Wish::Found };
    let chosen = if flags.local { Ok(None) } else { kubeconfig::chosen(flags) };
    let (place, config) = match chosen {
        Err(failure) => return vec![wish.check("kubeconfig", &failure)],
        Ok(Some(chosen)) => (chosen.place.clone(), chosen.config(flags).await),
        Ok(None) if !matches!(data_dir::state(dir), Ok(State::Up(_))) => {
            let found = "none; --local works without one";
            return vec![Check::ok("kubeconfig", found)];
        }
        Ok(None) => {
            let path = data_dir::kubeconfig(dir);
            (path.display().to_string(), kubeconfig::config_of_file(&path).await)
        }
    };
    let config = match config {
        Ok(config) => config,
        Err(failure) => return vec![wish.check("kubeconfig", &failure)],
    };
    let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let good = Check::ok("kubeconfig", place);
    let asked = async {
        let client = Client::try_from(config)?;
        let version: Value = get(&client, "/version").await?;
        get(&client, &format!("/apis/{}", kruntimes_api::API_VERSION)).await?;
        Ok::<_, Failure>(version)
    };
    let server = match timeout(ANSWER, asked).await {
        Ok(Ok(version)) => {
            let version = version["gitVersion"].as_str().unwrap_or("an unknown version");
            Check::ok("API server", format!("{url} answers ({version}) and has Runs"))
        }
        Ok(Err(failure)) => wish.check("API server", &failure.of_server(&url)),
        Err(_) => {
            let late =
                format!("the API server {url} does not answer within {} s", ANSWER.as_secs());
            wish.check("API server", &Failure::new(late))
        }
    };
    vec![good, server]
}

async fn get(client: &Client, path: &str) -> Result<Value, Failure> {
    let request = http::Request::get(path)
        .body(Vec::new())
        .map_err(|error| Failure::new(format!("internal error: {error}")))?;
    Ok(client.request(request).await?)
}
