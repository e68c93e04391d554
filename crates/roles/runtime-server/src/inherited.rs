//! What Runs get of their container's environment, which is how the owner of a pool configures it.
//!
//! Nothing of Kubernetes and nothing that is the server's own is passed on.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// What a local home gives to every process of a pod.
const OF_HOME: [&str; 3] = ["PATH", "POD_NAMESPACE", "POD_UID"];

/// Of the variables of the container those that its Runs get: all but `KUBERNETES_*`, the links to Services
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>), `KRUNTIMES_*` and what a shell
/// keeps for itself. In a local home `PATH` says where the server looks for its programs, and is left out too.
#[must_use]
pub fn inherited(
    container: impl IntoIterator<Item = (OsString, OsString)>,
) -> BTreeMap<String, String> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let mut all: BTreeMap<String, String> = container.into_iter().filter_map(text).collect();
    let services = all.keys().filter_map(|name| name.strip_suffix("_SERVICE_HOST"));
    let services: Vec<String> = services.map(str::to_owned).collect();
    if all.contains_key("KRUNTIMES_HOME") {
        all.retain(|name, _| !OF_HOME.contains(&name.as_str()));
    }
    all.retain(|name, _| !is_own(name) && !services.iter().any(|service| is_link(name, service)));
    all
}

fn is_own(name: &str) -> bool {
    ["KRUNTIMES_", "KUBERNETES_"].iter().any(|prefix| name.starts_with(prefix))
        || ["RUST_LOG", "RUST_BACKTRACE", "PWD", "OLDPWD", "SHLVL", "_"].contains(&name)
}

fn is_link(name: &str, service: &str) -> bool {
    let Some(rest) = name.strip_prefix(service) else { return false };
    ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"].contains(&rest)
        || ["_SERVICE_PORT_", "_PORT_"].iter().any(|prefix| rest.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn names(container: &[&str]) -> Vec<String> {
        let pairs = container.iter().map(|name| (OsString::from(name), OsString::from("x")));
        inherited(pairs).into_keys().collect()
    }

    #[test]
    fn what_the_owner_set_is_passed_on() {
        let set = ["A", "HTTPS_PROXY", "LANG", "PATH", "REDIS_PORT", "SERVICE_HOST_X"];
        assert_eq!(names(&set), set, "REDIS_PORT is no link where there is no Service redis");
    }

    #[test]
    fn kubernetes_services_and_the_servers_own_are_not() {
        let links = [
            "MY_DB_SERVICE_HOST",
            "MY_DB_SERVICE_PORT",
            "MY_DB_SERVICE_PORT_SQL",
            "MY_DB_PORT",
            "MY_DB_PORT_5432_TCP",
            "MY_DB_PORT_5432_TCP_ADDR",
        ];
        assert_eq!(names(&links), Vec::<String>::new());
        let own = ["KUBERNETES_PORT", "KRUNTIMES_CONTROL", "RUST_LOG", "PWD", "SHLVL", "_"];
        assert_eq!(names(&own), Vec::<String>::new());
        assert_eq!(
            names(&["MY_DB_SERVICE_HOST", "MY_DB_USER", "MY_DBA_PORT"]),
            ["MY_DBA_PORT", "MY_DB_USER"]
        );
        assert_eq!(names(&["KRUNTIMES_HOME", "PATH", "POD_UID", "A"]), ["A"]);
    }

    #[test]
    fn what_is_no_text_is_left_out() {
        let bad = || OsString::from_vec(vec![0xff]);
        let pairs = [(bad(), "x".into()), ("B".into(), bad()), ("C".into(), "é".into())];
        assert_eq!(inherited(pairs), BTreeMap::from([("C".to_owned(), "é".to_owned())]));
    }
}
