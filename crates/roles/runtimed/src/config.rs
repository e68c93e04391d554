//! Flags and environment of `krt serve runtimed`, and what they mean here.

use crate::journal::Durability;
use crate::source::SourceConfig;
use kruntimes_api::{labels, limits, names};
use kruntimes_artifacts::StoreConfig;
use kruntimes_rules::capacity::{self, Resources};
use kruntimes_rules::run::limits::Limits;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// Flags of the sidecar. The environment variables come from the pod.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// Address of the Runtime Server in this pod.
    #[arg(long, default_value = "localhost:9091")]
    pub runtime_endpoint: String,
    /// Where the gRPC server for logs and status listens; without a host on the pod's loopback address.
    #[arg(long, default_value = ":9093")]
    pub status_addr: String,
    /// Where /healthz, /readyz, /readyz/runtime, /livez/runtime and /drain are served.
    #[arg(long, default_value = ":9094")]
    pub health_probe_bind_address: String,
    /// Name of the Runtime that this pod belongs to.
    #[arg(long, default_value = "")]
    pub runtime_name: String,
    /// How many Runs execute at once.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub workers: u32,
    /// Git sources.
    #[command(flatten)]
    pub source: SourceConfig,
    /// What else this pod has for the Runs that execute at once, as `gpu=2`.
    #[arg(long, value_name = "NAME=AMOUNT", value_delimiter = ',', value_parser = resource)]
    pub capacity: Vec<(String, u64)>,
    /// What each Run may use at most that says nothing else, as `memory=512Mi`, `processes=100` or `disk=1Gi`.
    #[arg(long, value_name = "NAME=AMOUNT", value_delimiter = ',', value_parser = run_limit)]
    pub run_limit: Vec<(String, u64)>,
    /// Where artifacts are kept.
    #[command(flatten)]
    pub store: StoreConfig,
    /// Whether the logs of attempts that ended are kept in the artifact store, where there is one.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub archive_logs: bool,
    /// What stands for 127.0.0.1 in this pod.
    #[arg(long, env = "KRUNTIMES_LOOPBACK", hide = true)]
    pub loopback: Option<IpAddr>,
    /// Directory with the workspaces of Runs.
    #[arg(long, env = "KRUNTIMES_WORKSPACE", default_value = "/workspace", hide = true)]
    pub workspace: PathBuf,
    /// Directory that no Run can read: the control token, for this process and the Runtime Server.
    #[arg(long, env = "KRUNTIMES_CONTROL", default_value = names::CONTROL_PATH, hide = true)]
    pub control: PathBuf,
    /// Directory that only this process has: journal, logs, Git sources on their way.
    #[arg(long, env = "KRUNTIMES_STATE", default_value = names::STATE_PATH, hide = true)]
    pub state: PathBuf,
    /// Seconds that Runs have to end after SIGTERM; what has not ended shortly before is killed.
    #[arg(long, default_value_t = limits::DRAIN_SECONDS.unsigned_abs(), value_parser = clap::value_parser!(u64).range(1..=limits::DRAIN_SECONDS_MAX.unsigned_abs()))]
    pub drain_timeout_seconds: u64,
    /// Seconds after which a pod that can't renew its Lease kills its Runs: the API server does not answer, or takes no
    /// renewal. The controller takes the Runs later than that.
    #[arg(long, default_value_t = limits::FENCE_AFTER_SECONDS, value_parser = clap::value_parser!(u64).range(limits::FENCE_AFTER_SECONDS_MIN..=limits::LOSS_SECONDS_MAX))]
    pub fence_after_seconds: u64,
    /// What the journal in it outlives.
    #[arg(long, env = "KRUNTIMES_JOURNAL", value_enum, default_value_t, hide = true)]
    pub journal: Durability,
    /// Directory with the Secrets and ConfigMaps that Runs may use: only this process has it.
    #[arg(long, env = "KRUNTIMES_SOURCES", default_value = names::SOURCES_PATH, hide = true)]
    pub mounted: PathBuf,
    /// Name of this pod.
    #[arg(long, env = "HOSTNAME", hide = true)]
    pub pod_name: String,
    /// Namespace of this pod.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default", hide = true)]
    pub pod_namespace: String,
    /// UID of this pod; asked from the API server when it is not given.
    #[arg(long, env = "POD_UID", hide = true)]
    pub pod_uid: Option<String>,
    /// `stdin`: end when stdin ends.
    #[arg(long, env = kruntimes_daemon::lifeline::VARIABLE, hide = true)]
    pub lifeline: Option<String>,
}

/// A flag that makes no sense.
#[derive(Debug, Error)]
#[error("{flag}: `{value}` is no address; write it as `:9093` or `127.0.0.1:9093`")]
pub struct AddressError {
    flag: &'static str,
    value: String,
}

/// Reads `gpu=2`.
fn resource(text: &str) -> Result<(String, u64), String> {
    let (name, value) =
        text.split_once('=').ok_or("a resource and its amount, as `gpu=2`, are needed")?;
    if name.is_empty() || name == labels::RUNS_RESOURCE {
        return Err("runs are given by --workers; name another resource, as `gpu=2`".to_owned());
    }
    let amount = capacity::amount("--capacity", name, value).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), amount))
}

/// Reads `memory=512Mi`.
fn run_limit(text: &str) -> Result<(String, u64), String> {
    let (name, value) =
        text.split_once('=').ok_or("a limit and its amount, as `memory=512Mi`, are needed")?;
    let amount = capacity::amount("--run-limit", name, value).map_err(|error| error.to_string())?;
    match Limits::default().with(name, amount) {
        Some(_) => Ok((name.to_owned(), amount)),
        None => Err("the limits of a Run are memory, processes and disk".to_owned()),
    }
}

impl Config {
    /// What each Run may use at most that says nothing else.
    pub(crate) fn run_limits(&self) -> Limits {
        let all =
            |all: Limits, (name, amount): &(String, u64)| all.with(name, *amount).unwrap_or(all);
        self.run_limit.iter().fold(Limits::default(), all)
    }

    /// What this pod has for the Runs that execute at once.
    pub(crate) fn resources(&self) -> Resources {
        let runs = Resources::runs(self.workers);
        self.capacity.iter().fold(runs, |all, (name, amount)| all.with(name, *amount))
    }

    pub(crate) fn fence_after(&self) -> Duration {
        Duration::from_secs(self.fence_after_seconds)
    }

    fn loopback(&self) -> IpAddr {
        self.loopback.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Where the Runtime Server is.
    pub(crate) fn runtime_address(&self) -> Result<SocketAddr, AddressError> {
        self.address("--runtime-endpoint", &self.runtime_endpoint, self.loopback())
    }

    /// Where logs and status are served: only on the loopback address unless a host is given.
    pub(crate) fn status_address(&self) -> Result<SocketAddr, AddressError> {
        self.address("--status-addr", &self.status_addr, self.loopback())
    }

    /// Where health is served: the kubelet asks from outside the pod.
    pub(crate) fn health_address(&self) -> Result<SocketAddr, AddressError> {
        let every_interface = self.loopback.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        self.address(
            "--health-probe-bind-address",
            &self.health_probe_bind_address,
            every_interface,
        )
    }

    fn address(
        &self,
        flag: &'static str,
        value: &str,
        unspecified: IpAddr,
    ) -> Result<SocketAddr, AddressError> {
        let error = || AddressError { flag, value: value.to_owned() };
        let (host, port) = value.rsplit_once(':').ok_or_else(error)?;
        let port: u16 = port.parse().map_err(|_| error())?;
        let host = match host {
            "" => unspecified,
            "localhost" | "127.0.0.1" => self.loopback(),
            other => other.trim_matches(['[', ']']).parse().map_err(|_| error())?,
        };
        Ok(SocketAddr::new(host, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        config: Config,
    }

    fn parse(arguments: &[&str]) -> Config {
        let all = [&["runtimed", "--pod-name=p"], arguments].concat();
        Command::try_parse_from(all).unwrap().config
    }

    #[test]
    fn addresses_without_a_host_stand_for_the_pod() {
        let config = parse(&["--loopback=127.1.2.3", "--runtime-endpoint=127.0.0.1:9091"]);
        assert_eq!(config.runtime_address().unwrap().to_string(), "127.1.2.3:9091");
        assert_eq!(config.status_address().unwrap().to_string(), "127.1.2.3:9093");
        assert_eq!(config.health_address().unwrap().to_string(), "127.1.2.3:9094");
        let given = parse(&["--loopback=127.1.2.3", "--status-addr=127.9.9.9:1"]);
        assert_eq!(given.status_address().unwrap().to_string(), "127.9.9.9:1");
        for wrong in ["9093", "host:9093", ":x", ":99999"] {
            let config = parse(&["--loopback=127.1.2.3", &format!("--status-addr={wrong}")]);
            let message = config.status_address().unwrap_err().to_string();
            assert!(message.starts_with(&format!("--status-addr: `{wrong}`")), "{message}");
        }
    }

    #[test]
    fn a_pod_executes_at_least_one_run_at_once() {
        assert!(Command::try_parse_from(["x", "--pod-name=p", "--workers=0"]).is_err());
        assert_eq!(parse(&["--workers=1"]).workers, 1);
        assert!(Command::try_parse_from(["x", "--pod-name=p", "--workers=10001"]).is_err());
        for (seconds, fits) in [(0, false), (1, true), (86_400, true), (86_401, false)] {
            let flag = format!("--drain-timeout-seconds={seconds}");
            assert_eq!(Command::try_parse_from(["x", "--pod-name=p", &flag]).is_ok(), fits);
        }
        assert_eq!(parse(&["--workers=10000"]).workers, 10_000);
    }

    #[test]
    fn a_pod_has_runs_and_what_else_is_named() {
        assert_eq!(parse(&[]).resources().to_string(), "runs=2");
        let config = parse(&["--workers=4", "--capacity=gpu=2", "--capacity=tpu=1,memory=8Gi"]);
        assert_eq!(config.resources().to_string(), "runs=4, gpu=2, memory=8589934592, tpu=1");
        for wrong in ["gpu", "=1", "runs=1", "gpu=", "gpu=x", "gpu=1.5", "gpu=-1", "gpu=1Pi"] {
            let flag = format!("--capacity={wrong}");
            let error = Command::try_parse_from(["x", "--pod-name=p", &flag]).unwrap_err();
            assert!(error.to_string().contains(wrong), "{error}");
        }
    }

    #[test]
    fn limits_of_sources_have_limits_and_no_bundle_is_the_systems() {
        let refused = |flag: &str| Command::try_parse_from(["x", "--pod-name=p", flag]).is_err();
        assert!(refused("--source-timeout-seconds=0") && refused("--source-timeout-seconds=3601"));
        assert!(refused("--source-max-bytes=0") && refused("--source-max-bytes=1099511627777"));
        let edge = parse(&["--source-timeout-seconds=3600", "--source-max-bytes=1099511627776"]);
        assert_eq!(edge.source.source_timeout_seconds, 3600);
        assert_eq!(parse(&[]).source.source_max_bytes, 100 << 20);
        let empty = parse(&["--source-ca-bundle="]).source.source_ca_bundle;
        assert_eq!(empty, Some(PathBuf::new()));
    }

    #[test]
    fn limits_of_runs_have_names_and_amounts() {
        let config = parse(&["--run-limit=memory=512Mi,processes=7", "--run-limit=disk=1"]);
        let expected = Limits { memory: Some(512 << 20), processes: Some(7), disk: Some(1) };
        assert_eq!(config.run_limits(), expected);
        assert_eq!(parse(&[]).run_limits(), Limits::default());
        for wrong in ["memory", "cpu=1", "memory=-1", "memory=1.5Gi"] {
            let flag = format!("--run-limit={wrong}");
            assert!(Command::try_parse_from(["x", "--pod-name=p", &flag]).is_err(), "{wrong}");
        }
    }
}
