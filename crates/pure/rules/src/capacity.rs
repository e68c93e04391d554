//! Amounts of resources by name: what a pod has, what a Run asks for.
//!
//! `runs` is built in: a pod has [`limits::DEFAULT_CAPACITY_RUNS`] unless its Runtime says otherwise, a Run takes 1. A
//! resource that is not named counts as 0. Amounts are integers up to [`limits::RESOURCE_AMOUNT`]; with at most
//! [`limits::CAPACITY_RUNS`] Runs in a pod their sum fits into 64 bits.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kruntimes_api::{RunSpec, RuntimeSpec, Share, labels, limits};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

const REQUESTS: &str = "spec.resources.requests";
const CAPACITY: &str = "spec.capacity.resources";

/// How an amount is written, beside plain digits.
const SUFFIXES: [(&str, u64); 10] = [
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
];

/// Amounts by resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resources {
    runs: u64,
    /// All others that are above zero, by name.
    others: Vec<(Arc<str>, u64)>,
}

/// An amount that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}.{name}: {value:?} is not an integer from {least} to {most}")]
pub struct InvalidAmount {
    field: &'static str,
    name: String,
    value: String,
    least: u64,
    most: u64,
}

/// The first resource that is asked for beyond what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// Name of the resource.
    pub name: Arc<str>,
    /// Asked for.
    pub asked: u64,
    /// There is.
    pub has: u64,
}

impl Resources {
    /// What a Run takes that asks for nothing.
    #[must_use]
    pub fn one_run() -> Arc<Self> {
        static ONE: LazyLock<Arc<Resources>> = LazyLock::new(|| Arc::new(Resources::runs(1)));
        Arc::clone(&ONE)
    }

    /// So many Runs and nothing else.
    #[must_use]
    pub fn runs(runs: u32) -> Self {
        Self { runs: u64::from(runs), others: Vec::new() }
    }

    /// With so much of another resource.
    #[must_use]
    pub fn with(mut self, name: &str, amount: u64) -> Self {
        self.set(name, amount);
        self
    }

    /// What a Run asks for.
    ///
    /// # Errors
    /// The first amount that is no integer within the limits.
    pub fn requested(spec: &RunSpec) -> Result<Arc<Self>, InvalidAmount> {
        if let Share::Within(_) = spec.share() {
            // It has the slot of the Run that holds its workspace.
            return Ok(Arc::new(Self::runs(0)));
        }
        match spec.resources.as_ref().map(|resources| &resources.requests) {
            Some(requests) if !requests.is_empty() => read(REQUESTS, requests, 1).map(Arc::new),
            Some(_) | None => Ok(Self::one_run()),
        }
    }

    /// What one pod of a Runtime has.
    ///
    /// # Errors
    /// The first amount that is no integer within the limits.
    pub fn of_runtime(spec: &RuntimeSpec) -> Result<Self, InvalidAmount> {
        let none = BTreeMap::new();
        let named = spec.capacity.as_ref().map_or(&none, |capacity| &capacity.resources);
        read(CAPACITY, named, limits::DEFAULT_CAPACITY_RUNS)
    }

    /// What a pod has by its annotations. What can't be read there counts as not said.
    #[must_use]
    pub fn of_annotations(annotations: &BTreeMap<String, String>) -> Self {
        let mut found = Self::runs(limits::DEFAULT_CAPACITY_RUNS);
        let from = labels::CAPACITY_PREFIX.to_owned();
        for (key, value) in annotations.range(from..) {
            let Some(name) = key.strip_prefix(labels::CAPACITY_PREFIX) else { break };
            if let Ok(amount) = amount("", name, value) {
                found.set(name, amount);
            }
        }
        found
    }

    /// Every resource with its amount: `runs` first, the others by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        let others = self.others.iter().map(|(name, amount)| (&**name, *amount));
        std::iter::once((labels::RUNS_RESOURCE, self.runs)).chain(others)
    }

    /// The amount of one resource.
    #[must_use]
    pub fn amount(&self, name: &str) -> u64 {
        if name == labels::RUNS_RESOURCE { self.runs } else { self.other(name) }
    }

    /// The amount of `runs`.
    #[must_use]
    pub fn slots(&self) -> u64 {
        self.runs
    }

    /// Whether nothing but `runs` is named.
    #[must_use]
    pub fn is_only_runs(&self) -> bool {
        self.others.is_empty()
    }

    /// Whether there is all of `request`.
    #[must_use]
    pub fn holds(&self, request: &Self) -> bool {
        self.shortage(request).is_none()
    }

    /// Whether there is all of `request` beside `used`.
    #[must_use]
    pub fn holds_beside(&self, used: &Self, request: &Self) -> bool {
        let fits = |asked: u64, used: u64, has: u64| asked <= has.saturating_sub(used);
        fits(request.runs, used.runs, self.runs)
            && request
                .others
                .iter()
                .all(|(name, asked)| fits(*asked, used.other(name), self.other(name)))
    }

    /// The first resource of which there is less than `request` says.
    #[must_use]
    pub fn shortage(&self, request: &Self) -> Option<Shortage> {
        if self.runs < request.runs {
            let name = labels::RUNS_RESOURCE.into();
            return Some(Shortage { name, asked: request.runs, has: self.runs });
        }
        request.others.iter().find_map(|(name, asked)| {
            let has = self.other(name);
            (has < *asked).then(|| Shortage { name: Arc::clone(name), asked: *asked, has })
        })
    }

    /// Counts `taken` in.
    pub fn add(&mut self, taken: &Self) {
        self.runs = self.runs.saturating_add(taken.runs);
        for (name, amount) in &taken.others {
            match self.find(name) {
                Ok(at) => self.others[at].1 = self.others[at].1.saturating_add(*amount),
                Err(at) => self.others.insert(at, (Arc::clone(name), *amount)),
            }
        }
    }

    /// Counts `given` out again.
    pub fn subtract(&mut self, given: &Self) {
        self.runs = self.runs.saturating_sub(given.runs);
        for (name, amount) in &given.others {
            if let Ok(at) = self.find(name) {
                self.others[at].1 = self.others[at].1.saturating_sub(*amount);
                if self.others[at].1 == 0 {
                    self.others.remove(at);
                }
            }
        }
    }

    fn set(&mut self, name: &str, amount: u64) {
        if name == labels::RUNS_RESOURCE {
            self.runs = amount;
            return;
        }
        match (self.find(name), amount) {
            (Ok(at), 0) => drop(self.others.remove(at)),
            (Ok(at), _) => self.others[at].1 = amount,
            (Err(_), 0) => {}
            (Err(at), _) => self.others.insert(at, (name.into(), amount)),
        }
    }

    fn other(&self, name: &str) -> u64 {
        self.find(name).map_or(0, |at| self.others[at].1)
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.others.binary_search_by(|(known, _)| (**known).cmp(name))
    }
}

/// `runs=4, gpu=1`.
impl fmt::Display for Resources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, amount)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(formatter, "{comma}{name}={amount}")?;
        }
        Ok(())
    }
}

/// Reads one amount of the resource `name`, which stands in `field`: `4`, `8Gi`.
///
/// # Errors
/// When it is no integer within the limits of that resource.
pub fn amount(field: &'static str, name: &str, value: &str) -> Result<u64, InvalidAmount> {
    let (least, most) = if name == labels::RUNS_RESOURCE {
        (1, u64::from(limits::CAPACITY_RUNS))
    } else {
        (0, limits::RESOURCE_AMOUNT)
    };
    integer(value).filter(|amount| (least..=most).contains(amount)).ok_or_else(|| InvalidAmount {
        field,
        name: name.to_owned(),
        value: value.to_owned(),
        least,
        most,
    })
}

fn read(
    field: &'static str,
    named: &BTreeMap<String, Quantity>,
    runs: u32,
) -> Result<Resources, InvalidAmount> {
    let mut resources = Resources::runs(runs);
    for (name, quantity) in named {
        resources.set(name, amount(field, name, &quantity.0)?);
    }
    Ok(resources)
}

fn integer(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, suffix) = text.split_at(digits);
    let factor = match suffix {
        "" => 1,
        suffix => SUFFIXES.iter().find(|(known, _)| *known == suffix)?.1,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn requested(requests: &Value) -> Result<String, String> {
        let spec =
            serde_json::from_value(json!({"runtime": "bash", "resources": {"requests": requests}}));
        let resources = Resources::requested(&spec.unwrap());
        resources.map(|found| found.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn amounts_are_integers_within_their_limits() {
        let reads = |value: Value| requested(&json!({"gpu": value}));
        for (value, amount) in [
            (json!(1), "1"),
            (json!("1"), "1"),
            (json!("2k"), "2000"),
            (json!("2M"), "2000000"),
            (json!("2G"), "2000000000"),
            (json!("2T"), "2000000000000"),
            (json!("3Ki"), "3072"),
            (json!("3Mi"), "3145728"),
            (json!("8Gi"), "8589934592"),
            (json!("1Ti"), "1099511627776"),
            (json!(1_000_000_000_000_000_u64), "1000000000000000"),
            (json!("1P"), "1000000000000000"),
        ] {
            assert_eq!(reads(value), Ok(format!("runs=1, gpu={amount}")));
        }
        assert_eq!(reads(json!(0)), Ok("runs=1".to_owned()), "asks for nothing");
        for value in ["1.5", "-1", "1e3", "100m", "", "Gi", "1 ", "+1", "1Pi", "1000000000000001"] {
            let error = format!(
                "spec.resources.requests.gpu: {value:?} is not an integer from 0 to 1000000000000000"
            );
            assert_eq!(reads(json!(value)), Err(error));
        }
        let error = "spec.resources.requests.gpu: \"99999999999999999999Ti\" is not an integer from 0 to \
            1000000000000000";
        assert_eq!(reads(json!("99999999999999999999Ti")), Err(error.to_owned()), "above 64 bits");
    }

    #[test]
    fn each_amount_is_found_by_its_name() {
        let spec = json!({"runtime": "bash", "resources": {"requests": {"runs": "3", "gpu": "2"}}});
        let found = Resources::requested(&serde_json::from_value(spec).unwrap()).unwrap();
        let amounts = ["runs", "gpu", "disk"].map(|name| found.amount(name));
        assert_eq!((amounts, found.slots()), ([3, 2, 0], 3));
    }

    #[test]
    fn a_run_takes_one_to_ten_thousand_runs() {
        let reads = |value: &str| requested(&json!({"runs": value}));
        assert_eq!(requested(&json!({})), Ok("runs=1".to_owned()));
        assert_eq!(reads("10000"), Ok("runs=10000".to_owned()));
        for value in ["0", "10001"] {
            let error = format!(
                "spec.resources.requests.runs: {value:?} is not an integer from 1 to 10000"
            );
            assert_eq!(reads(value), Err(error));
        }
    }

    #[test]
    fn a_pod_has_what_its_annotations_say() {
        let read = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            Resources::of_annotations(&pairs.collect()).to_string()
        };
        assert_eq!(read(&[]), "runs=2");
        assert_eq!(
            read(&[
                ("a", "9"),
                ("kruntimes.io/capacity.gpu", "4"),
                ("kruntimes.io/capacity.memory", "8Gi"),
                ("kruntimes.io/capacity.runs", "7"),
                ("kruntimes.io/capacityx", "9"),
                ("z", "9"),
            ]),
            "runs=7, gpu=4, memory=8589934592"
        );
        let odd = [("kruntimes.io/capacity.gpu", "some"), ("kruntimes.io/capacity.runs", "0")];
        assert_eq!(read(&odd), "runs=2");
    }

    #[test]
    fn what_is_used_counts_in_every_resource() {
        let has = Resources::runs(4).with("gpu", 2).with("tpu", 1);
        let ask = |gpu| Resources::runs(1).with("gpu", gpu);
        assert!(has.holds(&ask(2)) && !has.holds(&ask(3)));
        let mut used = Resources::runs(0);
        used.add(&ask(1));
        used.add(&Resources::runs(1).with("tpu", 1));
        assert_eq!(used.to_string(), "runs=2, gpu=1, tpu=1");
        assert!(has.holds_beside(&used, &ask(1)) && !has.holds_beside(&used, &ask(2)));
        assert!(has.holds_beside(&used, &Resources::runs(2)));
        assert!(!has.holds_beside(&used, &Resources::runs(3)));
        assert!(!has.holds_beside(&used, &Resources::runs(1).with("tpu", 1)));
        used.subtract(&Resources::runs(1).with("tpu", 1));
        used.subtract(&ask(1));
        assert_eq!(used, Resources::runs(0), "nothing of zero stays");
        let shortage = has.shortage(&ask(3)).unwrap();
        assert_eq!((&*shortage.name, shortage.asked, shortage.has), ("gpu", 3, 2));
        let unknown = has.shortage(&Resources::runs(1).with("fpga", 1)).unwrap();
        assert_eq!((&*unknown.name, unknown.asked, unknown.has), ("fpga", 1, 0));
    }
}
