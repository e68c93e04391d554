//! Loopback addresses: each pod has one of its own, as on a cluster.

use crate::random;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// Addresses that are tried for one pod.
const TRIES: usize = 64;
/// Ports of a pod that must be free.
const PORTS: [u16; 3] =
    [9091, kruntimes_api::names::STATUS_PORT, kruntimes_api::names::HEALTH_PORT];

/// The addresses that this node's pods have.
#[derive(Debug, Default)]
pub(super) struct Addresses(Mutex<BTreeSet<Ipv4Addr>>);

impl Addresses {
    /// An address on which the ports of a pod are free, or none.
    pub(super) fn take(&self, ports: &[u16]) -> Option<Ipv4Addr> {
        for _ in 0..TRIES {
            let address = candidate(random::bits());
            let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let free = !taken.contains(&address)
                && PORTS.iter().chain(ports).all(|port| is_free(address, *port));
            if free {
                taken.insert(address);
                return Some(address);
            }
        }
        None
    }

    /// Gives an address back.
    pub(super) fn release(&self, address: Ipv4Addr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
    }
}

/// An address from random bits, away from those that systems use themselves (127.0.0.0/16, 127.255.0.0/16).
fn candidate(bits: u64) -> Ipv4Addr {
    let [a, b, c, ..] = bits.to_le_bytes();
    Ipv4Addr::new(127, 16 + a % 224, b, 1 + c % 254)
}

fn is_free(address: Ipv4Addr, port: u16) -> bool {
    TcpListener::bind(SocketAddr::from((address, port))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_loopback_hosts_away_from_the_edges() {
        for bits in [0, u64::MAX, 0x00ff_ffff, 0x00fe_00df] {
            let [first, second, _, last] = candidate(bits).octets();
            assert_eq!(first, 127);
            assert!((16..240).contains(&second) && (1..255).contains(&last), "{bits:x}");
        }
    }

    #[test]
    fn an_address_is_given_once_and_only_with_free_ports() {
        let addresses = Addresses::default();
        let first = addresses.take(&[]).unwrap();
        let second = addresses.take(&[]).unwrap();
        assert_ne!(first, second);
        let taken = TcpListener::bind(SocketAddr::from((first, 9094))).unwrap();
        assert!(!is_free(first, 9094));
        assert!(is_free(second, 9094));
        drop(taken);
    }
}
