//! The server's TLS identity: a CA of its own and one certificate, kept beside the data or made for one life.
use std::fs;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

const CA: &str = "ca.pem";
const CERTIFICATE: &str = "server.pem";
const KEY: &str = "server.key";

/// What clients trust and what the server proves itself with.
#[derive(Clone)]
pub struct Identity {
    /// The CA's certificate, for kubeconfigs.
    pub ca_pem: String,
    /// The server's certificate.
    pub cert_pem: String,
    /// The server's private key.
    pub key_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("cannot keep the TLS identity in {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

impl Identity {
    /// The identity kept in `directory`, made at first; without a directory a fresh one. It is valid for loopback and `address`.
    pub fn create(directory: Option<&Path>, address: IpAddr) -> Result<Self, IdentityError> {
        let Some(directory) = directory else { return Self::make(address) };
        let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
        let kept = (read(CA), read(CERTIFICATE), read(KEY));
        if let (Some(ca_pem), Some(cert_pem), Some(key_pem)) = kept
            && address.is_loopback()
        {
            return Ok(Self { ca_pem, cert_pem, key_pem });
        }
        let made = Self::make(address)?;
        fs::create_dir_all(directory)
            .map_err(|source| IdentityError::File { path: directory.to_owned(), source })?;
        for (name, text) in
            [(CA, &made.ca_pem), (CERTIFICATE, &made.cert_pem), (KEY, &made.key_pem)]
        {
            let path = directory.join(name);
            write_private(&path, text).map_err(|source| IdentityError::File { path, source })?;
        }
        Ok(made)
    }

    fn make(address: IpAddr) -> Result<Self, IdentityError> {
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.distinguished_name.push(DnType::CommonName, "kruntimes-local-ca");
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        ca.not_after = rcgen::date_time_ymd(2126, 1, 1);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
        let mut names = vec!["localhost".to_owned()];
        for ip in [address, Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
            if !names.contains(&ip.to_string()) {
                names.push(ip.to_string());
            }
        }
        let mut server = CertificateParams::new(names)?;
        server.distinguished_name.push(DnType::CommonName, "kruntimes-apiserver");
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.not_after = rcgen::date_time_ymd(2126, 1, 1);
        server.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = server.signed_by(&key, &ca)?;
        Ok(Self { ca_pem: ca.pem(), cert_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
