//! Kubeconfigs: which one a command uses, and what is wrong with it in words of its user.

use crate::cli::Connection;
use crate::failure::{Failure, chain, without_number};
use kube::Config;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig, KubeconfigError};
use std::path::{Path, PathBuf};

/// A kubeconfig and where it is from.
#[derive(Debug)]
pub(crate) struct Chosen {
    kubeconfig: Kubeconfig,
    /// For messages: a path, or several.
    pub(crate) place: String,
}

/// The kubeconfig that the flags, `$KUBECONFIG` or the home directory name. One without any cluster counts as none,
/// unless a flag speaks of it.
pub(crate) fn chosen(flags: &Connection) -> Result<Option<Chosen>, Failure> {
    let Some(chosen) = read(flags)? else {
        return match (&flags.context, &flags.server) {
            (Some(context), _) => Err(Failure::new(format!(
                "there is no context {context:?}: there is no kubeconfig"
            ))),
            // A local home is no server's: its token must not go elsewhere.
            (None, Some(server)) => Ok(Some(Chosen::of_server(server))),
            (None, None) => Ok(None),
        };
    };
    let named = flags.kubeconfig.is_some() || flags.context.is_some() || flags.cluster.is_some();
    let kubeconfig = &chosen.kubeconfig;
    let is_empty = kubeconfig.current_context.as_deref().is_none_or(str::is_empty)
        && kubeconfig.clusters.is_empty();
    match &flags.server {
        Some(server) if is_empty && !named => Ok(Some(Chosen::of_server(server))),
        Some(_) | None => Ok((!is_empty || named).then_some(chosen)),
    }
}

fn read(flags: &Connection) -> Result<Option<Chosen>, Failure> {
    let place = |path: &Path| path.display().to_string();
    if let Some(path) = &flags.kubeconfig {
        return read_file(path).map(Some);
    }
    if let Some(list) = std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty()) {
        let paths: Vec<PathBuf> =
            std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect();
        let places = paths.iter().map(|path| place(path)).collect::<Vec<_>>().join(", ");
        return match Kubeconfig::from_env() {
            Ok(found) => Ok(found.map(|kubeconfig| Chosen { kubeconfig, place: places })),
            Err(error) => Err(unreadable(&error, &places)),
        };
    }
    match std::env::home_dir().map(|home| home.join(".kube").join("config")) {
        Some(path) if path.exists() => read_file(&path).map(Some),
        Some(_) | None => Ok(None),
    }
}

fn read_file(path: &Path) -> Result<Chosen, Failure> {
    let place = path.display().to_string();
    match Kubeconfig::read_from(path) {
        Ok(kubeconfig) => Ok(Chosen { kubeconfig, place }),
        Err(error) => Err(unreadable(&error, &place)),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "kube may add errors: they read like the rest")]
fn unreadable(error: &KubeconfigError, place: &str) -> Failure {
    Failure::new(match error {
        KubeconfigError::ReadConfig(why, path) => {
            let why = without_number(&why.to_string());
            format!("can't read the kubeconfig {}: {why}", path.display())
        }
        KubeconfigError::Parse(why) => {
            let why = why.to_string();
            let first = why.lines().next().unwrap_or_default();
            let first = first.strip_prefix("error: ").unwrap_or(first);
            format!("the kubeconfig {place} is not one: {first}")
        }
        other => format!("the kubeconfig {place} can't be used: {}", chain(other)),
    })
}

/// The settings of a kubeconfig's current context.
pub(crate) async fn config_of_file(path: &Path) -> Result<Config, Failure> {
    read_file(path)?.config(&Connection::default()).await
}

impl Chosen {
    /// For `--server` alone.
    fn of_server(server: &http::Uri) -> Self {
        let value = serde_json::json!({
            "clusters": [{"name": "server", "cluster": {"server": server.to_string()}}],
            "users": [{"name": "user", "user": {}}],
            "contexts": [{"name": "server", "context": {"cluster": "server", "user": "user"}}],
            "current-context": "server",
        });
        let kubeconfig = serde_json::from_value(value).unwrap_or_default();
        Self { kubeconfig, place: "--server".to_owned() }
    }

    /// The settings that the flags choose.
    pub(crate) async fn config(self, flags: &Connection) -> Result<Config, Failure> {
        self.check(flags)?;
        let options = KubeConfigOptions {
            context: flags.context.clone(),
            cluster: flags.cluster.clone(),
            user: flags.user.clone(),
        };
        let mut config = Config::from_custom_kubeconfig(self.kubeconfig, &options)
            .await
            .map_err(|error| unreadable(&error, &self.place))?;
        if let Some(server) = &flags.server {
            config.cluster_url = server.clone();
        }
        if let Some(token) = &flags.token {
            let token = serde_json::json!({"token": token});
            config.auth_info = serde_json::from_value::<AuthInfo>(token)
                .map_err(|error| Failure::usage(format!("--token: {error}")))?;
        }
        Ok(config)
    }

    /// Everything that is named exists.
    fn check(&self, flags: &Connection) -> Result<(), Failure> {
        let Kubeconfig { contexts, clusters, auth_infos, current_context, .. } = &self.kubeconfig;
        let contexts: Vec<&str> = contexts.iter().map(|context| context.name.as_str()).collect();
        let clusters: Vec<&str> = clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        let users: Vec<&str> = auth_infos.iter().map(|user| user.name.as_str()).collect();
        let current = current_context.as_deref().filter(|name| !name.is_empty());
        match (&flags.context, current) {
            (Some(context), _) => self.has("context", context, &contexts)?,
            (None, Some(context)) => self.has("current context", context, &contexts)?,
            (None, None) => {
                return Err(Failure::new(format!(
                    "the kubeconfig {} names no current context: choose one with --context: {}",
                    self.place,
                    listed(&contexts)
                )));
            }
        }
        if let Some(cluster) = &flags.cluster {
            self.has("cluster", cluster, &clusters)?;
        }
        match &flags.user {
            Some(user) => self.has("user", user, &users),
            None => Ok(()),
        }
    }

    fn has(&self, kind: &str, name: &str, names: &[&str]) -> Result<(), Failure> {
        if names.contains(&name) {
            return Ok(());
        }
        Err(Failure::new(format!(
            "there is no {kind} {name:?} in the kubeconfig {}: it has {}",
            self.place,
            listed(names)
        )))
    }
}

fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 8;
    match names {
        [] => "none".to_owned(),
        names if names.len() > SHOWN => {
            format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN)
        }
        names => names.join(", "),
    }
}
