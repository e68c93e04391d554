//! The control token: made at each start, and asked of everybody who calls. That of a pod stands in a file, 0600, for its Runtime
//! Server, which no Run may read.

use kruntimes_proto::TOKEN_METADATA;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status};

const BYTES: usize = 32;

/// The token of this start.
#[derive(Clone)]
pub struct Token {
    text: String,
    value: MetadataValue<Ascii>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Token(..)")
    }
}

impl Token {
    /// Makes a token.
    ///
    /// # Errors
    /// The system's random source does not answer.
    pub fn random() -> io::Result<Self> {
        let mut random = [0_u8; BYTES];
        fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
        let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let value = text.parse().map_err(io::Error::other)?;
        Ok(Self { text, value })
    }

    /// Makes a token and puts it into `<control>/token` by a rename.
    ///
    /// # Errors
    /// The directory can't be written.
    pub fn create(control: &Path) -> io::Result<Self> {
        let token = Self::random()?;
        let made = control.join("token.new");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&made)?;
        file.write_all(token.text.as_bytes())?;
        fs::rename(&made, control.join("token"))?;
        Ok(token)
    }

    /// The token as it stands in the annotation of the pod.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A request that carries the token.
    pub fn sign<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(TOKEN_METADATA, self.value.clone());
        request
    }

    /// Lets only requests through that carry the token. The comparison takes the same time for every content.
    ///
    /// # Errors
    /// It does not.
    pub fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let given = request.metadata().get(TOKEN_METADATA).map_or(&[] as &[u8], |v| v.as_bytes());
        let expected = self.text.as_bytes();
        let differences = given.iter().zip(expected).fold(0, |sum, (a, b)| sum | (a ^ b));
        if given.len() == expected.len() && differences == 0 {
            return Ok(());
        }
        Err(Status::unauthenticated(format!("metadata {TOKEN_METADATA} is missing or wrong")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_whole_token_opens() {
        let directory = tempfile::tempdir().unwrap();
        let token = Token::create(directory.path()).unwrap();
        let path = directory.path().join("token");
        assert_eq!(fs::read_to_string(&path).unwrap(), token.text());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(token.text().len(), 2 * BYTES);
        assert!(token.check(&token.sign(())).is_ok());
        assert!(token.check(&Request::new(())).is_err());
        for wrong in [&token.text()[1..], "", &"0".repeat(64)] {
            let mut request = Request::new(());
            request.metadata_mut().insert(TOKEN_METADATA, wrong.parse().unwrap());
            assert!(token.check(&request).is_err(), "{wrong:?}");
        }
        assert_ne!(Token::create(directory.path()).unwrap().text(), token.text());
    }
}
