//! What a bucket answered, as a person has to read it: what is wrong, and what to do.

use std::error::Error;
use std::io;
use std::time::Duration;
use thiserror::Error;

/// Characters of what a store says of itself.
const SHOWN: usize = 300;
/// Codes of answers to credentials that are wrong or not enough.
const REFUSALS: [&str; 6] = [
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "Unauthorized",
];

/// Why a bucket did not do what it was asked.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum Fault {
    #[error(
        "the bucket {0} does not exist: create it, or mend spec.artifactStore.s3 of the Runtime"
    )]
    NoBucket(String),
    #[error("the object is not in the bucket {0}")]
    NoObject(String),
    #[error(
        "the bucket {bucket} refuses the credentials ({why}): see the Secret of spec.artifactStore.s3.credentialsSecretName, \
         and what it may do there"
    )]
    Refused { bucket: String, why: String },
    #[error("the bucket {bucket} can't be used: {why}")]
    Other { bucket: String, why: String },
    #[error("the bucket has not done it within {} s", .0.as_secs())]
    Late(Duration),
    #[error("the bucket says that it has {has} bytes of {sent}: it does not keep what it is given")]
    Short { has: u64, sent: u64 },
}

impl Fault {
    pub(super) fn of(bucket: &str, error: &object_store::Error) -> Self {
        use object_store::Error as Store;
        let (bucket, said) = (bucket.to_owned(), chain(error));
        // The word alone may stand in the name of an artifact.
        if said.contains("<Code>NoSuchBucket</Code>") {
            return Self::NoBucket(bucket);
        }
        let why = answer(&said).unwrap_or_else(|| shown(innermost(error).to_string().as_str()));
        // A list that is refused is no other error of the crate's than one that fails.
        let coded = REFUSALS.iter().any(|code| why.starts_with(code));
        let refused =
            matches!(error, Store::PermissionDenied { .. } | Store::Unauthenticated { .. });
        if coded || refused {
            return Self::Refused { bucket, why };
        }
        if matches!(error, Store::NotFound { .. }) {
            return Self::NoObject(bucket);
        }
        Self::Other { bucket, why }
    }

    pub(super) const fn late(within: Duration) -> Self {
        Self::Late(within)
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        if matches!(fault, Fault::NoObject(_)) {
            return Self::new(io::ErrorKind::NotFound, fault);
        }
        Self::other(fault)
    }
}

/// Whether the bucket is not there.
pub(super) fn is_without_bucket(error: &io::Error) -> bool {
    let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>());
    matches!(fault, Some(Fault::NoBucket(_)))
}

fn chain(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        said.push_str(": ");
        said.push_str(&source.to_string());
        next = source.source();
    }
    said
}

fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner
}

/// Code and message of an answer of S3.
fn answer(said: &str) -> Option<String> {
    let between = |tag: &str| {
        let (_, rest) = said.split_once(&format!("<{tag}>"))?;
        rest.split_once(&format!("</{tag}>")).map(|(text, _)| text)
    };
    let code = between("Code")?;
    Some(shown(
        &between("Message").map_or_else(|| code.to_owned(), |text| format!("{code}: {text}")),
    ))
}

/// The store is somebody else's: what it says is bounded, and commands no terminal.
fn shown(said: &str) -> String {
    let plain = said.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    let begins: String = plain.take(SHOWN).collect();
    begins.trim().to_owned()
}
