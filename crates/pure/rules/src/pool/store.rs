//! The artifact store of a pool: the volume, the Secret and the flags that runtimed gets for it, and nobody else.
//!
//! Credentials come as files of an optional volume: the pod starts without the Secret, and a new key needs no new pod. They lie
//! beside what Runs may use, never in it.

use super::InvalidPool;
use crate::artifact;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaimVolumeSource, SecretVolumeSource, Volume, VolumeMount,
};
use kruntimes_api::{ArtifactDriver, ArtifactStore, S3Store, names};

/// A store that runtimed can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Store {
    /// A claim.
    Volume(String),
    /// A bucket.
    Bucket(S3Store),
}

/// Checks a store.
pub(super) fn check(store: &ArtifactStore) -> Result<Store, InvalidPool> {
    match store.driver {
        ArtifactDriver::Filesystem => {
            let claim = artifact::volume_claim(store).filter(|claim| names::is_object_name(claim));
            claim.map(|claim| Store::Volume(claim.to_owned())).ok_or(InvalidPool::ArtifactStore)
        }
        ArtifactDriver::S3 => {
            let bucket = artifact::bucket(store).ok_or(InvalidPool::Bucket)?;
            let secret = artifact::given(&bucket.credentials_secret_name);
            if secret.is_some_and(|name| !names::is_object_name(name)) {
                return Err(InvalidPool::Bucket);
            }
            Ok(Store::Bucket(bucket.clone()))
        }
    }
}

impl Store {
    pub(super) fn volume(&self) -> Option<Volume> {
        match self {
            Self::Volume(claim) => {
                let claim = claim.clone();
                let source =
                    PersistentVolumeClaimVolumeSource { claim_name: claim, read_only: None };
                Some(Volume {
                    name: names::ARTIFACTS_VOLUME.to_owned(),
                    persistent_volume_claim: Some(source),
                    ..Volume::default()
                })
            }
            Self::Bucket(bucket) => {
                let secret = artifact::given(&bucket.credentials_secret_name)?.to_owned();
                Some(Volume {
                    name: names::CREDENTIALS_VOLUME.to_owned(),
                    secret: Some(SecretVolumeSource {
                        secret_name: Some(secret),
                        optional: Some(true),
                        ..SecretVolumeSource::default()
                    }),
                    ..Volume::default()
                })
            }
        }
    }

    pub(super) fn mount(&self) -> Option<VolumeMount> {
        let volume = self.volume()?;
        let (mount_path, read_only) = match self {
            Self::Volume(_) => (names::ARTIFACTS_PATH.to_owned(), None),
            Self::Bucket(bucket) => {
                let secret = artifact::given(&bucket.credentials_secret_name)?;
                (names::credentials_path(secret), Some(true))
            }
        };
        Some(VolumeMount { name: volume.name, mount_path, read_only, ..VolumeMount::default() })
    }

    /// What is kept in a bucket says of which `cluster` it is: others may share it.
    pub(super) fn arguments(&self, cluster: Option<&str>) -> Vec<String> {
        match self {
            Self::Volume(claim) => vec![
                "--artifact-store-driver=filesystem".to_owned(),
                format!("--artifact-volume-claim={claim}"),
            ],
            Self::Bucket(bucket) => {
                let mut arguments = of_bucket(bucket);
                arguments.extend(cluster.map(|uid| format!("--artifact-s3-cluster-uid={uid}")));
                arguments
            }
        }
    }
}

fn of_bucket(bucket: &S3Store) -> Vec<String> {
    let mut arguments = vec![
        "--artifact-store-driver=s3".to_owned(),
        format!("--artifact-s3-bucket={}", bucket.bucket),
    ];
    let texts = [
        ("prefix", &bucket.prefix),
        ("region", &bucket.region),
        ("endpoint", &bucket.endpoint),
        ("credentials-secret-name", &bucket.credentials_secret_name),
    ];
    for (flag, text) in texts {
        let text = artifact::given(text);
        arguments.extend(text.map(|text| format!("--artifact-s3-{flag}={text}")));
    }
    if bucket.force_path_style == Some(true) {
        arguments.push("--artifact-s3-force-path-style".to_owned());
    }
    let size = bucket.upload_part_size.map(|size| format!("--artifact-s3-upload-part-size={size}"));
    let at_once = bucket.upload_concurrency;
    let at_once = at_once.map(|count| format!("--artifact-s3-upload-concurrency={count}"));
    arguments.extend(size.into_iter().chain(at_once));
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(store: Value) -> Result<Store, InvalidPool> {
        check(&serde_json::from_value(store).unwrap())
    }

    #[test]
    fn a_bucket_is_told_by_flags_and_its_secret_is_a_file() {
        let store = of(json!({"driver": "s3", "s3": {"bucket": "b"}})).unwrap();
        let least = ["--artifact-store-driver=s3", "--artifact-s3-bucket=b"];
        assert_eq!(
            (store.arguments(None), store.volume(), store.mount()),
            (least.map(str::to_owned).to_vec(), None, None)
        );
        let all = json!({"bucket": "b", "prefix": "p", "region": "r", "endpoint": "http://h",
            "forcePathStyle": true, "credentialsSecretName": "keys", "uploadPartSize": 5_242_880,
            "uploadConcurrency": 3});
        let store = of(json!({"driver": "s3", "s3": all})).unwrap();
        let flags = [
            "--artifact-s3-prefix=p",
            "--artifact-s3-region=r",
            "--artifact-s3-endpoint=http://h",
            "--artifact-s3-credentials-secret-name=keys",
            "--artifact-s3-force-path-style",
            "--artifact-s3-upload-part-size=5242880",
            "--artifact-s3-upload-concurrency=3",
        ];
        assert_eq!(store.arguments(None), [&least[..], &flags[..]].concat());
        let marked = [&least[..], &flags[..], &["--artifact-s3-cluster-uid=c"]].concat();
        assert_eq!(store.arguments(Some("c")), marked);
        let volume = json!({"driver": "filesystem", "filesystem": {"volumeClaimName": "v"}});
        assert_eq!(of(volume).unwrap().arguments(Some("c")).len(), 2);
        let volume = serde_json::to_value(store.volume()).unwrap();
        let secret = json!({"secretName": "keys", "optional": true});
        assert_eq!(volume, json!({"name": "kruntimes-artifact-credentials", "secret": secret}));
        let mount = serde_json::to_value(store.mount()).unwrap();
        let path = "/etc/kruntimes/artifact-credentials/keys";
        let want =
            json!({"name": "kruntimes-artifact-credentials", "mountPath": path, "readOnly": true});
        assert_eq!(mount, want);
    }

    #[test]
    fn a_bucket_that_is_none_is_refused() {
        for broken in [
            json!({"driver": "s3"}),
            json!({"driver": "s3", "filesystem": {"volumeClaimName": "pvc"}}),
            json!({"driver": "s3", "s3": {"bucket": ""}}),
            json!({"driver": "s3", "s3": {"bucket": "b", "endpoint": "h"}}),
            json!({"driver": "s3", "s3": {"bucket": "b", "credentialsSecretName": "../x"}}),
        ] {
            assert_eq!(of(broken.clone()), Err(InvalidPool::Bucket), "{broken}");
        }
    }
}
