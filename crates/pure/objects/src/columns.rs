//! The columns of the built-in kinds, and ages as kubectl writes them.
use serde_json::{Value, json};

use crate::json;
use crate::jsonpath::JsonPath;
use crate::resource::{Cell, CellFn, Column};

/// `metadata.creationTimestamp` as an age.
pub fn age() -> Column {
    function("Age", "date", |object, now| {
        ago(json::text(object, &["metadata", "creationTimestamp"]), now)
    })
}

/// The columns after Name of a built-in resource.
pub fn builtin(id: &str) -> Vec<Column> {
    let mut columns = match id {
        "namespaces" => vec![path("Status", ".status.phase")],
        "pods" => vec![
            function("Ready", "string", pod_ready),
            function("Status", "string", pod_status),
            function("Restarts", "string", pod_restarts),
        ],
        "configmaps" => vec![function("Data", "integer", data)],
        "secrets" => vec![path("Type", ".type"), function("Data", "integer", data)],
        "services" => vec![
            path("Type", ".spec.type"),
            function("Cluster-IP", "string", |o, _| or_none(json::text(o, &["spec", "clusterIP"]))),
            function("External-IP", "string", |_, _| json!("<none>")),
            function("Port(s)", "string", ports),
        ],
        "events" => return events(),
        "persistentvolumeclaims" => {
            vec![path("Status", ".status.phase"), path("Volume", ".spec.volumeName")]
        }
        "leases.coordination.k8s.io" => vec![path("Holder", ".spec.holderIdentity")],
        "deployments.apps" => deployment(),
        "replicasets.apps" => replica_set(),
        "rolebindings.rbac.authorization.k8s.io" => vec![function("Role", "string", |o, _| {
            json!(format!(
                "{}/{}",
                json::text(o, &["roleRef", "kind"]),
                json::text(o, &["roleRef", "name"])
            ))
        })],
        "networkpolicies.networking.k8s.io" => {
            vec![function("Pod-Selector", "string", pod_selector)]
        }
        "customresourcedefinitions.apiextensions.k8s.io" => {
            return vec![function("Created At", "date", |o, _| {
                json!(json::text(o, &["metadata", "creationTimestamp"]))
            })];
        }
        _ => Vec::new(),
    };
    columns.push(age());
    if id == "pods" {
        columns.push(wide(function("IP", "string", |o, _| {
            or_none(json::text(o, &["status", "podIP"]))
        })));
        columns.push(wide(function("Node", "string", |o, _| {
            or_none(json::text(o, &["spec", "nodeName"]))
        })));
    }
    columns
}

fn deployment() -> Vec<Column> {
    let number = |name: &str, cell: CellFn| function(name, "string", cell);
    vec![
        number("Ready", |o, _| {
            let (ready, wanted) = (&["status", "readyReplicas"], &["spec", "replicas"]);
            json!(format!("{}/{}", count(o, ready), count(o, wanted)))
        }),
        number("Up-to-date", |o, _| json!(count(o, &["status", "updatedReplicas"]))),
        number("Available", |o, _| json!(count(o, &["status", "availableReplicas"]))),
    ]
}

fn replica_set() -> Vec<Column> {
    let number = |name: &str, cell: CellFn| function(name, "integer", cell);
    vec![
        number("Desired", |o, _| json!(count(o, &["spec", "replicas"]))),
        number("Current", |o, _| json!(count(o, &["status", "replicas"]))),
        number("Ready", |o, _| json!(count(o, &["status", "readyReplicas"]))),
    ]
}

fn events() -> Vec<Column> {
    vec![
        function("Last Seen", "string", |o, now| {
            let last = json::text(o, &["lastTimestamp"]);
            let time = if last.is_empty() { json::text(o, &["eventTime"]) } else { last };
            ago(time, now)
        }),
        path("Type", ".type"),
        path("Reason", ".reason"),
        function("Object", "string", |o, _| {
            let kind = json::text(o, &["involvedObject", "kind"]).to_lowercase();
            json!(format!("{kind}/{}", json::text(o, &["involvedObject", "name"])))
        }),
        function("Message", "string", |o, _| json!(json::text(o, &["message"]).trim())),
    ]
}

fn column(name: &str, kind: &str, cell: Cell) -> Column {
    Column {
        name: name.to_owned(),
        kind: kind.to_owned(),
        format: String::new(),
        description: String::new(),
        priority: 0,
        cell,
    }
}

fn function(name: &str, kind: &str, cell: CellFn) -> Column {
    column(name, kind, Cell::Function(cell))
}

fn path(name: &str, source: &str) -> Column {
    let path = JsonPath::parse(source).expect("built-in paths are well-formed");
    column(name, "string", Cell::Path(path))
}

fn wide(column: Column) -> Column {
    Column { priority: 1, ..column }
}

fn or_none(text: &str) -> Value {
    json!(if text.is_empty() { "<none>" } else { text })
}

fn count(object: &Value, path: &[&str]) -> i64 {
    json::at(object, path).and_then(Value::as_i64).unwrap_or(0)
}

fn list<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    json::at(object, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn data(object: &Value, _: i64) -> Value {
    let len = |key| object.get(key).and_then(Value::as_object).map_or(0, serde_json::Map::len);
    json!(len("data") + len("binaryData"))
}

fn ports(object: &Value, _: i64) -> Value {
    let ports: Vec<String> = list(object, &["spec", "ports"])
        .iter()
        .map(|p| {
            let protocol = json::text(p, &["protocol"]);
            let protocol = if protocol.is_empty() { "TCP" } else { protocol };
            format!("{}/{protocol}", count(p, &["port"]))
        })
        .collect();
    or_none(&ports.join(","))
}

fn pod_selector(object: &Value, _: i64) -> Value {
    let labels =
        json::at(object, &["spec", "podSelector", "matchLabels"]).and_then(Value::as_object);
    let pairs: Vec<String> = labels
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    or_none(&pairs.join(","))
}

fn pod_ready(object: &Value, _: i64) -> Value {
    let all = list(object, &["spec", "containers"]).len();
    let ready = list(object, &["status", "containerStatuses"])
        .iter()
        .filter(|c| c.get("ready") == Some(&Value::Bool(true)))
        .count();
    json!(format!("{ready}/{all}"))
}

fn pod_restarts(object: &Value, _: i64) -> Value {
    let statuses = list(object, &["status", "containerStatuses"]);
    json!(statuses.iter().map(|c| count(c, &["restartCount"])).sum::<i64>().to_string())
}

fn pod_status(object: &Value, _: i64) -> Value {
    if json::at(object, &["metadata", "deletionTimestamp"]).is_some() {
        return json!("Terminating");
    }
    let mut status = json::text(object, &["status", "phase"]);
    let reason = json::text(object, &["status", "reason"]);
    if !reason.is_empty() {
        status = reason;
    }
    for container in list(object, &["status", "containerStatuses"]).iter().rev() {
        for state in ["waiting", "terminated"] {
            let reason = json::text(container, &["state", state, "reason"]);
            if !reason.is_empty() {
                status = reason;
            }
        }
    }
    json!(status)
}

/// How long ago an RFC 3339 time was, as text.
pub fn ago(time: &str, now: i64) -> Value {
    if time.is_empty() {
        return json!("<unknown>");
    }
    match time.parse::<jiff::Timestamp>() {
        Ok(time) => json!(human(now - time.as_second())),
        Err(_) => json!("<invalid>"),
    }
}

/// A duration as kubectl writes it.
fn human(seconds: i64) -> String {
    let pair = |big: i64, unit: char, small: i64, small_unit: char| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{small_unit}") }
    };
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1..=0 => "0s".to_owned(),
        _ if seconds < 120 => format!("{seconds}s"),
        _ if minutes < 10 => pair(minutes, 'm', seconds % 60, 's'),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => pair(hours, 'h', minutes % 60, 'm'),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 192 => pair(hours / 24, 'd', hours % 24, 'h'),
        _ if hours < 24 * 365 * 2 => format!("{}d", hours / 24),
        _ if hours < 24 * 365 * 8 => pair(hours / 8760, 'y', hours / 24 % 365, 'd'),
        _ => format!("{}y", hours / 8760),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_in_kubectl() {
        for (seconds, expected) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (5, "5s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (11_100, "3h5m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
        ] {
            assert_eq!(human(seconds), expected, "{seconds}");
        }
    }
}
