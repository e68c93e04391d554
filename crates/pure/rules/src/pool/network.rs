//! The NetworkPolicy of a pool: nobody reaches its pods, and they reach everything but what hands out a cloud's
//! credentials, or what the Runtime says and runtimed needs: the API server and DNS.

use super::ValidPool;
use super::metadata::{metadata, pod_labels};
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Where clouds serve metadata and credentials to whoever asks from a machine of theirs.
pub const METADATA_V4: [&str; 4] =
    ["169.254.169.254/32", "169.254.170.2/32", "169.254.170.23/32", "100.100.100.200/32"];
/// The same with IPv6.
pub const METADATA_V6: [&str; 1] = ["fd00:ec2::254/128"];

/// Where a node's own cache of DNS listens.
const NODE_DNS: &str = "169.254.20.10/32";
const DNS_PORT: u16 = 53;

pub(super) fn network_policy(pool: &ValidPool) -> NetworkPolicy {
    NetworkPolicy {
        metadata: metadata(pool),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(pod_labels(pool)),
                ..LabelSelector::default()
            }),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: None,
            egress: Some(
                pool.egress
                    .as_deref()
                    .map_or_else(|| vec![everywhere()], |peers| narrowed(peers, &pool.api_server)),
            ),
        }),
    }
}

/// Everywhere but the metadata addresses.
fn everywhere() -> NetworkPolicyEgressRule {
    let to = vec![block("0.0.0.0/0", &METADATA_V4), block("::/0", &METADATA_V6)];
    NetworkPolicyEgressRule { to: Some(to), ports: None }
}

/// To these peers. A rule without peers would be one of all.
fn narrowed(
    peers: &[NetworkPolicyPeer],
    api_server: &BTreeSet<(IpAddr, u16)>,
) -> Vec<NetworkPolicyEgressRule> {
    let asked = (!peers.is_empty())
        .then(|| NetworkPolicyEgressRule { to: Some(peers.to_vec()), ports: None });
    let api = api_server.iter().map(|(address, number)| {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        NetworkPolicyEgressRule {
            to: Some(vec![block(&format!("{address}/{prefix}"), &[])]),
            ports: Some(vec![port("TCP", *number)]),
        }
    });
    asked.into_iter().chain([dns()]).chain(api).collect()
}

/// The name servers of the cluster, by the label that both CoreDNS and kube-dns have, and the cache on the node.
fn dns() -> NetworkPolicyEgressRule {
    let servers = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        pod_selector: Some(LabelSelector {
            match_labels: Some([("k8s-app".to_owned(), "kube-dns".to_owned())].into()),
            ..LabelSelector::default()
        }),
        ip_block: None,
    };
    NetworkPolicyEgressRule {
        to: Some(vec![servers, block(NODE_DNS, &[])]),
        ports: Some(vec![port("UDP", DNS_PORT), port("TCP", DNS_PORT)]),
    }
}

fn block(cidr: &str, except: &[&str]) -> NetworkPolicyPeer {
    let except: Vec<String> = except.iter().map(|address| (*address).to_owned()).collect();
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: cidr.to_owned(),
            except: (!except.is_empty()).then_some(except),
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn port(protocol: &str, number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(i32::from(number))),
        end_port: None,
    }
}
