//! Blocks of addresses, as `10.0.0.0/8` or `fd00::/8`.

use std::net::IpAddr;
use std::str::FromStr;

/// A block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a block of addresses, such as 10.0.0.0/8")]
pub struct NoBlock;

impl Block {
    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (Some(own), Some(other)) =
            (bits(self.address, self.prefix), bits(address, self.prefix))
        else {
            return false;
        };
        self.address.is_ipv4() == address.is_ipv4() && own == other
    }

    /// Whether all of another block is in it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.prefix >= self.prefix && self.contains(other.address)
    }
}

/// The first bits of an address; none where it has not so many.
fn bits(address: IpAddr, prefix: u8) -> Option<u128> {
    let (value, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let rest = u32::from(u8::checked_sub(width, prefix)?);
    Some(value.checked_shr(rest).unwrap_or(0))
}

impl FromStr for Block {
    type Err = NoBlock;

    fn from_str(text: &str) -> Result<Self, NoBlock> {
        let (address, prefix) = text.split_once('/').ok_or(NoBlock)?;
        let address: IpAddr = address.parse().map_err(|_| NoBlock)?;
        let prefix: u8 = prefix.parse().map_err(|_| NoBlock)?;
        bits(address, prefix).map(|_| Self { address, prefix }).ok_or(NoBlock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_its_addresses_and_no_others() {
        for (block, address, want) in [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.1.2.3/32", "10.1.2.3", true),
            ("10.1.2.3/32", "10.1.2.4", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "fd00:ec2::254", true),
            ("::/0", "1.2.3.4", false),
            ("fd00:ec2::254/128", "fd00:ec2::254", true),
            ("fd00::/8", "fe80::1", false),
        ] {
            let block: Block = block.parse().unwrap();
            assert_eq!(block.contains(address.parse().unwrap()), want, "{block:?} {address}");
        }
        for wrong in ["", "10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0/8", "x/8", "10.0.0.0/-1"] {
            assert_eq!(wrong.parse::<Block>(), Err(NoBlock), "{wrong}");
        }
        for (outer, inner, want) in [
            ("10.0.0.0/8", "10.2.0.0/16", true),
            ("10.2.0.0/16", "10.0.0.0/8", false),
            ("10.0.0.0/8", "10.0.0.0/8", true),
            ("0.0.0.0/0", "::/0", false),
        ] {
            let [outer, inner] = [outer, inner].map(|text| text.parse::<Block>().unwrap());
            assert_eq!(outer.covers(&inner), want);
        }
    }
}
