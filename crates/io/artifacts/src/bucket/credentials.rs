//! What a bucket is opened with: variables of an environment, or the files of a mounted Secret, read anew for each request.
//!
//! Nothing else is asked: the credentials of the machine that a pod runs on are not the pod's.

use object_store::CredentialProvider;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const TOKEN: &str = "AWS_SESSION_TOKEN";
/// The variables that are looked at, as AWS's own tools name them.
const VARIABLES: [(&str, AmazonS3ConfigKey); 11] = [
    (KEY_ID, AmazonS3ConfigKey::AccessKeyId),
    (SECRET_KEY, AmazonS3ConfigKey::SecretAccessKey),
    (TOKEN, AmazonS3ConfigKey::Token),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", AmazonS3ConfigKey::WebIdentityTokenFile),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
    ("AWS_ENDPOINT_URL_STS", AmazonS3ConfigKey::StsEndpoint),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", AmazonS3ConfigKey::ContainerCredentialsFullUri),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", AmazonS3ConfigKey::ContainerAuthorizationTokenFile),
    ("AWS_DEFAULT_REGION", AmazonS3ConfigKey::DefaultRegion),
    ("AWS_REGION", AmazonS3ConfigKey::Region),
];
/// A set of them that is enough.
const ENOUGH: [[&str; 2]; 3] = [
    [KEY_ID, SECRET_KEY],
    ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"],
    ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"],
];
/// A key or token that is longer is none.
const FILE_BYTES: u64 = 16 << 10;

/// Where they come from.
#[derive(Clone)]
pub enum Credentials {
    /// Variables of an environment, or the keys of a Secret, which have the same names.
    Variables(BTreeMap<String, String>),
    /// A mounted Secret: its name, and the directory with the link `..data`.
    Files(String, PathBuf),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variables(_) => formatter.write_str("Variables"),
            Self::Files(name, _) => formatter.debug_tuple("Files").field(name).finish(),
        }
    }
}

impl Credentials {
    /// Whether a variable is one of those that are looked at.
    #[must_use]
    pub fn is_variable(name: &str) -> bool {
        VARIABLES.iter().any(|(known, _)| *known == name)
    }

    /// Gives them to a client in the making.
    pub(super) fn give(self, builder: AmazonS3Builder) -> Result<AmazonS3Builder, String> {
        match self {
            Self::Variables(variables) => {
                let has = |name: &&str| variables.get(*name).is_some_and(|text| !text.is_empty());
                if !ENOUGH.iter().any(|all| all.iter().all(&has)) {
                    return Err(format!(
                        "there are no credentials for the bucket: name a Secret with {KEY_ID} and {SECRET_KEY} in \
                         spec.artifactStore.s3.credentialsSecretName of the Runtime, or give its pods a web identity"
                    ));
                }
                let known = VARIABLES.into_iter().filter(|(name, _)| has(name));
                Ok(known.fold(builder, |builder, (name, key)| {
                    builder.with_config(key, variables[name].clone())
                }))
            }
            Self::Files(secret, directory) => {
                Ok(builder.with_credentials(Arc::new(Files { secret, directory })))
            }
        }
    }
}

#[derive(Debug)]
struct Files {
    secret: String,
    directory: PathBuf,
}

impl Files {
    fn read(&self) -> Result<AwsCredential, String> {
        // Both keys come from one version of the Secret.
        let version = std::fs::canonicalize(self.directory.join("..data"));
        let version = version.map_err(|_| self.missing(KEY_ID))?;
        let needed = |key| text(&version.join(key)).ok_or_else(|| self.missing(key));
        let (key_id, secret_key) = (needed(KEY_ID)?, needed(SECRET_KEY)?);
        Ok(AwsCredential { key_id, secret_key, token: text(&version.join(TOKEN)) })
    }

    fn missing(&self, key: &str) -> String {
        format!(
            "the Secret {} of spec.artifactStore.s3.credentialsSecretName has no key {key}: create it with {KEY_ID} and \
             {SECRET_KEY}",
            self.secret
        )
    }
}

fn text(path: &Path) -> Option<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(FILE_BYTES).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[async_trait::async_trait]
impl CredentialProvider for Files {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let read = self.read().map(Arc::new);
        read.map_err(|why| object_store::Error::Generic { store: "S3", source: why.into() })
    }
}
