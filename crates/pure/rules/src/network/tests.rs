//! The meaning of policies by tables, and twelve named connections of a Runtime's pod.

#![expect(clippy::needless_pass_by_value, reason = "a table's values are used once")]

use super::*;
use crate::pool::{Kind, Settings, objects, validate};
use serde_json::{Value, json};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn pod(address: &str, namespace: &str, own: &[(&str, &str)]) -> End {
    let facts = PodFacts {
        namespace: namespace.to_owned(),
        namespace_labels: labels(&[("name", namespace)]),
        labels: labels(own),
        ports: vec![("web".to_owned(), "TCP".to_owned(), 8080)],
    };
    End::Pod(address.parse().unwrap(), facts)
}

fn other(address: &str) -> End {
    End::Other(address.parse().unwrap())
}

fn policy(spec: Value) -> NetworkPolicy {
    serde_json::from_value(json!({"metadata": {"name": "n", "namespace": "a"}, "spec": spec}))
        .unwrap()
}

/// From a pod labelled `x=1` of namespace `a` to `to`, under a policy of egress with this rule.
fn egress(rule: Value, to: End, port: u16, protocol: Protocol) -> bool {
    let spec = json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [rule]});
    let from = pod("10.0.0.1", "a", &[("x", "1")]);
    judge(&[policy(spec)], &Connection { from, to, port, protocol }) == Answer::Allowed
}

#[test]
fn peers_are_blocks_or_pods_of_namespaces() {
    let y = || pod("10.0.0.2", "a", &[("y", "1")]);
    let far = || pod("10.0.0.3", "b", &[("y", "1")]);
    let by_name = json!({"matchLabels": {"name": "b"}});
    let by_y = json!({"matchLabels": {"y": "1"}});
    for (peer, to, want) in [
        (json!({"ipBlock": {"cidr": "10.0.0.0/8"}}), y(), true),
        (json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.2/32"]}}), y(), false),
        (json!({"ipBlock": {"cidr": "0.0.0.0/0"}}), other("2001:db8::1"), false),
        (
            json!({"ipBlock": {"cidr": "::/0", "except": ["2001:db8::/32"]}}),
            other("2001:db8::1"),
            false,
        ),
        (
            json!({"ipBlock": {"cidr": "::/0", "except": ["2001:db8::/32"]}}),
            other("2001:db9::1"),
            true,
        ),
        (json!({"podSelector": by_y}), y(), true),
        (json!({"podSelector": by_y}), far(), false),
        (json!({"podSelector": {}}), y(), true),
        (json!({"podSelector": {}}), other("10.0.0.2"), false),
        (json!({"namespaceSelector": by_name}), far(), true),
        (json!({"namespaceSelector": by_name}), y(), false),
        (json!({"namespaceSelector": {}}), far(), true),
        (json!({"namespaceSelector": by_name, "podSelector": by_y}), far(), true),
        (
            json!({"namespaceSelector": by_name, "podSelector": {"matchLabels": {"z": "1"}}}),
            far(),
            false,
        ),
        (
            json!({"podSelector": {"matchExpressions": [{"key": "y", "operator": "In", "values": ["1", "2"]}]}}),
            y(),
            true,
        ),
        (
            json!({"podSelector": {"matchExpressions": [{"key": "y", "operator": "NotIn", "values": ["1"]}]}}),
            y(),
            false,
        ),
        (
            json!({"podSelector": {"matchExpressions": [{"key": "z", "operator": "NotIn", "values": ["1"]}]}}),
            y(),
            true,
        ),
        (
            json!({"podSelector": {"matchExpressions": [{"key": "y", "operator": "Exists"}]}}),
            y(),
            true,
        ),
        (
            json!({"podSelector": {"matchExpressions": [{"key": "y", "operator": "DoesNotExist"}]}}),
            y(),
            false,
        ),
    ] {
        assert_eq!(egress(json!({"to": [peer]}), to, 80, Protocol::Tcp), want, "{peer}");
    }
}

#[test]
fn ports_are_numbers_ranges_or_names() {
    for (port, asked, protocol, want) in [
        (json!({}), 80, Protocol::Tcp, true),
        (json!({}), 80, Protocol::Udp, false),
        (json!({"protocol": "UDP"}), 53, Protocol::Udp, true),
        (json!({"port": 80}), 80, Protocol::Tcp, true),
        (json!({"port": 80}), 81, Protocol::Tcp, false),
        (json!({"port": 80, "endPort": 90}), 90, Protocol::Tcp, true),
        (json!({"port": 80, "endPort": 90}), 91, Protocol::Tcp, false),
        (json!({"port": 80, "endPort": 90}), 79, Protocol::Tcp, false),
        (json!({"port": "web"}), 8080, Protocol::Tcp, true),
        (json!({"port": "web"}), 8081, Protocol::Tcp, false),
        (json!({"port": "web", "protocol": "UDP"}), 8080, Protocol::Udp, false),
        (json!({"port": "none"}), 8080, Protocol::Tcp, false),
    ] {
        let to = pod("10.0.0.2", "a", &[]);
        assert_eq!(egress(json!({"ports": [port]}), to, asked, protocol), want, "{port} {asked}");
    }
}

#[test]
fn types_say_which_direction_is_closed() {
    let x = || pod("10.0.0.1", "a", &[("x", "1")]);
    let y = || pod("10.0.0.2", "a", &[("y", "1")]);
    let ask = |spec: Value, from: End, to: End| {
        judge(&[policy(spec)], &Connection { from, to, port: 80, protocol: Protocol::Tcp })
    };
    let of_x = |more: Value| {
        let mut spec = json!({"podSelector": {"matchLabels": {"x": "1"}}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    use Answer::{Allowed, DeniedByEgress, DeniedByIngress};
    for (more, to_x, from_x) in [
        (json!({}), DeniedByIngress, Allowed),
        (json!({"ingress": [{}]}), Allowed, Allowed),
        (
            json!({"egress": [{"to": [{"ipBlock": {"cidr": "1.0.0.0/8"}}]}]}),
            DeniedByIngress,
            DeniedByEgress,
        ),
        (json!({"policyTypes": ["Egress"]}), Allowed, DeniedByEgress),
        (json!({"policyTypes": ["Egress"], "egress": [{}]}), Allowed, Allowed),
        (json!({"policyTypes": ["Ingress", "Egress"]}), DeniedByIngress, DeniedByEgress),
    ] {
        assert_eq!(ask(of_x(more.clone()), y(), x()), to_x, "{more}");
        assert_eq!(ask(of_x(more.clone()), x(), y()), from_x, "{more}");
        let node = End::Node("10.9.0.1".parse().unwrap());
        assert_eq!(ask(of_x(more.clone()), node, x()), Allowed, "a node reaches its pods");
        assert_eq!(ask(of_x(more), x(), x()), Allowed, "a pod reaches itself");
    }
    let elsewhere = pod("10.0.0.1", "b", &[("x", "1")]);
    assert_eq!(ask(of_x(json!({})), y(), elsewhere), Allowed, "a policy is of its namespace");
}

/// The policy of Runtime `bash` in namespace `a`, as the controller makes it.
fn of_runtime(egress: Option<Value>) -> NetworkPolicy {
    let mut spec =
        json!({"template": {"spec": {"containers": [{"name": "runtime", "image": "r"}]}}});
    if let Some(egress) = egress {
        spec["egress"] = egress;
    }
    let runtime = json!({"metadata": {"name": "bash", "namespace": "a", "uid": "u"}, "spec": spec});
    let settings = Settings {
        daemon_image: "i".to_owned(),
        api_server: [("10.96.0.1".parse().unwrap(), 443), ("10.99.0.1".parse().unwrap(), 6443)]
            .into(),
        fence_after: std::time::Duration::from_secs(30),
        cluster: None,
    };
    let pool = validate(&serde_json::from_value(runtime).unwrap(), &settings).unwrap();
    let objects = objects(&pool).unwrap();
    let policy = objects.iter().find(|it| it.kind == Kind::NetworkPolicy).unwrap();
    serde_json::from_value(policy.object.clone()).unwrap()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn twelve_connections_of_a_runtimes_pod() {
    let own = [("runtime", "bash"), ("app", "kruntimes-bash")];
    let bash = || pod("10.0.0.1", "a", &own);
    let twin = || pod("10.0.0.2", "a", &own);
    let dns = || pod("10.0.0.53", "kube-system", &[("k8s-app", "kube-dns")]);
    let node = || End::Node("10.9.0.1".parse().unwrap());
    let closed = || of_runtime(Some(json!([])));
    let partly =
        || of_runtime(Some(json!([{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}])));
    use Answer::{Allowed, DeniedByEgress, DeniedByIngress};
    use Protocol::{Tcp, Udp};
    for (name, from, to, port, protocol, wanted, when_closed, when_partly) in [
        (
            "the Runtime Server of a twin",
            bash(),
            twin(),
            9091,
            Tcp,
            DeniedByIngress,
            DeniedByEgress,
            DeniedByEgress,
        ),
        (
            "runtimed of a twin",
            twin(),
            bash(),
            9093,
            Tcp,
            DeniedByIngress,
            DeniedByEgress,
            DeniedByEgress,
        ),
        (
            "health of a Runtime's pod",
            other("10.0.0.9"),
            bash(),
            9094,
            Tcp,
            DeniedByIngress,
            DeniedByIngress,
            DeniedByIngress,
        ),
        (
            "metrics from another namespace",
            dns(),
            bash(),
            9090,
            Tcp,
            DeniedByIngress,
            DeniedByIngress,
            DeniedByIngress,
        ),
        ("the kubelet's probe", node(), bash(), 9094, Tcp, Allowed, Allowed, Allowed),
        (
            "metadata of a machine",
            bash(),
            other("169.254.169.254"),
            80,
            Tcp,
            DeniedByEgress,
            DeniedByEgress,
            DeniedByEgress,
        ),
        (
            "metadata of a container",
            bash(),
            other("169.254.170.2"),
            80,
            Tcp,
            DeniedByEgress,
            DeniedByEgress,
            DeniedByEgress,
        ),
        (
            "metadata with IPv6",
            bash(),
            other("fd00:ec2::254"),
            80,
            Tcp,
            DeniedByEgress,
            DeniedByEgress,
            DeniedByEgress,
        ),
        ("the API server", bash(), other("10.96.0.1"), 443, Tcp, Allowed, Allowed, Allowed),
        ("DNS", bash(), dns(), 53, Udp, Allowed, Allowed, Allowed),
        (
            "the internet",
            bash(),
            other("93.184.216.34"),
            443,
            Tcp,
            Allowed,
            DeniedByEgress,
            Allowed,
        ),
        (
            "a database of the cluster",
            bash(),
            pod("10.0.0.7", "db", &[]),
            5432,
            Tcp,
            Allowed,
            DeniedByEgress,
            DeniedByEgress,
        ),
    ] {
        let connection = Connection { from, to, port, protocol };
        for (policy, want) in
            [(of_runtime(None), wanted), (closed(), when_closed), (partly(), when_partly)]
        {
            assert_eq!(judge(&[policy], &connection), want, "{name}");
        }
    }
}

#[test]
fn all_metadata_addresses_are_closed_whatever_the_runtime_asks_for() {
    let from = pod("10.0.0.1", "a", &[("runtime", "bash"), ("app", "kruntimes-bash")]);
    for egress in [
        None,
        Some(json!([{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}])),
        Some(json!([{"ipBlock": {"cidr": "169.254.0.0/16"}}, {"ipBlock": {"cidr": "fd00::/8"}}])),
    ] {
        let policy = of_runtime(egress);
        for address in crate::pool::METADATA_V4.iter().chain(&crate::pool::METADATA_V6) {
            let to = other(address.split('/').next().unwrap());
            let connection =
                Connection { from: from.clone(), to, port: 80, protocol: Protocol::Tcp };
            assert_eq!(
                judge(std::slice::from_ref(&policy), &connection),
                Answer::DeniedByEgress,
                "{address}"
            );
        }
    }
}

#[test]
fn labels_are_selected_by_all_four_operators_and_by_no_other() {
    let own = labels(&[("tier", "web")]);
    let selects = |operator: &str, key: &str, values: &[&str]| {
        let expression = json!({"key": key, "operator": operator, "values": values});
        let selector = serde_json::from_value(json!({"matchExpressions": [expression]})).unwrap();
        select::matches(Some(&selector), &own)
    };
    for (operator, key, values, selected) in [
        ("In", "tier", &["db", "web"][..], true),
        ("In", "tier", &["db"], false),
        ("In", "other", &["web"], false),
        ("NotIn", "tier", &["db"], true),
        ("NotIn", "tier", &["web"], false),
        ("NotIn", "other", &["web"], true),
        ("Exists", "tier", &[], true),
        ("Exists", "other", &[], false),
        ("DoesNotExist", "tier", &[], false),
        ("DoesNotExist", "other", &[], true),
        ("Gt", "tier", &["web"], false),
    ] {
        assert_eq!(selects(operator, key, values), selected, "{operator} {key} {values:?}");
    }
    assert!(select::matches(None, &own), "no selector selects all");
}
