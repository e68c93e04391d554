//! String formats that upstream checks. Formats that it ignores are ignored; those it checks and we do not are refused
//! when the schema is compiled.
use crate::cel::{decode_base64, parse_date, parse_duration, parse_timestamp};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A format with a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Byte,
    Date,
    DateTime,
    Duration,
    Password,
    Ipv4,
    Ipv6,
    Cidr,
    Mac,
    /// A UUID, of this version if one is named.
    Uuid(Option<char>),
}

const NOT_SERVED: [&str; 13] = [
    "bsonobjectid",
    "uri",
    "email",
    "hostname",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "k8sshortname",
    "k8slongname",
];

impl Format {
    /// The format of this name; none if upstream ignores it.
    pub(super) fn named(name: &str) -> Result<Option<Self>, String> {
        let normalized = name.replace('-', "");
        Ok(Some(match normalized.as_str() {
            "byte" => Self::Byte,
            "date" => Self::Date,
            "datetime" => Self::DateTime,
            "duration" => Self::Duration,
            "password" => Self::Password,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "cidr" => Self::Cidr,
            "mac" => Self::Mac,
            "uuid" => Self::Uuid(None),
            "uuid3" => Self::Uuid(Some('3')),
            "uuid4" => Self::Uuid(Some('4')),
            "uuid5" => Self::Uuid(Some('5')),
            other if NOT_SERVED.contains(&other) => {
                return Err(format!("format {name:?} is not served"));
            }
            _ => return Ok(None),
        }))
    }

    /// Whether the text has this format.
    pub(super) fn accepts(self, text: &str) -> bool {
        match self {
            Self::Byte => {
                !text.is_empty() && !text.contains(['\r', '\n']) && decode_base64(text).is_some()
            }
            Self::Date => parse_date(text).is_some(),
            Self::DateTime => parse_timestamp(text).is_some(),
            Self::Duration => {
                parse_duration(text).is_some() || crate::cel::parse_spoken_duration(text).is_some()
            }
            Self::Password => true,
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Cidr => cidr(text),
            Self::Mac => mac(text),
            Self::Uuid(version) => uuid(text, version),
        }
    }
}

fn cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let limit = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    let plain = bits.bytes().all(|b| b.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
    plain && bits.parse::<u8>().is_ok_and(|bits| bits <= limit)
}

fn mac(text: &str) -> bool {
    let separator = if text.contains('.') {
        '.'
    } else if text.contains('-') {
        '-'
    } else {
        ':'
    };
    let width = if separator == '.' { 4 } else { 2 };
    let groups: Vec<&str> = text.split(separator).collect();
    let bytes = groups.len() * width / 2;
    matches!(bytes, 6 | 8 | 20)
        && groups
            .iter()
            .all(|group| group.len() == width && group.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn uuid(text: &str, version: Option<char>) -> bool {
    let mut rest = text;
    let mut digits = String::with_capacity(32);
    for (index, width) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        let Some((group, after)) = rest.split_at_checked(width) else { return false };
        if !group.bytes().all(|b| b.is_ascii_hexdigit()) {
            return false;
        }
        digits.push_str(group);
        rest = after;
    }
    let variant = matches!(digits.as_bytes()[16].to_ascii_lowercase(), b'8' | b'9' | b'a' | b'b');
    rest.is_empty()
        && version
            .is_none_or(|version| digits[12..].starts_with(version) && (version == '3' || variant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_of_each_format() {
        for (name, good, bad) in [
            ("byte", "Zm9v", "Zm9"),
            ("date", "2026-11-24", "2026-11-31"),
            ("date-time", "2026-11-24T05:00:00Z", "2026-11-24T05:00:60Z"),
            ("duration", "1h30m", "soon"),
            ("duration", "2 days", "days"),
            ("ipv4", "10.0.0.1", "10.0.0.256"),
            ("ipv6", "::1", "10.0.0.1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("mac", "00:1b:63:84:45:e6", "00:1b:63:84:45"),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-42661417400"),
            (
                "uuid4",
                "123e4567-e89b-42d3-a456-426614174000",
                "123e4567-e89b-12d3-a456-426614174000",
            ),
        ] {
            let format = Format::named(name).expect(name).expect(name);
            assert!(format.accepts(good), "{name} {good}");
            assert!(!format.accepts(bad), "{name} {bad}");
        }
        assert_eq!(Format::named("int32"), Ok(None));
        assert!(Format::named("email").is_err());
    }
}
