//! A certificate and its key, from PEM: two files of the operator's, or the two that we made.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::{PROVIDER, TlsError, seconds, validity};
use crate::files::read_file;
use crate::reload::Source;

/// Bytes of a file with certificates or a key. A chain has some 5 KiB.
pub(super) const PEM_BYTES_MAX: u64 = 256 << 10;

/// The files of the operator's.
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) now: fn() -> SystemTime,
}

impl Source for Files {
    type Value = CertifiedKey;
    type Error = TlsError;
    const WHAT: &'static str = "the xDS server's certificate";

    fn read(&self) -> Result<Vec<Vec<u8>>, TlsError> {
        Ok(vec![read_file(&self.certificate, PEM_BYTES_MAX)?, read_file(&self.key, PEM_BYTES_MAX)?])
    }

    fn parse(&self, contents: &[Vec<u8>]) -> Result<CertifiedKey, TlsError> {
        let pair = pair(contents, &self.certificate, &self.key)?;
        let now = seconds((self.now)());
        // One whose times we cannot read is left to the clients to judge.
        match pair.cert.first().and_then(validity::of) {
            Some(times) if !times.holds(now) => {
                Err(TlsError::NotNow { path: self.certificate.clone(), from: times.from, until: times.until, now })
            }
            _ => Ok(pair),
        }
    }
}

/// The pair in these contents, the certificates first; the paths are for messages.
pub(super) fn pair(contents: &[Vec<u8>], certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let [certificates, secret] = contents else {
        return Err(TlsError::Certificate { path: certificate.into(), source: None });
    };
    let failed = |source| TlsError::Certificate { path: certificate.into(), source };
    let chain = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| failed(Some(error)))?;
    if chain.is_empty() {
        return Err(failed(None));
    }
    let secret = PrivateKeyDer::from_pem_slice(secret).map_err(|source| TlsError::Key { path: key.into(), source })?;
    // Checks that the key is that of the first certificate.
    CertifiedKey::from_der(chain, secret, &PROVIDER).map_err(|source| TlsError::Pair {
        certificate: certificate.into(),
        key: key.into(),
        source,
    })
}
