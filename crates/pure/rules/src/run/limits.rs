//! What a Run may use at most: its own limits, else those of its Runtime.

use crate::capacity;
use kruntimes_api::RunLimits;

/// Limits as numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Processes at once.
    pub processes: Option<u64>,
    /// Bytes on disk.
    pub disk: Option<u64>,
}

impl Limits {
    /// As an object says them. What is no amount is none: the schema has refused it.
    #[must_use]
    pub fn of(limits: &RunLimits) -> Self {
        let bytes =
            |name, quantity: &Option<k8s_openapi::apimachinery::pkg::api::resource::Quantity>| {
                let quantity = quantity.as_ref()?;
                capacity::amount("limits", name, &quantity.0).ok()
            };
        Self {
            memory: bytes("memory", &limits.memory),
            processes: limits.processes.and_then(|count| u64::try_from(count).ok()),
            disk: bytes("disk", &limits.disk),
        }
    }

    /// These, each filled in from `others` where there is none.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            memory: self.memory.or(others.memory),
            processes: self.processes.or(others.processes),
            disk: self.disk.or(others.disk),
        }
    }

    /// Those that there are, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = [("memory", self.memory), ("processes", self.processes), ("disk", self.disk)];
        all.into_iter().filter_map(|(name, limit)| limit.map(|limit| (name, limit)))
    }

    /// With the limit of this name; nothing for a name that there is not.
    #[must_use]
    pub fn with(mut self, name: &str, limit: u64) -> Option<Self> {
        let place = match name {
            "memory" => &mut self.memory,
            "processes" => &mut self.processes,
            "disk" => &mut self.disk,
            _ => return None,
        };
        *place = Some(limit);
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_runs_own_limits_stand_above_its_runtimes() {
        let of = |limits| Limits::of(&serde_json::from_value(limits).unwrap());
        let own = of(json!({"memory": "512Mi", "processes": 7}));
        let default = of(json!({"memory": 1, "disk": "1Gi"}));
        let both = own.or(default);
        let shown: Vec<_> = both.iter().collect();
        assert_eq!(shown, [("memory", 512 << 20), ("processes", 7), ("disk", 1 << 30)]);
        let again =
            shown.iter().try_fold(Limits::default(), |all, (name, limit)| all.with(name, *limit));
        assert_eq!(again, Some(both));
        assert_eq!(Limits::default().with("cpu", 1), None);
    }
}
