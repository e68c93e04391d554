//! What NetworkPolicies mean: whether a connection is let through, as the API of Kubernetes defines it.
//!
//! `judge` knows nothing of kruntimes. It answers what a cluster that enforces policies would do, for clusters that don't.
//! A node always reaches the pods that it runs, and a pod itself: no policy is asked.

mod address;
mod select;
#[cfg(test)]
mod tests;

pub use address::Block;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What goes over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP, the default of a rule.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// A pod as policies see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Its namespace.
    pub namespace: String,
    /// The labels of its namespace.
    pub namespace_labels: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its named ports: name, protocol and number.
    pub ports: Vec<(String, String, i32)>,
}

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A pod with an address of its own.
    Pod(IpAddr, PodFacts),
    /// The node that the pod at the other end runs on.
    Node(IpAddr),
    /// Anything else.
    Other(IpAddr),
}

impl End {
    fn address(&self) -> IpAddr {
        match self {
            Self::Pod(address, _) | Self::Node(address) | Self::Other(address) => *address,
        }
    }

    fn pod(&self) -> Option<&PodFacts> {
        match self {
            Self::Pod(_, pod) => Some(pod),
            Self::Node(_) | Self::Other(_) => None,
        }
    }
}

/// A connection that somebody tries to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Who.
    pub from: End,
    /// To whom.
    pub to: End,
    /// The port there.
    pub port: u16,
    /// How.
    pub protocol: Protocol,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is let through.
    Allowed,
    /// No policy of the pod that makes it allows it.
    DeniedByEgress,
    /// No policy of the pod that it is made to allows it.
    DeniedByIngress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ingress,
    Egress,
}

/// What becomes of a connection where these policies are enforced.
#[must_use]
pub fn judge(policies: &[NetworkPolicy], connection: &Connection) -> Answer {
    let Connection { from, to, .. } = connection;
    let with_node = matches!(from, End::Node(_)) || matches!(to, End::Node(_));
    if with_node || from.address() == to.address() {
        return Answer::Allowed;
    }
    if !passes(policies, Direction::Egress, from, to, connection) {
        return Answer::DeniedByEgress;
    }
    if !passes(policies, Direction::Ingress, to, from, connection) {
        return Answer::DeniedByIngress;
    }
    Answer::Allowed
}

/// A pod that no policy of this direction selects lets everything through; of another, one rule must allow it.
fn passes(
    policies: &[NetworkPolicy],
    direction: Direction,
    own: &End,
    other: &End,
    connection: &Connection,
) -> bool {
    let Some(pod) = own.pod() else { return true };
    let mut selected = policies
        .iter()
        .filter(|policy| policy.metadata.namespace.as_deref().unwrap_or_default() == pod.namespace)
        .filter_map(|policy| Some((policy, policy.spec.as_ref()?)))
        .filter(|(_, spec)| is_of(spec, direction))
        .filter(|(_, spec)| select::matches(spec.pod_selector.as_ref(), &pod.labels))
        .peekable();
    selected.peek().is_none()
        || selected.any(|(_, spec)| allows(spec, direction, &pod.namespace, other, connection))
}

/// A policy that names no types is one of ingress, and of egress where it has such rules.
fn is_of(spec: &NetworkPolicySpec, direction: Direction) -> bool {
    let named = spec.policy_types.as_deref().unwrap_or_default();
    match direction {
        Direction::Ingress => named.is_empty() || named.iter().any(|type_| type_ == "Ingress"),
        Direction::Egress if named.is_empty() => {
            spec.egress.as_ref().is_some_and(|rules| !rules.is_empty())
        }
        Direction::Egress => named.iter().any(|type_| type_ == "Egress"),
    }
}

fn allows(
    spec: &NetworkPolicySpec,
    direction: Direction,
    namespace: &str,
    other: &End,
    connection: &Connection,
) -> bool {
    let rule = |peers: Option<&Vec<NetworkPolicyPeer>>, ports: Option<&Vec<NetworkPolicyPort>>| {
        let peers = peers.map(Vec::as_slice).unwrap_or_default();
        let ports = ports.map(Vec::as_slice).unwrap_or_default();
        (peers.is_empty() || peers.iter().any(|peer| is_peer(peer, namespace, other)))
            && (ports.is_empty() || ports.iter().any(|port| is_port(port, connection)))
    };
    match direction {
        Direction::Ingress => {
            spec.ingress.iter().flatten().any(|it| rule(it.from.as_ref(), it.ports.as_ref()))
        }
        Direction::Egress => {
            spec.egress.iter().flatten().any(|it| rule(it.to.as_ref(), it.ports.as_ref()))
        }
    }
}

fn is_peer(peer: &NetworkPolicyPeer, namespace: &str, other: &End) -> bool {
    if let Some(block) = &peer.ip_block {
        let contains =
            |cidr: &str| cidr.parse::<Block>().is_ok_and(|block| block.contains(other.address()));
        let excepted = block.except.iter().flatten().any(|cidr| contains(cidr));
        return contains(&block.cidr) && !excepted;
    }
    let Some(pod) = other.pod() else { return false };
    let in_namespace = match &peer.namespace_selector {
        Some(selector) => select::matches(Some(selector), &pod.namespace_labels),
        None => pod.namespace == namespace,
    };
    let some = peer.namespace_selector.is_some() || peer.pod_selector.is_some();
    some && in_namespace && select::matches(peer.pod_selector.as_ref(), &pod.labels)
}

fn is_port(port: &NetworkPolicyPort, connection: &Connection) -> bool {
    let protocol = connection.protocol.name();
    if port.protocol.as_deref().unwrap_or("TCP") != protocol {
        return false;
    }
    let asked = i32::from(connection.port);
    match &port.port {
        None => true,
        Some(IntOrString::Int(first)) => {
            (*first..=port.end_port.unwrap_or(*first)).contains(&asked)
        }
        Some(IntOrString::String(name)) => connection.to.pod().is_some_and(|pod| {
            pod.ports
                .iter()
                .any(|(known, with, number)| known == name && with == protocol && *number == asked)
        }),
    }
}
