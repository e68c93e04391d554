//! The README and the pages of `docs/`.

use crate::page::{Action, Step, parse};
use crate::user::Reader;
use crate::{cluster, none, root, session, with_kubectl};
use std::path::Path;
use std::sync::Mutex;

/// Figures, whose command measures for minutes, and what is defended, which cases of their own try.
const WITHOUT_BLOCKS: [&str; 3] = ["docs/benchmarks.md", "docs/reliability.md", "docs/security.md"];
/// Pages that run beside each other.
const AT_ONCE: usize = 2;

/// Every page: its name and text.
fn pages() -> Vec<(String, String)> {
    let mut names = vec!["README.md".to_owned()];
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
            names.push(format!("docs/{name}"));
        }
    }
    names.sort();
    let text = |name: &String| std::fs::read_to_string(root().join(name)).unwrap();
    names.iter().map(|name| (name.clone(), text(name))).collect()
}

/// The steps of a page that run here, and how many of them need kubectl.
fn steps(name: &str, text: &str) -> Result<(Vec<Step>, usize), String> {
    let mut steps = parse(name, text)?;
    let blocks = steps.iter().filter(|step| matches!(step.action, Action::Run(_))).count();
    if (blocks == 0) != WITHOUT_BLOCKS.contains(&name) {
        return Err(format!("{name} has {blocks} sh blocks: a page shows how to do what it says"));
    }
    steps.retain(|step| match &step.action {
        Action::Run(commands) => {
            let elsewhere = commands.ci || commands.cluster || commands.kits;
            !elsewhere && (with_kubectl() || !commands.kubectl)
        }
        Action::Write { .. } => true,
    });
    let kubectl = steps
        .iter()
        .filter(|step| matches!(&step.action, Action::Run(commands) if commands.kubectl))
        .count();
    Ok((steps, kubectl))
}

fn run(steps: &[Step]) -> Vec<String> {
    let starts_one = |step: &Step| matches!(&step.action, Action::Run(commands) if commands.text.contains("krt local up --detach"));
    let reader = if steps.iter().any(starts_one) { Reader::new() } else { Reader::at_home() };
    session::run(&reader, steps)
}

#[test]
fn every_block_does_what_its_page_says() {
    let mut findings = Vec::new();
    let mut work = Vec::new();
    let mut kubectl = 0;
    for (name, text) in pages() {
        match steps(&name, &text) {
            Ok((steps, of_kubectl)) => {
                kubectl += of_kubectl;
                work.push(steps);
            }
            Err(error) => findings.push(error),
        }
    }
    let runs = |step: &Step| matches!(step.action, Action::Run(_));
    work.retain(|steps| steps.iter().any(runs));
    assert!(work.len() > 2, "only {} pages have blocks", work.len());
    assert_eq!(kubectl > 0, with_kubectl(), "{kubectl} blocks need kubectl");
    let (queue, found) = (Mutex::new(work), Mutex::new(findings));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(steps) = queue.lock().unwrap().pop() else { return };
                    found.lock().unwrap().extend(run(&steps));
                }
            });
        }
    });
    none(&found.into_inner().unwrap());
}

/// Pages for a cluster's admin, in an order in which each finds what it needs: the first leaves nothing behind.
const FOR_A_CLUSTER: [&str; 1] = ["docs/install.md"];

/// Without a cluster this only sees that the blocks are there, and on no other page.
#[test]
fn every_block_for_a_cluster_does_what_its_page_says() {
    let mut found = Vec::new();
    for (name, text) in pages() {
        let mut steps = parse(&name, &text).unwrap();
        steps.retain(|step| match &step.action {
            Action::Run(commands) => commands.cluster,
            Action::Write { .. } => true,
        });
        if steps.iter().any(|step| matches!(step.action, Action::Run(_))) {
            found.push((name, steps));
        }
    }
    found.sort_by_key(|(name, _)| FOR_A_CLUSTER.iter().position(|page| page == name));
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, FOR_A_CLUSTER);
    let Some(kubeconfig) = cluster() else { return };
    for (_, steps) in found {
        none(&session::run(&Reader::with_cluster(&kubeconfig), &steps));
    }
}

/// What a cluster prints needs a cluster to be seen; which kinds there are does not.
#[test]
fn the_page_for_a_cluster_names_every_kind_where_it_names_them_all() {
    let page = std::fs::read_to_string(root().join(FOR_A_CLUSTER[0])).unwrap();
    let crds: Vec<String> = kruntimes_api::crd::all()
        .iter()
        .map(|crd| crd["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    let kept: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("[CustomResourceDefinition] ")).collect();
    assert_eq!(kept, crds);
    let deleted = format!("kubectl delete crd {}", crds.join(" "));
    assert!(page.lines().any(|line| line == deleted), "no line `{deleted}`");
}

/// Pages with blocks that `cargo xtask e2e kits` runs.
const FOR_KITS: [&str; 1] = ["docs/custom-runtime.md"];

#[test]
fn every_block_for_the_kits_is_on_a_page_that_they_run() {
    let kits = |step: &Step| matches!(&step.action, Action::Run(commands) if commands.kits && commands.output.is_some());
    let mut found = Vec::new();
    for (name, text) in pages() {
        if parse(&name, &text).unwrap().iter().any(kits) {
            found.push(name);
        }
    }
    assert_eq!(found, FOR_KITS);
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let mut findings = Vec::new();
    let mut checked = 0;
    for (name, text) in pages() {
        let folder = root().join(&name).parent().unwrap().to_owned();
        // Code may hold anything.
        let text: String = text.split('`').step_by(2).collect();
        let links = text.match_indices("](").map(|(at, open)| &text[at + open.len()..]);
        for link in links.filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            if link.contains("://") {
                continue;
            }
            checked += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { root().join(&name) } else { folder.join(path) };
            if !target.exists() {
                findings.push(format!("{name} links to {link}, which does not exist"));
            } else if !anchor.is_empty() {
                let target = std::fs::read_to_string(target).unwrap();
                if !target.lines().any(|line| line.starts_with('#') && slug(line) == anchor) {
                    findings.push(format!("{name} links to {link}, which has no such heading"));
                }
            }
        }
    }
    assert!(checked > 10, "only {checked} links were found");
    none(&findings);
}

/// The anchor that GitHub gives a heading.
fn slug(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            _ => c.is_alphanumeric().then_some(c),
        })
        .collect()
}
