//! `cargo xtask e2e up | images | test | down`: a one-node Kubernetes that is built from Go modules and Debian packages.
//!
//! It runs as root beside whatever else the machine does: its own addresses, cgroup, containerd and directory, and all
//! of them go with `down`. Builds are kept outside the checkout, keyed by their versions.

mod artifacts;
mod behaviour;
mod certificates;
mod cgroup;
mod charts;
pub(crate) mod command;
mod components;
mod config;
mod connections;
mod daemon;
mod down;
mod etcd;
mod examples;
mod image_cases;
mod images;
mod kubernetes;
mod network;
mod outages;
mod owner;
mod packages;
mod pause;
pub(crate) mod place;
mod rights;
mod test;
mod up;

use place::Place;
use up::{Tools, stage};

/// Builds what is missing and starts the cluster.
pub(crate) fn up() -> anyhow::Result<()> {
    let tools = Tools::prepare()?;
    let _lock = tools.place.lock()?;
    up::start(&tools)?;
    stage("images", || images::import(&tools))?;
    println!("helm: {}", tools.kubernetes.helm().display());
    println!("the cluster is up: export KUBECONFIG={}", tools.place.kubeconfig().display());
    Ok(())
}

/// Builds the images anew and hands them to the running cluster; its pods take them when they are made anew.
pub(crate) fn images() -> anyhow::Result<()> {
    let tools = Tools::prepare()?;
    stage("images", || images::import(&tools))
}

/// Up, all cases, and down, also after a failure; a cluster that ran before stays.
pub(crate) fn all() -> anyhow::Result<()> {
    let ran = up::runs(&Tools::prepare()?);
    let result = up().and_then(|()| stage("test", || test("")));
    if !ran {
        down()?;
    }
    result
}

/// Stops it.
pub(crate) fn down() -> anyhow::Result<()> {
    let place = Place::find()?;
    let _lock = place.lock()?;
    stage("down", || down::stop(&place))
}

/// Installs the charts and runs the cases whose name has a word in it.
pub(crate) fn test(word: &str) -> anyhow::Result<()> {
    test::run(word)
}
