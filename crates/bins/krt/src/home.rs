//! Chooses the home that a command talks to: `--local`, the kubeconfig that flags or `$KUBECONFIG` name, the
//! current context, or a running local home when there is no kubeconfig at all.

use crate::cli::Connection;
use crate::failure::{Failure, chain};
use crate::kubeconfig;
use crate::local::{data_dir, ephemeral};
use kube::{Client, Config};
use serde_json::Value;
use std::time::Duration;

/// What to say when there is nothing to talk to.
const NO_HOME: &str = "there is no home to talk to: use --local for one on this machine, start one with `krt local up`, \
                       or name a cluster with --kubeconfig, --context or $KUBECONFIG";
/// How long an API server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// A home, ready for requests.
pub(crate) struct Home {
    /// Talks to its API server.
    pub(crate) client: Client,
    /// Address of its API server, for messages.
    pub(crate) server: String,
    /// Namespace of the command.
    pub(crate) namespace: String,
    /// Whether `--namespace` named it.
    pub(crate) namespace_given: bool,
    /// The home that this process holds itself, if it does.
    pub(crate) ephemeral: Option<ephemeral::Ephemeral>,
}

/// Whether `--local` may start a home that lives as long as this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ephemeral<'a> {
    /// It may, for this Runtime.
    Start(&'a str),
    /// Only a running home serves.
    Refuse,
}

impl Home {
    /// Connects to the home that the flags choose.
    pub(crate) async fn choose(
        flags: &Connection,
        ephemeral: Ephemeral<'_>,
    ) -> Result<Self, Failure> {
        if flags.local {
            return Self::local(flags, ephemeral).await;
        }
        let config = match kubeconfig::chosen(flags)? {
            Some(kubeconfig) => kubeconfig.config(flags).await?,
            None => match data_dir::running(&data_dir::default()?)? {
                Some(running) => kubeconfig::config_of_file(&running.kubeconfig()).await?,
                None => return Err(Failure::new(NO_HOME)),
            },
        };
        Self::connect(config, flags)
    }

    async fn local(flags: &Connection, mode: Ephemeral<'_>) -> Result<Self, Failure> {
        if let Some(running) = data_dir::running(&data_dir::default()?)? {
            let config = kubeconfig::config_of_file(&running.kubeconfig()).await?;
            return Self::connect(config, flags);
        }
        let Ephemeral::Start(runtime) = mode else {
            return Err(Failure::new(
                "no local home is running: start one with `krt local up --detach`",
            ));
        };
        let home = ephemeral::Ephemeral::start(runtime).await?;
        let namespace =
            flags.namespace.clone().unwrap_or_else(|| home.client().default_namespace().to_owned());
        Ok(Self {
            client: home.client(),
            server: "of the local home".to_owned(),
            namespace,
            namespace_given: flags.namespace.is_some(),
            ephemeral: Some(home),
        })
    }

    fn connect(mut config: Config, flags: &Connection) -> Result<Self, Failure> {
        config.connect_timeout = Some(CONNECT);
        let namespace = flags.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = Client::try_from(config).map_err(|error| {
            Failure::new(format!("the kubeconfig can't be used: {}", chain(&error)))
        })?;
        let namespace_given = flags.namespace.is_some();
        Ok(Self { client, server, namespace, namespace_given, ephemeral: None })
    }

    /// The namespace of a manifest, by kubectl's rule: its own, which `-n` may only repeat.
    pub(crate) fn namespace_of(&self, object: &Value) -> Result<String, Failure> {
        match object.pointer("/metadata/namespace").and_then(Value::as_str) {
            Some(own) if self.namespace_given && own != self.namespace => {
                Err(Failure::usage(format!(
                    "the namespace of the manifest, {own:?}, is not that of --namespace, {:?}",
                    self.namespace
                )))
            }
            Some(own) => Ok(own.to_owned()),
            None => Ok(self.namespace.clone()),
        }
    }

    /// Ends what this process holds of the home.
    pub(crate) async fn close(self) {
        if let Some(home) = self.ephemeral {
            home.stop().await;
        }
    }
}
