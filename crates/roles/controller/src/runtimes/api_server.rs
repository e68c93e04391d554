//! Where the API server listens: the address of its Service, and those behind it.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kruntimes_cluster::watch::Observed;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Namespace and name of the Service and of its EndpointSlice, which the API server itself keeps.
pub(super) const NAMESPACE: &str = "default";
pub(super) const NAME: &str = "kubernetes";

type Addresses = BTreeSet<(IpAddr, u16)>;

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct ApiServer {
    service: Addresses,
    behind: Addresses,
}

impl ApiServer {
    /// A NetworkPolicy is asked before or after the Service's address was translated: pods need both.
    pub(super) fn addresses(&self) -> Addresses {
        self.service.union(&self.behind).copied().collect()
    }

    /// Takes the Service in; true when that changed something.
    pub(super) fn take_service(&mut self, observed: &Observed<Service>) -> bool {
        match observed {
            Observed::Applied(service) => replace(&mut self.service, of_service(service)),
            Observed::Gone(_) => replace(&mut self.service, Addresses::new()),
            Observed::Synced | Observed::Interrupted => false,
        }
    }

    /// Takes the slice in; true when that changed something.
    pub(super) fn take_slice(&mut self, observed: &Observed<EndpointSlice>) -> bool {
        match observed {
            Observed::Applied(slice) => replace(&mut self.behind, of_slice(slice)),
            // One that is written anew must not close the way to the API server meanwhile.
            Observed::Gone(_) | Observed::Synced | Observed::Interrupted => false,
        }
    }
}

fn replace(known: &mut Addresses, now: Addresses) -> bool {
    let changed = *known != now;
    *known = now;
    changed
}

fn of_service(service: &Service) -> Addresses {
    let Some(spec) = &service.spec else { return Addresses::new() };
    let addresses = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    let ports = spec.ports.iter().flatten().map(|port| port.port).collect();
    pairs(addresses, ports)
}

fn of_slice(slice: &EndpointSlice) -> Addresses {
    let addresses = slice.endpoints.iter().flatten().flat_map(|it| &it.addresses);
    let ports = slice.ports.iter().flatten().filter_map(|port| port.port).collect();
    pairs(addresses, ports)
}

fn pairs<'a>(addresses: impl Iterator<Item = &'a String>, ports: Vec<i32>) -> Addresses {
    let addresses = addresses.filter_map(|text| text.parse::<IpAddr>().ok());
    let ports: Vec<u16> = ports.into_iter().filter_map(|port| u16::try_from(port).ok()).collect();
    addresses.flat_map(|address| ports.iter().map(move |port| (address, *port))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_the_service_and_what_is_behind_it_count() {
        let mut known = ApiServer::default();
        let service = json!({"metadata": {"name": "kubernetes"}, "spec": {
            "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"], "ports": [{"port": 443}],
        }});
        let slice = json!({"metadata": {"name": "kubernetes"}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.99.0.1"]}], "ports": [{"port": 6443}]});
        let service = Observed::Applied(serde_json::from_value(service).unwrap());
        let slice = Observed::Applied(serde_json::from_value(slice).unwrap());
        assert!(known.take_service(&service) && !known.take_service(&service));
        assert!(known.take_slice(&slice) && !known.take_slice(&slice));
        let shown: Vec<String> =
            known.addresses().iter().map(|(address, port)| format!("{address} {port}")).collect();
        assert_eq!(shown, ["10.96.0.1 443", "10.99.0.1 6443", "fd00::1 443"]);
    }
}
