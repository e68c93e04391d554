//! The process of a container: program, arguments and environment, from its plan and its pod's place.
//!
//! Invariant: what the home tells a process about its pod wins over what the pod's author says.

use super::directories::Directories;
use super::plan::{ContainerPlan, Program, Value};
use crate::process::Launch;
use crate::{Config, PodIdentity};
use kruntimes_api::names;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The role that talks to the API.
const RUNTIMED: &str = "runtimed";

/// Where a pod lives on this machine.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) address: Ipv4Addr,
    pub(super) directories: Directories,
}

/// The process of `container`.
pub(super) fn launch(
    config: &Config,
    pod: &PodIdentity,
    place: &Place,
    container: &ContainerPlan,
) -> Launch {
    let (program, args) = match &container.run {
        Program::Command { program, args } => (PathBuf::from(program), args.clone()),
        Program::Role { role, args } => {
            let words = ["serve", role].map(str::to_owned);
            (config.program.clone(), words.into_iter().chain(args.iter().cloned()).collect())
        }
    };
    let mut environment = vec![("PATH".to_owned(), config.search_path.clone())];
    if is_runtimed(container) {
        environment.extend(config.runtimed_settings.iter().cloned());
        if opens_bucket_by_environment(&args) {
            environment.extend(config.bucket_settings.iter().cloned());
        }
    }
    environment.extend(container.environment.iter().map(|(name, value)| {
        let value = match value {
            Value::Text(text) => text.clone(),
            Value::PodAddress => place.address.to_string(),
        };
        (name.clone(), value)
    }));
    environment.extend(own(config, pod, place, container));
    Launch { program, args, environment, directory: place.directories.workspace() }
}

/// Nobody else is given credentials of this machine.
fn opens_bucket_by_environment(args: &[String]) -> bool {
    let has = |flag: &str| args.iter().any(|arg| arg.starts_with(flag));
    has("--artifact-store-driver=s3") && !has("--artifact-s3-credentials-secret-name=")
}

fn is_runtimed(container: &ContainerPlan) -> bool {
    matches!(container.run, Program::Role { role: RUNTIMED, .. })
}

fn own(
    config: &Config,
    pod: &PodIdentity,
    place: &Place,
    container: &ContainerPlan,
) -> Vec<(String, String)> {
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    let mut own = vec![
        ("HOSTNAME", pod.name.clone()),
        ("POD_NAMESPACE", pod.namespace.clone()),
        ("POD_UID", pod.uid.clone()),
        ("KRUNTIMES_LOOPBACK", place.address.to_string()),
        ("KRUNTIMES_WORKSPACE", path(place.directories.workspace())),
        ("KRUNTIMES_CONTROL", path(place.directories.control())),
        ("KRUNTIMES_HOME", path(config.data_dir.clone())),
        (kruntimes_daemon::lifeline::VARIABLE, "stdin".to_owned()),
        ("KRUNTIMES_LOG", config.log_filter.clone()),
    ];
    if is_runtimed(container) {
        // A pod of this home ends with its machine, and its journal with it: no fdatasync is needed.
        own.push(("KRUNTIMES_JOURNAL", "process".to_owned()));
        own.push(("KUBECONFIG", path(place.directories.kubeconfig())));
        own.push(("KRUNTIMES_STATE", path(place.directories.state())));
        own.push(("KRUNTIMES_SOURCES", path(place.directories.sources())));
        if let Some(claim) = &container.artifact_claim {
            let volume = names::local_volume(&config.data_dir, &pod.namespace, claim);
            own.push(("KRUNTIMES_ARTIFACT_STORE_ROOT", path(volume)));
        }
    }
    own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::path::Path;

    fn launch_of(run: Program, environment: Vec<(String, Value)>) -> Launch {
        let config = Config {
            data_dir: PathBuf::from("/data"),
            program: PathBuf::from("/bin/krt"),
            api_url: "https://127.0.0.1:6443".to_owned(),
            ca_pem: String::new(),
            log_filter: "info".to_owned(),
            search_path: "/bin".to_owned(),
            runtimed_settings: vec![("SETTING".to_owned(), "home".to_owned())],
            bucket_settings: vec![("AWS_REGION".to_owned(), "eu-1".to_owned())],
        };
        let pod = PodIdentity {
            namespace: "default".to_owned(),
            name: "p".to_owned(),
            uid: "u".to_owned(),
            service_account: "default".to_owned(),
        };
        let place = Place {
            address: Ipv4Addr::new(127, 16, 0, 1),
            directories: Directories::of(Path::new("/data"), "u").unwrap(),
        };
        let container = ContainerPlan {
            name: "c".to_owned(),
            run,
            environment,
            readiness: None,
            liveness: None,
            pre_stop: None,
            ports: Vec::new(),
            artifact_claim: Some("pvc".to_owned()),
        };
        launch(&config, &pod, &place, &container)
    }

    #[test]
    fn only_runtimed_gets_a_kubeconfig_the_homes_settings_and_the_place_of_secrets() {
        for (role, want) in [("runtimed", true), ("runtime-bash", false)] {
            let launch =
                launch_of(Program::Role { role, args: vec!["--port=9091".to_owned()] }, Vec::new());
            assert_eq!(launch.args, ["serve", role, "--port=9091"]);
            const ROOT: &str = "KRUNTIMES_ARTIFACT_STORE_ROOT";
            let root = launch.environment.iter().find(|(name, _)| name == ROOT);
            assert!(root.is_none_or(|(_, path)| path == "/data/volumes/default/pvc"), "{root:?}");
            for variable in ["KUBECONFIG", "SETTING", "KRUNTIMES_SOURCES", "KRUNTIMES_STATE", ROOT]
            {
                let has = launch.environment.iter().any(|(name, _)| name == variable);
                assert_eq!(has, want, "{role} {variable}");
            }
        }
    }

    #[test]
    fn only_a_runtimed_whose_bucket_has_no_secret_gets_credentials_of_the_home() {
        const BUCKET: &str = "--artifact-store-driver=s3";
        const SECRET: &str = "--artifact-s3-credentials-secret-name=s";
        for (role, args, want) in [
            ("runtimed", vec![BUCKET], true),
            ("runtimed", vec![BUCKET, SECRET], false),
            ("runtimed", vec!["--artifact-store-driver=filesystem"], false),
            ("runtime-bash", vec![BUCKET], false),
        ] {
            let args = args.into_iter().map(str::to_owned).collect();
            let launch = launch_of(Program::Role { role, args }, Vec::new());
            let has = launch.environment.iter().any(|(name, _)| name == "AWS_REGION");
            assert_eq!(has, want, "{role} {:?}", launch.args);
        }
    }

    #[test]
    fn the_home_has_the_last_word() {
        let text = |text: &str| Value::Text(text.to_owned());
        let variables = [
            ("PATH", text("/opt")),
            ("KRUNTIMES_LIFELINE", text("none")),
            ("POD_IP", Value::PodAddress),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let command = Program::Command { program: "x".to_owned(), args: Vec::new() };
        let environment: BTreeMap<_, _> =
            launch_of(command, variables).environment.into_iter().collect();
        assert_eq!(environment["PATH"], "/opt");
        assert_eq!(environment["KRUNTIMES_LIFELINE"], "stdin");
        assert_eq!(environment["POD_IP"], "127.16.0.1");
    }
}
