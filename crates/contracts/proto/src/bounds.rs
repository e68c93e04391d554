//! What an Execute asks to bound its execution by, beside the message that every Runtime Server knows.
//!
//! Words `name=value` with spaces between; nothing of it is written that is not asked for. A server that serves bounds
//! refuses those that it does not know.

use std::fmt;
use std::str::FromStr;

/// Bounds of one execution.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// What it may connect to.
    pub network: Network,
    /// Bytes of memory of all its processes.
    pub memory: Option<u64>,
    /// How many processes it may have.
    pub processes: Option<u64>,
    /// Bytes on disk.
    pub disk: Option<u64>,
}

/// What an execution may connect to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Network {
    /// What its pod may.
    #[default]
    Full,
    /// Nothing.
    None,
}

/// A word that is no bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidBounds(pub String);

impl fmt::Display for InvalidBounds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} is no bound of an execution", self.0)
    }
}

impl std::error::Error for InvalidBounds {}

impl fmt::Display for Bounds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = (self.network == Network::None).then(|| "network=none".to_owned());
        let numbers = [("memory", self.memory), ("processes", self.processes), ("disk", self.disk)];
        let numbers =
            numbers.iter().filter_map(|(name, value)| value.map(|value| format!("{name}={value}")));
        let words: Vec<_> = network.into_iter().chain(numbers).collect();
        formatter.write_str(&words.join(" "))
    }
}

impl FromStr for Bounds {
    type Err = InvalidBounds;

    fn from_str(text: &str) -> Result<Self, InvalidBounds> {
        let mut bounds = Self::default();
        for word in text.split_ascii_whitespace() {
            let invalid = || InvalidBounds(word.to_owned());
            let (name, value) = word.split_once('=').ok_or_else(invalid)?;
            let number = || value.parse().map(Some).map_err(|_| invalid());
            match name {
                "network" if value == "none" => bounds.network = Network::None,
                "memory" => bounds.memory = number()?,
                "processes" => bounds.processes = number()?,
                "disk" => bounds.disk = number()?,
                _ => return Err(invalid()),
            }
        }
        Ok(bounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_read_back_as_they_are_written() {
        let some = Bounds { processes: Some(0), ..Bounds::default() };
        let all = Bounds {
            network: Network::None,
            memory: Some(u64::MAX),
            processes: Some(7),
            disk: Some(1),
        };
        for (bounds, text) in [
            (Bounds::default(), ""),
            (some, "processes=0"),
            (all, "network=none memory=18446744073709551615 processes=7 disk=1"),
        ] {
            assert_eq!(bounds.to_string(), text);
            assert_eq!(text.parse(), Ok(bounds));
        }
    }

    #[test]
    fn what_is_no_bound_is_named() {
        for word in ["network=some", "memory", "memory=-1", "memory=1Gi", "cpu=1", "disk="] {
            assert_eq!(word.parse::<Bounds>(), Err(InvalidBounds(word.to_owned())));
        }
    }
}
