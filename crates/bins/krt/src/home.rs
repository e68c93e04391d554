//! Chooses the home that a command talks to: `--local`, the kubeconfig that flags or `$KUBECONFIG` name, the
//! current context, or a running local home when there is no kubeconfig at all.

use crate::cli::Connection;
use crate::failure::{Failure, chain};
use crate::local::{data_dir, ephemeral};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::path::Path;

/// What to say when there is nothing to talk to.
const NO_HOME: &str = "there is no home to talk to: use --local for one on this machine, start one with `krt local up`, \
                       or name a cluster with --kubeconfig, --context or $KUBECONFIG";

/// A home, ready for requests.
pub(crate) struct Home {
    /// Talks to its API server.
    pub(crate) client: Client,
    /// Namespace of the command.
    pub(crate) namespace: String,
    /// Whether `--namespace` named it.
    pub(crate) namespace_given: bool,
    /// The home that this process holds itself, if it does.
    pub(crate) ephemeral: Option<ephemeral::Ephemeral>,
}

/// Whether `--local` may start a home that lives as long as this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ephemeral {
    /// It may.
    Start,
    /// Only a running home serves.
    Refuse,
}

impl Home {
    /// Connects to the home that the flags choose.
    pub(crate) async fn choose(flags: &Connection, ephemeral: Ephemeral) -> Result<Self, Failure> {
        if flags.local {
            return Self::local(flags, ephemeral).await;
        }
        let config = match load(flags)? {
            Some(kubeconfig) => from_kubeconfig(kubeconfig, flags).await?,
            // A local home is no server's: its token must not go elsewhere.
            None if flags.server.is_some() => from_kubeconfig(bare(flags), flags).await?,
            None => match data_dir::running(&data_dir::default()?)? {
                Some(running) => from_file(&running.kubeconfig()).await?,
                None => return Err(Failure::new(NO_HOME)),
            },
        };
        Self::connect(config, flags)
    }

    async fn local(flags: &Connection, mode: Ephemeral) -> Result<Self, Failure> {
        if let Some(running) = data_dir::running(&data_dir::default()?)? {
            return Self::connect(from_file(&running.kubeconfig()).await?, flags);
        }
        if mode == Ephemeral::Refuse {
            return Err(Failure::new("no local home is running: start one with `krt local up`"));
        }
        let home = ephemeral::Ephemeral::start().await?;
        let namespace =
            flags.namespace.clone().unwrap_or_else(|| home.client().default_namespace().to_owned());
        Ok(Self {
            client: home.client(),
            namespace,
            namespace_given: flags.namespace.is_some(),
            ephemeral: Some(home),
        })
    }

    fn connect(config: Config, flags: &Connection) -> Result<Self, Failure> {
        let namespace = flags.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config)?;
        Ok(Self { client, namespace, namespace_given: flags.namespace.is_some(), ephemeral: None })
    }

    /// Ends what this process holds of the home.
    pub(crate) async fn close(self) {
        if let Some(home) = self.ephemeral {
            home.stop().await;
        }
    }
}

/// The kubeconfig that the flags, `$KUBECONFIG` or the home directory name.
fn load(flags: &Connection) -> Result<Option<Kubeconfig>, Failure> {
    let kubeconfig = if let Some(path) = &flags.kubeconfig {
        Some(Kubeconfig::read_from(path))
    } else {
        match Kubeconfig::from_env() {
            Ok(Some(found)) => Some(Ok(found)),
            Ok(None) => default_path().filter(|path| path.exists()).map(Kubeconfig::read_from),
            Err(error) => Some(Err(error)),
        }
    };
    let Some(kubeconfig) = kubeconfig else {
        return match &flags.context {
            Some(context) => Err(Failure::new(format!(
                "context {context:?} does not exist: there is no kubeconfig"
            ))),
            None => Ok(None),
        };
    };
    let kubeconfig = kubeconfig.map_err(|error| Failure::new(chain(&error)))?;
    let named = flags.kubeconfig.is_some() || flags.context.is_some() || flags.cluster.is_some();
    let empty = kubeconfig.current_context.as_deref().is_none_or(str::is_empty)
        && kubeconfig.clusters.is_empty();
    Ok(if empty && !named { None } else { Some(kubeconfig) })
}

fn default_path() -> Option<std::path::PathBuf> {
    Some(std::env::home_dir()?.join(".kube").join("config"))
}

/// A kubeconfig for `--server` alone.
fn bare(flags: &Connection) -> Kubeconfig {
    let server = flags.server.as_deref().unwrap_or_default();
    let value = serde_json::json!({
        "clusters": [{"name": "server", "cluster": {"server": server}}],
        "users": [{"name": "user", "user": {}}],
        "contexts": [{"name": "server", "context": {"cluster": "server", "user": "user"}}],
        "current-context": "server",
    });
    serde_json::from_value(value).unwrap_or_default()
}

async fn from_file(path: &Path) -> Result<Config, Failure> {
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| Failure::new(chain(&error)))?;
    from_kubeconfig(kubeconfig, &Connection::default()).await
}

async fn from_kubeconfig(kubeconfig: Kubeconfig, flags: &Connection) -> Result<Config, Failure> {
    let options = KubeConfigOptions {
        context: flags.context.clone(),
        cluster: flags.cluster.clone(),
        user: flags.user.clone(),
    };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| Failure::new(chain(&error)))?;
    if let Some(server) = &flags.server {
        config.cluster_url = server.parse().map_err(|error| {
            Failure::usage(format!("--server {server:?} is not a URL: {error}"))
        })?;
    }
    if let Some(token) = &flags.token {
        config.auth_info = serde_json::from_value::<AuthInfo>(serde_json::json!({"token": token}))
            .map_err(|error| Failure::usage(format!("--token: {error}")))?;
    }
    Ok(config)
}
