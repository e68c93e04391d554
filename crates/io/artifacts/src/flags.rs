//! Flags of the artifact store, for those that the controller tells it, and the store that they name.

use crate::{Credentials, Store};
use kruntimes_api::{ArtifactDriver, ArtifactStore, FilesystemStore, S3Store, limits, names};
use std::path::{Path, PathBuf};

/// Where artifacts of Runs are kept, as the controller says it.
#[derive(Debug, Clone, clap::Args)]
pub struct StoreConfig {
    /// Where artifacts of Runs are kept.
    #[arg(long, value_enum)]
    pub artifact_store_driver: Option<StoreDriver>,
    /// Directory of the store, for the driver filesystem.
    #[arg(long, env = "KRUNTIMES_ARTIFACT_STORE_ROOT", default_value = names::ARTIFACTS_PATH)]
    pub artifact_store_root: PathBuf,
    /// PersistentVolumeClaim of that directory, as the status of Runs names it.
    #[arg(long, requires = "artifact_store_driver")]
    pub artifact_volume_claim: Option<String>,
    /// Bucket of the store, for the driver s3.
    #[arg(long, required_if_eq("artifact_store_driver", "s3"))]
    pub artifact_s3_bucket: Option<String>,
    /// What the keys in it begin with.
    #[arg(long, requires = "artifact_s3_bucket")]
    pub artifact_s3_prefix: Option<String>,
    /// Its region. Without one that of the environment counts, else us-east-1.
    #[arg(long, requires = "artifact_s3_bucket")]
    pub artifact_s3_region: Option<String>,
    /// Where S3 is spoken, as `https://minio.example:9000`; that of AWS in the region where it is not given.
    #[arg(long, requires = "artifact_s3_bucket")]
    pub artifact_s3_endpoint: Option<String>,
    /// The bucket is the first part of the path, not of the host's name.
    #[arg(long, requires = "artifact_s3_bucket")]
    pub artifact_s3_force_path_style: bool,
    /// Secret with the credentials, mounted as `artifact-credentials/NAME`; the environment has them where it is not given.
    #[arg(long, requires = "artifact_s3_bucket")]
    pub artifact_s3_credentials_secret_name: Option<String>,
    /// Bytes of the parts of a larger artifact.
    #[arg(long, requires = "artifact_s3_bucket", value_parser = clap::value_parser!(i64).range(limits::S3_PART_BYTES_MIN..=limits::S3_PART_BYTES_MAX))]
    pub artifact_s3_upload_part_size: Option<i64>,
    /// Parts of one artifact that are uploaded at once.
    #[arg(long, requires = "artifact_s3_bucket", value_parser = clap::value_parser!(i32).range(1..=i64::from(limits::S3_CONCURRENCY_MAX)))]
    pub artifact_s3_upload_concurrency: Option<i32>,
    /// Which cluster this is: what is kept in the bucket says so, and no other cluster's is ever removed.
    #[arg(long, requires = "artifact_s3_bucket")]
    pub artifact_s3_cluster_uid: Option<String>,
}

/// Where artifacts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StoreDriver {
    /// In a directory
    Filesystem,
    /// In a bucket
    S3,
}

impl StoreConfig {
    /// The volume of this claim, in this directory.
    #[must_use]
    pub fn volume(root: PathBuf, claim: &str) -> Self {
        Self {
            artifact_store_driver: Some(StoreDriver::Filesystem),
            artifact_store_root: root,
            artifact_volume_claim: Some(claim.to_owned()),
            artifact_s3_bucket: None,
            artifact_s3_prefix: None,
            artifact_s3_region: None,
            artifact_s3_endpoint: None,
            artifact_s3_force_path_style: false,
            artifact_s3_credentials_secret_name: None,
            artifact_s3_upload_part_size: None,
            artifact_s3_upload_concurrency: None,
            artifact_s3_cluster_uid: None,
        }
    }

    /// The store as the Runtime says it.
    #[must_use]
    pub fn named(&self) -> Option<ArtifactStore> {
        Some(match self.artifact_store_driver? {
            StoreDriver::Filesystem => {
                let volume_claim_name = self.artifact_volume_claim.clone().unwrap_or_default();
                ArtifactStore {
                    driver: ArtifactDriver::Filesystem,
                    filesystem: Some(FilesystemStore { volume_claim_name }),
                    s3: None,
                }
            }
            StoreDriver::S3 => ArtifactStore {
                driver: ArtifactDriver::S3,
                filesystem: None,
                s3: Some(Box::new(self.bucket())),
            },
        })
    }

    fn bucket(&self) -> S3Store {
        S3Store {
            bucket: self.artifact_s3_bucket.clone().unwrap_or_default(),
            prefix: self.artifact_s3_prefix.clone(),
            region: self.artifact_s3_region.clone(),
            endpoint: self.artifact_s3_endpoint.clone(),
            force_path_style: self.artifact_s3_force_path_style.then_some(true),
            credentials_secret_name: self.artifact_s3_credentials_secret_name.clone(),
            upload_part_size: self.artifact_s3_upload_part_size,
            upload_concurrency: self.artifact_s3_upload_concurrency,
        }
    }

    /// The store itself. `mounted` has the directory with the credentials.
    #[must_use]
    pub fn open(&self, mounted: &Path) -> Store {
        if self.artifact_store_driver != Some(StoreDriver::S3) {
            return Store::volume(self.artifact_store_root.clone());
        }
        let credentials = match &self.artifact_s3_credentials_secret_name {
            Some(secret) => {
                let directory = mounted.join(names::CREDENTIALS_DIRECTORY).join(secret);
                Credentials::Files(secret.clone(), directory)
            }
            None => Credentials::Variables(
                std::env::vars().filter(|(name, _)| Credentials::is_variable(name)).collect(),
            ),
        };
        Store::bucket(&self.bucket(), credentials, self.artifact_s3_cluster_uid.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::{Value, json};

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        config: StoreConfig,
    }

    fn named(flags: &[&str]) -> Option<Value> {
        let all = [&["runtimed"], flags].concat();
        let named = Command::try_parse_from(all).unwrap().config.named();
        named.map(|store| serde_json::to_value(store).unwrap())
    }

    #[test]
    fn flags_name_the_store_as_the_runtime_does() {
        assert_eq!(named(&[]), None);
        let volume = ["--artifact-store-driver=filesystem", "--artifact-volume-claim=pvc"];
        let expected = json!({"driver": "filesystem", "filesystem": {"volumeClaimName": "pvc"}});
        assert_eq!(named(&volume), Some(expected));
        let least = ["--artifact-store-driver=s3", "--artifact-s3-bucket=b"];
        assert_eq!(named(&least), Some(json!({"driver": "s3", "s3": {"bucket": "b"}})));
        let rest = [
            "--artifact-s3-prefix=a/b",
            "--artifact-s3-region=eu-1",
            "--artifact-s3-endpoint=http://h:1",
            "--artifact-s3-force-path-style",
            "--artifact-s3-credentials-secret-name=s",
            "--artifact-s3-upload-part-size=5242880",
            "--artifact-s3-upload-concurrency=16",
        ];
        let bucket = json!({"bucket": "b", "prefix": "a/b", "region": "eu-1", "endpoint": "http://h:1",
            "forcePathStyle": true, "credentialsSecretName": "s", "uploadPartSize": 5_242_880,
            "uploadConcurrency": 16});
        let all = [&least[..], &rest[..]].concat();
        assert_eq!(named(&all), Some(json!({"driver": "s3", "s3": bucket})));
        for wrong in [
            vec!["--artifact-store-driver=s3"],
            vec!["--artifact-s3-prefix=a"],
            [&least[..], &["--artifact-s3-upload-part-size=5242879"]].concat(),
            [&least[..], &["--artifact-s3-upload-part-size=33554433"]].concat(),
            [&least[..], &["--artifact-s3-upload-concurrency=17"]].concat(),
            [&least[..], &["--artifact-s3-upload-concurrency=0"]].concat(),
        ] {
            let all = [&["runtimed"], &wrong[..]].concat();
            assert!(Command::try_parse_from(all).is_err(), "{wrong:?}");
        }
    }
}
