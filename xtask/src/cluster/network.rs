//! The node's bridge, and the removal of the rules that kube-proxy, the kubelet and the network plugins write.

use super::command::{attempt, output};
use super::packages::find;
use super::place::{NODE_ADDRESS, NODE_BRIDGE, POD_BRIDGE, Place};
use anyhow::{Context, bail, ensure};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// The programs that show and load rules, for each family of addresses.
const FAMILIES: [[&str; 2]; 2] =
    [["iptables-save", "iptables-restore"], ["ip6tables-save", "ip6tables-restore"]];
/// Chains that a node's programs make.
const OURS: [&str; 2] = ["KUBE-", "CNI-"];
/// Where the network plugins keep their results, whatever their configuration says.
const RESULTS: &str = "/var/lib/cni/results";

/// Makes the bridge. Another node on this machine would share its chains with us, and lose them in the end.
pub(super) fn create() -> anyhow::Result<()> {
    for [save, _] in FAMILIES {
        ensure!(
            removal(&rules(save)?).is_empty(),
            "this machine has rules of another Kubernetes node ({save} shows KUBE- or CNI- chains): \
             stop it, or run this elsewhere"
        );
    }
    ip(&["link", "add", NODE_BRIDGE, "type", "bridge"])?;
    ip(&["addr", "add", &format!("{NODE_ADDRESS}/32"), "dev", NODE_BRIDGE])?;
    ip(&["link", "set", NODE_BRIDGE, "up"])
}

/// Removes the bridges and the rules; what is gone already is fine.
pub(super) fn remove(place: &Place) -> anyhow::Result<()> {
    for bridge in [POD_BRIDGE, NODE_BRIDGE] {
        let shown = attempt(Command::new(tool("ip")?).args(["link", "show", "dev", bridge]))?;
        if shown.is_some() {
            ip(&["link", "delete", bridge])?;
        }
    }
    for [save, restore] in FAMILIES {
        let removal = removal(&rules(save)?);
        if !removal.is_empty() {
            load(restore, &removal)?;
        }
    }
    if Path::new(RESULTS).exists() {
        let directory = place.cluster_directory().display().to_string();
        for entry in std::fs::read_dir(RESULTS)? {
            let entry = entry?;
            // A result names the network namespace, which lies in the cluster's directory.
            if std::fs::read_to_string(entry.path()).is_ok_and(|text| text.contains(&directory)) {
                std::fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    output(Command::new(tool("ip")?).args(arguments)).map(drop)
}

fn tool(name: &str) -> anyhow::Result<std::path::PathBuf> {
    find(name).with_context(|| format!("{name} is not installed"))
}

/// A kernel without a family has no rules of it.
fn rules(save: &str) -> anyhow::Result<String> {
    let Some(save) = find(save) else { return Ok(String::new()) };
    Ok(attempt(&mut Command::new(save))?.unwrap_or_default())
}

fn load(restore: &str, text: &str) -> anyhow::Result<()> {
    let mut child = Command::new(tool(restore)?)
        .arg("--noflush")
        .stdin(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {restore}"))?;
    child.stdin.take().context("no stdin")?.write_all(text.as_bytes())?;
    if !child.wait()?.success() {
        bail!("{restore} refuses:\n{text}");
    }
    Ok(())
}

/// What makes the chains of a node, and the rules that lead to them, go: nothing else is touched.
fn removal(saved: &str) -> String {
    let ours = |chain: &str| OURS.iter().any(|prefix| chain.starts_with(prefix));
    let mut text = String::new();
    for table in saved.split_inclusive("COMMIT\n") {
        let Some(name) = table.lines().find(|line| line.starts_with('*')) else { continue };
        let chains: Vec<&str> = table
            .lines()
            .filter_map(|line| line.strip_prefix(':')?.split(' ').next())
            .filter(|chain| ours(chain))
            .collect();
        if chains.is_empty() {
            continue;
        }
        let foreign = table.lines().filter_map(|line| line.strip_prefix("-A ")).filter(|rule| {
            let mut words = rule.split(' ');
            let leads = words.clone().zip(words.clone().skip(1));
            !words.next().is_some_and(ours)
                && leads.into_iter().any(|(flag, chain)| matches!(flag, "-j" | "-g") && ours(chain))
        });
        text.push_str(&format!("{name}\n"));
        chains.iter().for_each(|chain| text.push_str(&format!(":{chain} - [0:0]\n")));
        foreign.for_each(|rule| text.push_str(&format!("-D {rule}\n")));
        chains.iter().for_each(|chain| text.push_str(&format!("-X {chain}\n")));
        text.push_str("COMMIT\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::removal;

    #[test]
    fn only_the_chains_of_a_node_and_what_leads_there_go() {
        let saved = "# Generated\n*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j ACCEPT\nCOMMIT\n\
                     *nat\n:POSTROUTING ACCEPT [5:6]\n:DOCKER - [0:0]\n:KUBE-POSTROUTING - [0:0]\n:CNI-1f - [0:0]\n\
                     -A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE\n\
                     -A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING\n\
                     -A POSTROUTING -s 10.98.0.2/32 -m comment --comment \"name: \\\"x\\\"\" -j CNI-1f\n\
                     -A DOCKER -i docker0 -j RETURN\n\
                     -A KUBE-POSTROUTING -j MASQUERADE\nCOMMIT\n";
        assert_eq!(
            removal(saved),
            "*nat\n:KUBE-POSTROUTING - [0:0]\n:CNI-1f - [0:0]\n\
             -D POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING\n\
             -D POSTROUTING -s 10.98.0.2/32 -m comment --comment \"name: \\\"x\\\"\" -j CNI-1f\n\
             -X KUBE-POSTROUTING\n-X CNI-1f\nCOMMIT\n"
        );
        assert_eq!(removal("*filter\n:INPUT ACCEPT [0:0]\n:DOCKER - [0:0]\nCOMMIT\n"), "");
    }
}
