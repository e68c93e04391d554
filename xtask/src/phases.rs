//! All 49 pairs of phases as status patches by kubectl: a home refuses what is in no writer's row of the table.

use crate::suite::{Tools, contains};
use anyhow::{Context, ensure};
use kruntimes_api::Phase;
use kruntimes_rules::run::phase::legal_for_any;
use serde_json::{Value, json};

/// Tries them all. The Runs ask for a Runtime that is not there: nobody else gives them a pod.
pub(crate) fn all_pairs(tools: &Tools) -> anyhow::Result<()> {
    let pairs: Vec<(Phase, Phase)> =
        Phase::ALL.into_iter().flat_map(|from| Phase::ALL.map(|to| (from, to))).collect();
    create(tools, &pairs)?;
    let mut accepted = 0;
    for (from, to) in pairs {
        let name = name(from, to);
        come_to(tools, &name, from)?;
        let command = command(&name, from, to);
        // A status that stays in its phase may change until the Run has ended.
        if legal_for_any(from, to) || (from == to && !from.is_terminal()) {
            tools.kubectl(&command).with_context(|| format!("{from} to {to}"))?;
            accepted += 1;
        } else {
            let rule = if from == to {
                "the status of a Run that ended never changes"
            } else {
                "not a legal transition of status.phase"
            };
            contains(&tools.refused(&command)?, &[rule])?;
        }
    }
    ensure!(accepted == 17, "{accepted} pairs were accepted");
    tools.kubectl("delete runs -l pairs=49 --timeout=120s").map(drop)
}

fn create(tools: &Tools, pairs: &[(Phase, Phase)]) -> anyhow::Result<()> {
    let run = |(from, to): &(Phase, Phase)| {
        json!({
            "apiVersion": "kruntimes.io/v1alpha1", "kind": "Run",
            "metadata": {"name": name(*from, *to), "labels": {"pairs": "49"}},
            "spec": {"runtime": "is-not-there"},
        })
    };
    let items: Vec<Value> = pairs.iter().map(run).collect();
    let file = tempfile::NamedTempFile::new()?;
    serde_json::to_writer(&file, &json!({"apiVersion": "v1", "kind": "List", "items": items}))?;
    tools.kubectl(&format!("create -f {}", file.path().display())).map(drop)
}

/// By legal steps.
fn come_to(tools: &Tools, name: &str, phase: Phase) -> anyhow::Result<()> {
    let steps: &[Phase] = match phase {
        Phase::Pending => &[],
        Phase::Scheduled => &[Phase::Pending, Phase::Scheduled],
        Phase::Running => &[Phase::Pending, Phase::Scheduled, Phase::Running],
        Phase::Succeeded | Phase::Failed | Phase::Timeout | Phase::Cancelled => {
            &[Phase::Pending, Phase::Scheduled, Phase::Running, phase]
        }
    };
    for step in steps.windows(2) {
        tools.kubectl(&command(name, step[0], step[1]))?;
    }
    Ok(())
}

/// kubectl with what a writer sends.
fn command(name: &str, from: Phase, to: Phase) -> String {
    let mut status = json!({"phase": to, "message": format!("from-{from}-to-{to}")});
    if (from, to) == (Phase::Pending, Phase::Scheduled) {
        status["assignedPod"] = json!("p");
        status["assignedPodUID"] = json!("u");
        status["attempt"] = json!(1);
    }
    if to == Phase::Pending {
        status["assignedPod"] = Value::Null;
    }
    let patch = json!({"status": status});
    format!("patch run {name} --subresource=status --type=merge -p={patch}")
}

fn name(from: Phase, to: Phase) -> String {
    format!("{from}-{to}").to_lowercase()
}
