//! The server side of TLS, as ztunnel needs it: TLS 1.3, HTTP/2, a certificate of the operator's or one of our own.
//!
//! Here is what a handshake is answered with; [`incoming`] is who gets one. Clients have no certificate: who they are is
//! said by their token ([`crate::auth`]). The client side towards istiod is not here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ServerConfig, SupportedProtocolVersion};

use crate::files::FileError;
use crate::reload::{Reloaded, Source};

pub mod incoming;
mod pair;
mod self_signed;
mod validity;

pub use self_signed::{ROOT_CERT, SelfSigned};

/// A certificate is looked at again at most this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// One of our own changes by our own hand only, and checking it costs more.
const LOOK_EVERY_SELF_SIGNED: Duration = Duration::from_secs(60);

/// The only protocol we speak (ALPN).
const H2: &[u8] = b"h2";

/// The one implementation of cryptography in this process, given to rustls each time: a process-wide default could be
/// another one.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(ring::default_provider()));

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// No certificate in the file, or damaged ones.
    #[error("no usable certificates in {}: PEM with the server's certificate first, then those that sign it, is expected", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong, if there was anything at all.
        #[source]
        source: Option<rustls::pki_types::pem::Error>,
    },
    /// No key in the file, or a damaged one.
    #[error("no usable private key in {}: one unencrypted key as PEM (PKCS#8, PKCS#1 or SEC1) is expected", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key are no pair, or of a kind that is not supported.
    #[error("the certificate in {} does not go with the key in {}: put both there again, from one issue", certificate.display(), key.display())]
    Pair {
        /// The file with the certificates.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// Every client would refuse it.
    #[error("the certificate in {} is valid from {from} to {until}, not now ({now}, seconds since 1970): renew it, or set this node's clock", path.display())]
    NotNow {
        /// The file with the certificates.
        path: PathBuf,
        /// When it begins to be valid, in seconds since 1970.
        from: i64,
        /// When it ends.
        until: i64,
        /// This node's time.
        now: i64,
    },
    /// The names of a certificate of our own.
    #[error("{name:?} cannot be in a certificate: name 1 to {max} DNS names or IP addresses under which ztunnel reaches this agent", max = self_signed::NAMES_MAX)]
    Name {
        /// The first that is wrong.
        name: String,
    },
    /// A certificate of our own could not be made.
    #[error("cannot make a certificate for this agent")]
    Make(#[from] rcgen::Error),
    /// What was just made is not usable, which should not be.
    #[error("the certificate just made in {} is not usable ({why}): empty the folder and start again", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The TLS library does not take our settings.
    #[error("cannot set up TLS")]
    Setup(#[source] rustls::Error),
}

/// The versions of TLS that are spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// 1.3, which is all ztunnel needs.
    #[default]
    Tls13,
    /// 1.2 as well, for a ztunnel with `TLS12_ENABLED` on a system without 1.3.
    Tls12And13,
}

impl Versions {
    fn all(self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        match self {
            Self::Tls13 => BOTH.split_at(1).0,
            Self::Tls12And13 => &BOTH,
        }
    }
}

/// What this server answers handshakes with. Cheap to clone; all clones have the same certificate.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
    certificate: Arc<dyn Certificate>,
}

impl ServerTls {
    /// With certificates and key of the operator's, PEM, up to 256 KiB each. They are looked at again when a client connects,
    /// at most once a second. A new pair that is broken, or not valid at this moment, does not replace the one before.
    ///
    /// # Errors
    /// If there is no usable pair to begin with.
    pub fn from_files(certificate: &Path, key: &Path, versions: Versions) -> Result<Self, TlsError> {
        let files = pair::Files { certificate: certificate.into(), key: key.into(), now: SystemTime::now };
        Self::new(Reloaded::new(files, LOOK_EVERY)?, versions)
    }

    /// With a certificate of our own, made at the first start and kept; the authority that signs it is written where
    /// ztunnel can read it. See [`SelfSigned`].
    ///
    /// # Errors
    /// If the folders cannot be used, or a name cannot be in a certificate.
    pub fn self_signed(of: &SelfSigned, versions: Versions) -> Result<Self, TlsError> {
        let authority = self_signed::Authority::open(of, SystemTime::now)?;
        Self::new(Reloaded::new(authority, LOOK_EVERY_SELF_SIGNED)?, versions)
    }

    fn new<S>(certificate: Reloaded<S>, versions: Versions) -> Result<Self, TlsError>
    where
        S: Source<Value = CertifiedKey, Error = TlsError>,
    {
        let certificate = Arc::new(Served(certificate));
        let mut config = ServerConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(versions.all())
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(certificate.clone());
        config.alpn_protocols = vec![H2.into()];
        // A client connects once and stays for days: nothing to resume, and a resumed session would outlive its certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
    }

    /// Looks at the files now, if it is time for it. For a timer (minutes), so that a certificate is renewed also where
    /// nobody connects for months.
    pub fn refresh(&self) {
        self.certificate.now();
    }

    /// What is wrong with the files, while an earlier certificate is served.
    pub fn problem(&self) -> Option<String> {
        self.certificate.problem()
    }

    /// Until when the certificate that is served is valid, in seconds since 1970.
    pub fn valid_until(&self) -> Option<i64> {
        self.certificate.now().cert.first().and_then(validity::of).map(|it| it.until)
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("valid_until", &self.valid_until()).finish_non_exhaustive()
    }
}

/// The certificate as of now, wherever it comes from.
trait Certificate: Send + Sync {
    fn now(&self) -> Arc<CertifiedKey>;
    fn problem(&self) -> Option<String>;
}

struct Served<S: Source>(Reloaded<S>);

impl<S: Source<Value = CertifiedKey>> Certificate for Served<S> {
    fn now(&self) -> Arc<CertifiedKey> {
        self.0.get()
    }

    fn problem(&self) -> Option<String> {
        self.0.problem()
    }
}

impl<S: Source<Value = CertifiedKey>> ResolvesServerCert for Served<S> {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Whatever name is asked for: a client that means another server will find out by itself.
        Some(self.0.get())
    }
}

impl<S: Source> fmt::Debug for Served<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the key.
        f.write_str(S::WHAT)
    }
}

/// Seconds since 1970, 0 for a clock before that.
fn seconds(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |it| it.as_secs().try_into().unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
