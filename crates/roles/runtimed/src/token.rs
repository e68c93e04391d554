//! The control token: made at each start, 0600, seen by runtimed and the Runtime Server of the pod alone.

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
pub(crate) struct Token {
    text: String,
    value: MetadataValue<Ascii>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Token(..)")
    }
}

impl Token {
    /// Makes a token and puts it into `<control>/token` by a rename.
    pub(crate) fn create(control: &Path) -> io::Result<Self> {
        let mut random = [0_u8; BYTES];
        fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
        let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let made = control.join("token.new");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&made)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&made, control.join("token"))?;
        let value = text.parse().map_err(io::Error::other)?;
        Ok(Self { text, value })
    }

    /// The token as it stands in the annotation of the pod.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// A request that carries the token.
    pub(crate) fn sign<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(TOKEN_METADATA, self.value.clone());
        request
    }

    /// Lets only requests through that carry the token. The comparison takes the same time for every content.
    pub(crate) fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
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
        let directory = crate::testing::directory("token");
        let token = Token::create(&directory).unwrap();
        let path = directory.join("token");
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
        assert_ne!(Token::create(&directory).unwrap().text(), token.text());
    }
}
