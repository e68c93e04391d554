//! Which connections of a Runtime's pods are let through: tried from a Run where the cluster enforces NetworkPolicies, and
//! in any case judged by what the API server holds.

use super::behaviour::{apply, items, json_of, run, text};
use crate::suite::Tools;
use anyhow::{Context, ensure};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kruntimes_rules::network::{Answer, Connection, End, PodFacts, Protocol, judge};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Metadata services of clouds: of machines, of containers, with IPv6.
const METADATA: [&str; 5] =
    ["169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "100.100.100.200"];
/// Ports of a Runtime's pod: metrics, the Runtime Server, runtimed, health.
const PORTS: [u16; 4] = [9090, 9091, 9093, 9094];
const HEALTH: u16 = 9094;

/// The case.
pub(super) fn judged(tools: &Tools) -> anyhow::Result<()> {
    let facts = Facts::read(tools)?;
    facts.twelve()?;
    if facts.is_enforced(tools)? {
        println!("   this cluster enforces NetworkPolicies: they are tried from a Run");
        facts.tried(tools)
    } else {
        println!(
            "   this cluster does not enforce NetworkPolicies: they are judged as they are stored"
        );
        Ok(())
    }
}

/// What the API server holds.
struct Facts {
    policies: Vec<NetworkPolicy>,
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    pods: Vec<(String, End)>,
    api_server: IpAddr,
}

impl Facts {
    fn read(tools: &Tools) -> anyhow::Result<Self> {
        let list = json_of(tools, "get networkpolicies -n default")?;
        let policies = items(&list)
            .map(|policy| serde_json::from_value(policy.clone()).context("a NetworkPolicy"))
            .collect::<anyhow::Result<_>>()?;
        let labels = |object: &Value| -> BTreeMap<String, String> {
            serde_json::from_value(object["metadata"]["labels"].clone()).unwrap_or_default()
        };
        let list = json_of(tools, "get namespaces")?;
        let namespaces: BTreeMap<_, _> =
            items(&list).map(|one| (text(one, "/metadata/name").to_owned(), labels(one))).collect();
        let list = json_of(tools, "get pods -n default -l runtime=bash")?;
        let mut pods = Vec::new();
        for pod in items(&list).filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()) {
            let facts = PodFacts {
                namespace: "default".to_owned(),
                namespace_labels: namespaces.get("default").cloned().unwrap_or_default(),
                labels: labels(pod),
                ports: Vec::new(),
            };
            let address = text(pod, "/status/podIP").parse()?;
            pods.push((text(pod, "/metadata/name").to_owned(), End::Pod(address, facts)));
        }
        ensure!(pods.len() >= 2, "the pool has {} pods", pods.len());
        let service = json_of(tools, "get service kubernetes -n default")?;
        let api_server = text(&service, "/spec/clusterIP").parse()?;
        Ok(Self { policies, namespaces, pods, api_server })
    }

    fn stranger(
        &self,
        namespace: &str,
        address: &str,
        labels: &[(&str, &str)],
    ) -> anyhow::Result<End> {
        let facts = PodFacts {
            namespace: namespace.to_owned(),
            namespace_labels: self.namespaces.get(namespace).cloned().unwrap_or_default(),
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ports: Vec::new(),
        };
        Ok(End::Pod(address.parse()?, facts))
    }

    /// The connections that the security page names.
    fn twelve(&self) -> anyhow::Result<()> {
        let [(_, pod), (_, twin), ..] = &self.pods[..] else { unreachable!("there are two") };
        let (pod, twin) = (|| pod.clone(), || twin.clone());
        let other = |address: &str| Ok::<_, anyhow::Error>(End::Other(address.parse()?));
        let dns = || self.stranger("kube-system", "10.98.0.253", &[("k8s-app", "kube-dns")]);
        let database = || self.stranger("kube-public", "10.98.0.254", &[]);
        use Answer::{Allowed, DeniedByEgress, DeniedByIngress};
        use Protocol::{Tcp, Udp};
        let named = [
            ("the Runtime Server of a twin", pod(), twin(), 9091, Tcp, DeniedByIngress),
            ("runtimed of a twin", twin(), pod(), 9093, Tcp, DeniedByIngress),
            ("health, from another namespace", database()?, pod(), HEALTH, Tcp, DeniedByIngress),
            ("metrics, from outside", other("192.0.2.1")?, pod(), 9090, Tcp, DeniedByIngress),
            ("the kubelet's probe", End::Node("10.99.0.1".parse()?), pod(), HEALTH, Tcp, Allowed),
            ("metadata of a machine", pod(), other(METADATA[0])?, 80, Tcp, DeniedByEgress),
            ("metadata of a container", pod(), other(METADATA[1])?, 80, Tcp, DeniedByEgress),
            ("metadata with IPv6", pod(), other(METADATA[3])?, 80, Tcp, DeniedByEgress),
            ("the API server", pod(), End::Other(self.api_server), 443, Tcp, Allowed),
            ("DNS", pod(), dns()?, 53, Udp, Allowed),
            ("the internet", pod(), other("93.184.216.34")?, 443, Tcp, Allowed),
            ("a database of the cluster", pod(), database()?, 5432, Tcp, Allowed),
        ];
        for (name, from, to, port, protocol, wanted) in named {
            let answer = judge(&self.policies, &Connection { from, to, port, protocol });
            ensure!(answer == wanted, "{name}: {answer:?}, not {wanted:?}");
        }
        Ok(())
    }

    /// Health is served on every address of a pod: who reaches it from another pod meets no enforcement.
    fn is_enforced(&self, tools: &Tools) -> anyhow::Result<bool> {
        Ok(!self.reached(tools, "enforced", &[], &[HEALTH])?.contains(&true))
    }

    /// Neither a port of another pod nor a metadata address is reached, and the API server is.
    fn tried(&self, tools: &Tools) -> anyhow::Result<()> {
        let reached =
            self.reached(tools, "tried", &METADATA.map(|address| (address, 80)), &PORTS)?;
        ensure!(!reached.contains(&true), "a Run reaches what it must not: {reached:?}");
        let api_server = self.api_server.to_string();
        let reached = self.reached(tools, "api-server", &[(&api_server, 443)], &[])?;
        ensure!(reached == [true], "a Run does not reach the API server");
        Ok(())
    }

    /// Which of these a Run reaches: the addresses, then these ports of the pods that it is not on.
    fn reached(
        &self,
        tools: &Tools,
        name: &str,
        addresses: &[(&str, u16)],
        ports: &[u16],
    ) -> anyhow::Result<Vec<bool>> {
        let mut targets: Vec<(String, String, u16)> = addresses
            .iter()
            .map(|(address, port)| (String::new(), (*address).to_owned(), *port))
            .collect();
        for (pod, end) in &self.pods {
            let End::Pod(address, _) = end else { continue };
            targets.extend(ports.iter().map(|port| (pod.clone(), address.to_string(), *port)));
        }
        let tries: Vec<String> = targets
            .iter()
            .map(|(_, address, port)| {
                format!("timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/{port}' 2>/dev/null && echo yes || echo no")
            })
            .collect();
        let name = format!("connects-{name}");
        apply(tools, "default", &run(&name, &json!({"source": {"inline": tries.join("\n")}})))?;
        tools.kubectl(&format!("wait --for=condition=Finished run/{name} --timeout=120s"))?;
        let own = tools.kubectl(&format!("get run {name} -o jsonpath={{.status.assignedPod}}"))?;
        let said = tools.krt(&format!("logs {name}"))?;
        tools.kubectl(&format!("delete run {name}"))?;
        ensure!(said.lines().count() == targets.len(), "the Run tried not all: {said}");
        let answers = said.lines().zip(&targets).filter(|(_, (pod, ..))| *pod != own);
        Ok(answers.map(|(line, _)| line == "yes").collect())
    }
}
