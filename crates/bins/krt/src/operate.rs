//! What scheduler and controller have in common as processes of a cluster: metrics, probes, and one leader among replicas.

use crate::failure::{Failure, chain, without_number};
use crate::names;
use clap::Args;
use kruntimes_cluster::leader::{self, Candidate};
use kruntimes_daemon::health::{Checks, Verdict};
use kruntimes_daemon::{Shutdown, health, metrics};
use kruntimes_rules::leader::Timing;
use kube::api::ListParams;
use kube::{Api, Client};
use prometheus_client::registry::Registry;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// A probe that takes longer counts as failed; the kubelet's own limit is shorter or longer as the pod says.
const PROBE: Duration = Duration::from_secs(3);
const METRICS: &str = "--metrics-bind-address";
const PROBES: &str = "--health-probe-bind-address";
/// `0` in place of an address.
const OFF: &str = "0";

/// Flags of a role that may have replicas.
#[derive(Debug, Args)]
pub(crate) struct OperateArgs {
    /// Work only while this replica holds the role's Lease in the namespace of its pod (POD_NAMESPACE)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    leader_elect: bool,
    /// Kubeconfig of the API server; without one $KUBECONFIG, else the cluster that this process runs in
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Namespace of the Lease
    #[arg(long, env = "POD_NAMESPACE", default_value = "default", hide = true)]
    pod_namespace: String,
    /// Name of this pod
    #[arg(long, env = "HOSTNAME", default_value = "krt", hide = true)]
    pod_name: String,
}

/// Where a role is watched; the defaults differ by role.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched<'a> {
    /// Address of /metrics.
    pub(crate) metrics: &'a str,
    /// Address of /healthz and /readyz.
    pub(crate) probes: &'a str,
}

impl OperateArgs {
    /// This process, as its Events name it.
    pub(crate) fn instance(&self) -> &str {
        &self.pod_name
    }

    /// The API server that the flags name.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        match &self.kubeconfig {
            None => Ok(Client::try_default().await?),
            Some(file) => {
                let config = crate::kubeconfig::config_of_file(file).await?;
                Ok(Client::try_from(config)?)
            }
        }
    }

    /// Serves metrics and probes, and does `work` at once or under the Lease, until the shutdown.
    pub(crate) async fn operate<K>(
        &self,
        lease: &str,
        watched: Watched<'_>,
        registry: Registry,
        client: Client,
        work: impl Future<Output = ()>,
        shutdown: Shutdown,
    ) -> Result<(), Failure>
    where
        K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
        K: serde::de::DeserializeOwned,
    {
        let metrics = listen("metrics are served", METRICS, watched.metrics).await?;
        let probes = listen("probes are served", PROBES, watched.probes).await?;
        let ready = Arc::new(Ready(Api::<K>::all(client.clone())));
        let beside = async {
            tokio::join!(
                async {
                    if let Some(listener) = metrics {
                        metrics::serve(listener, Arc::new(registry), shutdown.clone()).await;
                    }
                },
                async {
                    if let Some(listener) = probes {
                        health::serve(listener, ready, shutdown.clone()).await;
                    }
                },
            );
            // The work ends last: it may give its Lease back.
            std::future::pending::<()>().await;
        };
        let mut end = shutdown.clone();
        let led = async {
            if self.leader_elect {
                let candidate = self.candidate(lease)?;
                leader::lead(client, candidate, end.wait(), work)
                    .await
                    .map_err(|error| Failure::new(chain(&error)))
            } else {
                work.await;
                Ok(())
            }
        };
        tokio::select! {
            ended = led => ended,
            () = beside => Ok(()),
        }
    }

    fn candidate(&self, lease: &str) -> Result<Candidate, Failure> {
        Ok(Candidate {
            namespace: self.pod_namespace.clone(),
            lease: lease.to_owned(),
            // Two containers of one pod follow each other under one name.
            identity: format!("{}_{}", self.pod_name, names::token()?),
            timing: Timing::default(),
        })
    }
}

async fn listen(what: &str, flag: &str, value: &str) -> Result<Option<TcpListener>, Failure> {
    if value == OFF {
        return Ok(None);
    }
    let mut last = None;
    for address in addresses(flag, value)? {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                let address = listener.local_addr()?;
                tracing::info!(%address, "{what}");
                return Ok(Some(listener));
            }
            Err(error) => last = Some(error),
        }
    }
    let why = last.map(|error| without_number(&error.to_string())).unwrap_or_default();
    Err(Failure::new(format!("can't listen on {value}: {why}: name another {flag}, or 0 for none")))
}

/// Without a host every address of the machine: of both families where the machine has both.
fn addresses(flag: &str, value: &str) -> Result<Vec<SocketAddr>, Failure> {
    let wrong = || {
        Failure::usage(format!(
            "{flag}: `{value}` is no address: write it as :8080 or 127.0.0.1:8080, or 0 for none"
        ))
    };
    let (host, port) = value.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let hosts: Vec<IpAddr> = match host {
        "" => vec![Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()],
        "localhost" => vec![Ipv4Addr::LOCALHOST.into()],
        host => vec![host.trim_matches(['[', ']']).parse().map_err(|_| wrong())?],
    };
    Ok(hosts.into_iter().map(|host| SocketAddr::new(host, port)).collect())
}

/// Ready is who can list what it works on: also a replica that does not lead.
struct Ready<K>(Api<K>);

impl<K> Checks for Ready<K>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    fn check(&self, path: &str) -> Option<Pin<Box<dyn Future<Output = Verdict> + Send + '_>>> {
        match path {
            "/healthz" => Some(Box::pin(std::future::ready(Ok(())))),
            "/readyz" => Some(Box::pin(async {
                let one = ListParams::default().limit(1);
                match timeout(PROBE, self.0.list_metadata(&one)).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) => Err(format!("the API server: {}", chain(&error))),
                    Err(_) => Err("the API server does not answer".to_owned()),
                }
            })),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::addresses;

    #[test]
    fn an_address_without_a_host_is_every_address() {
        let shown = |value: &str| -> Vec<String> {
            addresses("--x", value).unwrap().iter().map(ToString::to_string).collect()
        };
        assert_eq!(shown(":8080"), ["[::]:8080", "0.0.0.0:8080"]);
        assert_eq!(shown("127.0.0.1:1"), ["127.0.0.1:1"]);
        assert_eq!(shown("[::1]:65535"), ["[::1]:65535"]);
        for wrong in ["8080", ":65536", "host:1", ":", ""] {
            let failure = addresses("--x", wrong).unwrap_err();
            assert!(failure.lines[0].starts_with(&format!("--x: `{wrong}`")), "{failure:?}");
        }
    }
}
