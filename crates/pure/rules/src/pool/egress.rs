//! What a Runtime lets its pods reach, checked: peers as NetworkPolicies have them, without the metadata of clouds.

use super::network::{METADATA_V4, METADATA_V6};
use crate::network::Block;
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use kruntimes_api::limits;

/// Why `spec.egress` can't be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEgress {
    /// More peers than a policy is given.
    #[error("spec.egress: at most {} peers", limits::EGRESS_ITEMS)]
    TooMany,
    /// A peer that is nobody, or two things at once.
    #[error("spec.egress[{0}]: name an ipBlock, or a podSelector, a namespaceSelector or both")]
    Peer(usize),
    /// A block that is none.
    #[error(
        "spec.egress[{number}].ipBlock: {text:?} is no block of addresses; write it as 10.0.0.0/8 or fd00::/8"
    )]
    Block {
        /// The peer.
        number: usize,
        /// What it says.
        text: String,
    },
    /// An exception that excepts nothing.
    #[error(
        "spec.egress[{number}].ipBlock.except: {text} is not a part of the block; write one that is, or leave it out"
    )]
    Except {
        /// The peer.
        number: usize,
        /// What it says.
        text: String,
    },
    /// A block that is metadata of a cloud.
    #[error(
        "spec.egress[{0}].ipBlock.cidr: this is where clouds hand out their credentials, which no pod of a Runtime \
         reaches; leave it out"
    )]
    Metadata(usize),
}

/// The peers, with the metadata of clouds taken out of every block.
pub(super) fn checked(
    peers: &[NetworkPolicyPeer],
) -> Result<Vec<NetworkPolicyPeer>, InvalidEgress> {
    if peers.len() > limits::EGRESS_ITEMS as usize {
        return Err(InvalidEgress::TooMany);
    }
    peers.iter().enumerate().map(|(number, peer)| without_metadata(number, peer.clone())).collect()
}

fn without_metadata(
    number: usize,
    mut peer: NetworkPolicyPeer,
) -> Result<NetworkPolicyPeer, InvalidEgress> {
    let selects = peer.pod_selector.is_some() || peer.namespace_selector.is_some();
    let Some(block) = &mut peer.ip_block else {
        return if selects { Ok(peer) } else { Err(InvalidEgress::Peer(number)) };
    };
    if selects {
        return Err(InvalidEgress::Peer(number));
    }
    let read = |text: &str| {
        text.parse::<Block>().map_err(|_| InvalidEgress::Block { number, text: text.to_owned() })
    };
    let own = read(&block.cidr)?;
    let mut excepted = Vec::new();
    for text in block.except.iter().flatten() {
        let except = read(text)?;
        if except == own || !own.covers(&except) {
            return Err(InvalidEgress::Except { number, text: text.clone() });
        }
        excepted.push(except);
    }
    for text in METADATA_V4.into_iter().chain(METADATA_V6) {
        let metadata = read(text)?;
        if metadata.covers(&own) {
            return Err(InvalidEgress::Metadata(number));
        }
        if own.covers(&metadata) && !excepted.iter().any(|except| except.covers(&metadata)) {
            block.except.get_or_insert_default().push(text.to_owned());
        }
    }
    Ok(peer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(peers: &Value) -> Result<Value, String> {
        let peers: Vec<NetworkPolicyPeer> = serde_json::from_value(peers.clone()).unwrap();
        checked(&peers).map(|it| json!(it)).map_err(|error| error.to_string())
    }

    #[test]
    fn blocks_lose_the_metadata_in_them_and_keep_what_they_except() {
        for (peer, except) in [
            (json!({"ipBlock": {"cidr": "10.0.0.0/8"}}), Value::Null),
            (json!({"ipBlock": {"cidr": "100.64.0.0/10"}}), json!(["100.100.100.200/32"])),
            (
                json!({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16", "10.0.0.0/8"]}}),
                json!(["169.254.0.0/16", "10.0.0.0/8", "100.100.100.200/32"]),
            ),
            (json!({"ipBlock": {"cidr": "::/0"}}), json!(["fd00:ec2::254/128"])),
        ] {
            assert_eq!(check(&json!([peer])).unwrap()[0]["ipBlock"]["except"], except, "{peer}");
        }
        let selectors = json!([{"podSelector": {}}, {"namespaceSelector": {}, "podSelector": {}}]);
        assert_eq!(check(&selectors).unwrap(), selectors);
    }

    #[test]
    fn peers_that_can_not_be_had_are_named() {
        for (peer, want) in [
            (json!({}), "spec.egress[0]: name an ipBlock"),
            (
                json!({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}),
                "spec.egress[0]: name an",
            ),
            (
                json!({"ipBlock": {"cidr": "10.0.0.1"}}),
                "spec.egress[0].ipBlock: \"10.0.0.1\" is no",
            ),
            (
                json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}),
                "spec.egress[0].ipBlock.except: 11.0.0.0/16 is not a part",
            ),
            (
                json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}),
                "spec.egress[0].ipBlock.except: 10.0.0.0/8 is not a part",
            ),
            (
                json!({"ipBlock": {"cidr": "169.254.169.254/32"}}),
                "spec.egress[0].ipBlock.cidr: this is",
            ),
        ] {
            let error = check(&json!([peer])).unwrap_err();
            assert!(error.starts_with(want), "{error}");
        }
        let many = |count: usize| json!(vec![json!({"podSelector": {}}); count]);
        assert!(check(&many(64)).is_ok());
        assert_eq!(check(&many(65)).unwrap_err(), "spec.egress: at most 64 peers");
    }
}
