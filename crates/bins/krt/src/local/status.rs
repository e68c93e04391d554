//! `krt local status`: whether a home is up, since when, and with what.

use super::{data_dir, detach, disk};
use crate::cli::Report;
use crate::client::on_one_thread;
use crate::duration;
use crate::failure::{Failure, NO};
use crate::{kubeconfig, objects, table};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// How long the home may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// What is known of a home.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Home {
    state: &'static str,
    data_dir: String,
    disk_bytes: u64,
    free_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kubeconfig: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pods: Option<Pods>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runs: Option<BTreeMap<String, u64>>,
    /// Why it does not answer, although it is up.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct Pods {
    ready: usize,
    total: usize,
}

/// Prints it; the exit code is 0 when the home is up and answers, else 1.
pub(super) fn status(dir: &Path, output: Report) -> Result<u8, Failure> {
    let mut home = on_disk(dir)?;
    if home.state == "up" {
        let path = data_dir::kubeconfig(dir);
        let asked = on_one_thread(async {
            match timeout(ANSWER, ask(&mut home, &path)).await {
                Ok(end) => end,
                Err(_) => Err(Failure::new("the API server does not answer")),
            }
        });
        home.problem = asked.err().map(|failure| failure.lines.join("; "));
    }
    match table::report(&home, output)? {
        Some(text) => table::print(&text)?,
        None => table::print(&details(&home))?,
    }
    Ok(if home.state == "up" && home.problem.is_none() { 0 } else { NO })
}

/// What the data directory tells.
fn on_disk(dir: &Path) -> Result<Home, Failure> {
    let (state, pid) = match data_dir::state(dir)? {
        data_dir::State::Down => ("down", None),
        data_dir::State::Starting(pid) => ("starting", Some(pid)),
        data_dir::State::Up(pid) => ("up", Some(pid)),
    };
    let modified = std::fs::metadata(data_dir::lock_file(dir)).and_then(|lock| lock.modified());
    let since = modified.ok().and_then(|time| jiff::Timestamp::try_from(time).ok());
    let log = detach::log_file(dir);
    Ok(Home {
        state,
        data_dir: dir.display().to_string(),
        disk_bytes: if dir.exists() { disk::used(dir) } else { 0 },
        free_bytes: disk::free(dir),
        pid,
        // The lock is written when the home becomes ready, and never after.
        since: since.filter(|_| state == "up").map(|time| format!("{time:.0}")),
        server: None,
        port: None,
        kubeconfig: pid.map(|_| data_dir::kubeconfig(dir).display().to_string()),
        log: log.exists().then(|| log.display().to_string()),
        pods: None,
        runs: None,
        problem: None,
    })
}

/// What the home itself tells.
async fn ask(home: &mut Home, path: &Path) -> Result<(), Failure> {
    let config = kubeconfig::config_of_file(path).await?;
    home.server = Some(config.cluster_url.to_string().trim_end_matches('/').to_owned());
    home.port = config.cluster_url.port_u16();
    let client = Client::try_from(config)?;
    let pods: Api<Pod> = Api::all(client.clone());
    let pods = pods.list(&ListParams::default()).await?.items;
    let is_ready = |pod: &&Pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    home.pods = Some(Pods { ready: pods.iter().filter(is_ready).count(), total: pods.len() });
    let mut runs = BTreeMap::new();
    objects::for_each(&client, None, "runs", None, |run| {
        let phase = table::text(&run, "/status/phase");
        *runs.entry(if phase.is_empty() { "Pending".to_owned() } else { phase }).or_default() += 1;
    })
    .await?;
    home.runs = Some(runs);
    Ok(())
}

fn details(home: &Home) -> String {
    let since = home.since.as_ref().map(|since| {
        let time: Option<jiff::Timestamp> = since.parse().ok();
        let age = time.map(|time| jiff::Timestamp::now().as_second() - time.as_second());
        age.map_or_else(|| since.clone(), |age| format!("{since} ({})", duration::age(age)))
    });
    let runs = home.runs.as_ref().map(|runs| {
        let all: u64 = runs.values().sum();
        let phases: Vec<String> =
            runs.iter().map(|(phase, count)| format!("{count} {phase}")).collect();
        if all == 0 { "0".to_owned() } else { format!("{all} ({})", phases.join(", ")) }
    });
    let free = home.free_bytes.map(|free| format!(", {} free", disk::show(free)));
    let or_none = |text: &Option<String>| text.clone().unwrap_or_default();
    table::details(&[
        ("State", home.state.to_owned()),
        ("Problem", or_none(&home.problem)),
        ("Server", or_none(&home.server)),
        ("Port", home.port.map(|port| port.to_string()).unwrap_or_default()),
        ("Pid", home.pid.map(|pid| pid.to_string()).unwrap_or_default()),
        ("Since", since.unwrap_or_default()),
        (
            "Pods",
            home.pods
                .as_ref()
                .map(|pods| format!("{} of {} ready", pods.ready, pods.total))
                .unwrap_or_default(),
        ),
        ("Runs", runs.unwrap_or_default()),
        ("Data", home.data_dir.clone()),
        ("Disk", format!("{}{}", disk::show(home.disk_bytes), free.unwrap_or_default())),
        ("Kubeconfig", or_none(&home.kubeconfig)),
        ("Log", or_none(&home.log)),
    ])
}
