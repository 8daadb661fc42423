//! Certificates for an agent that was given none: an authority of its own, made at the first start and good for ten
//! years, and a certificate for 90 days that is renewed when two thirds of them are over.
//!
//! The keys are in a folder of the agent's; only the authority's certificate is put where ztunnel reads it
//! (`XDS_ROOT_CA`). Who has the authority's key can be this agent for this node's ztunnel, and nobody else for nobody else:
//! no other node trusts it.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tokio_rustls::rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{RootCertStore, pki_types::pem::PemObject as _};

use super::pair::{PEM_BYTES_MAX, pair};
use super::{PROVIDER, TlsError, seconds, validity};
use crate::files::{FileError, Folder, Readers};
use crate::reload::{Source, chain};

/// The file that ztunnel reads, in the shared folder.
pub const ROOT_CERT: &str = "root-cert.pem";

/// Names in one certificate.
pub(super) const NAMES_MAX: usize = 64;

const CA_CERT: &str = "ca-cert.pem";
const CA_KEY: &str = "ca-key.pem";
const CERT: &str = "cert.pem";
const KEY: &str = "key.pem";

const DAY: i64 = 24 * 3600;
const CA_DAYS: i64 = 3650;
const LEAF_DAYS: i64 = 90;
/// A client's clock may be behind ours.
const SKEW: i64 = 3600;
/// The last moment that is taken for the time of day (in 2242), so that no clock makes a date that cannot be written.
const LATEST: i64 = 1 << 33;

/// How often the lock of another agent is tried, and how long that takes: 2 s, then the start fails.
const LOCK_TRIES: u32 = 100;
const LOCK_WAIT: Duration = Duration::from_millis(20);

/// Where the certificates are kept, and what they are for.
#[derive(Clone, Debug)]
pub struct SelfSigned {
    /// The folder of the keys. Made with mode 0700; one that is open to others is refused.
    pub private: PathBuf,
    /// The folder that ztunnel reads [`ROOT_CERT`] from. Must not be the private one.
    pub shared: PathBuf,
    /// DNS names and IP addresses under which ztunnel reaches this agent, 1 to 64. A name that is missing in the
    /// certificate that is there makes a new one; one too many stays until the next renewal.
    pub names: Vec<String>,
}

/// The authority, and what it signed for this server.
pub(super) struct Authority {
    private: Folder,
    shared: Folder,
    names: Vec<ServerName<'static>>,
    now: fn() -> SystemTime,
}

/// Why there is to be a new file.
enum Need {
    /// There is none yet.
    First,
    /// What is there is sound, but this.
    Renew(&'static str),
    /// What is there is kept aside, for somebody to look at.
    Damaged(String),
}

struct Ca {
    pem: Vec<u8>,
    der: CertificateDer<'static>,
    key: KeyPair,
}

impl Authority {
    /// Opens the folders; makes what is missing when it is first read. Waits up to 2 s for another agent that is doing
    /// the same.
    pub(super) fn open(of: &SelfSigned, now: fn() -> SystemTime) -> Result<Self, TlsError> {
        let wrong = |name: &str| TlsError::Name { name: name.to_owned() };
        if of.names.is_empty() || of.names.len() > NAMES_MAX {
            return Err(wrong(of.names.get(NAMES_MAX).map_or("", String::as_str)));
        }
        let names = of.names.iter().map(|it| ServerName::try_from(it.clone()).map_err(|_| wrong(it)));
        let authority = Self {
            names: names.collect::<Result<_, _>>()?,
            private: Folder::open(&of.private, Readers::Owner)?,
            shared: Folder::open(&of.shared, Readers::All)?,
            now,
        };
        for _ in 1..LOCK_TRIES {
            match authority.ensure() {
                Err(TlsError::File(FileError::Busy { .. })) => std::thread::sleep(LOCK_WAIT),
                other => return other.map(|_| authority),
            }
        }
        authority.ensure().map(|_| authority)
    }

    /// Certificate and key as they should be now, made where they are not.
    fn ensure(&self) -> Result<Vec<Vec<u8>>, TlsError> {
        let now = seconds((self.now)()).min(LATEST);
        if let Ok(ca) = self.find_ca(now)?
            && let Ok(leaf) = self.find_leaf(&ca, now)?
            && self.is_published(&ca)
        {
            return Ok(leaf);
        }
        // Looked at again under the lock: another agent may have done it meanwhile.
        let _lock = self.private.lock()?;
        let ca = match self.find_ca(now)? {
            Ok(ca) => ca,
            Err(need) => self.make_ca(&need, now)?,
        };
        // Before there is a certificate that only it makes trustworthy.
        if !self.is_published(&ca) {
            self.shared.write(ROOT_CERT, &ca.pem)?;
        }
        match self.find_leaf(&ca, now)? {
            Ok(leaf) => Ok(leaf),
            Err(need) => self.make_leaf(&need, &ca, now),
        }
    }

    fn is_published(&self, ca: &Ca) -> bool {
        matches!(self.shared.read(ROOT_CERT, PEM_BYTES_MAX), Ok(Some(there)) if there == ca.pem)
    }

    /// Both files of a pair, or what to do about them.
    fn find_pair(&self, certificate: &str, key: &str) -> Result<Result<[Vec<u8>; 2], Need>, TlsError> {
        let found = (self.private.read(certificate, PEM_BYTES_MAX)?, self.private.read(key, PEM_BYTES_MAX)?);
        Ok(match found {
            (Some(certificate), Some(key)) => Ok([certificate, key]),
            (None, None) => Err(Need::First),
            (None, Some(_)) => Err(Need::Damaged(format!("{key} is there without {certificate}"))),
            (Some(_), None) => Err(Need::Damaged(format!("{certificate} is there without {key}"))),
        })
    }

    fn find_ca(&self, now: i64) -> Result<Result<Ca, Need>, TlsError> {
        let [pem, key] = match self.find_pair(CA_CERT, CA_KEY)? {
            Ok(found) => found,
            Err(need) => return Ok(Err(need)),
        };
        let parts = [pem, key];
        if let Err(error) = pair(&parts, &self.private.path(CA_CERT), &self.private.path(CA_KEY)) {
            return Ok(Err(Need::Damaged(chain(&error))));
        }
        let [pem, key] = parts;
        let der = CertificateDer::from_pem_slice(&pem);
        let key = std::str::from_utf8(&key).ok().and_then(|it| KeyPair::from_pem(it).ok());
        let (Ok(der), Some(key)) = (der, key) else {
            return Ok(Err(Need::Damaged("the authority's key is not one that was made here".into())));
        };
        // It must outlive what it signs.
        match validity::of(&der) {
            None => Ok(Err(Need::Damaged("the authority's certificate has no end".into()))),
            Some(times) if times.until < now + LEAF_DAYS * DAY => Ok(Err(Need::Renew("runs out"))),
            Some(_) => Ok(Ok(Ca { pem, der, key })),
        }
    }

    fn find_leaf(&self, ca: &Ca, now: i64) -> Result<Result<Vec<Vec<u8>>, Need>, TlsError> {
        let parts = match self.find_pair(CERT, KEY)? {
            Ok(found) => found,
            Err(need) => return Ok(Err(need)),
        };
        let state = match pair(&parts, &self.private.path(CERT), &self.private.path(KEY)) {
            Ok(pair) => self.judge(&pair, ca, now),
            Err(error) => Err(Need::Damaged(chain(&error))),
        };
        Ok(state.map(|()| parts.into()))
    }

    /// Whether ztunnel would take it, and will until we look again.
    fn judge(&self, leaf: &CertifiedKey, ca: &Ca, now: i64) -> Result<(), Need> {
        let damaged = |why: String| Need::Damaged(why);
        let der = leaf.cert.first().ok_or_else(|| damaged("there is no certificate".into()))?;
        let times = validity::of(der).ok_or_else(|| damaged("the certificate has no times".into()))?;
        if !times.holds(now) {
            return Err(Need::Renew("is not valid at this time"));
        }
        if now >= times.from + (times.until - times.from) / 3 * 2 {
            return Err(Need::Renew("has two thirds of its time behind it"));
        }
        let certificate = ParsedCertificate::try_from(der).map_err(|error| damaged(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.der.clone()).map_err(|error| damaged(error.to_string()))?;
        let algorithms = PROVIDER.signature_verification_algorithms.all;
        let at = UnixTime::since_unix_epoch(Duration::from_secs(now.unsigned_abs()));
        verify_server_cert_signed_by_trust_anchor(&certificate, &roots, &[], at, algorithms)
            .map_err(|error| damaged(format!("not a certificate of this authority: {error}")))?;
        if self.names.iter().any(|name| verify_server_name(&certificate, name).is_err()) {
            return Err(Need::Renew("lacks a name"));
        }
        Ok(())
    }

    fn make_ca(&self, need: &Need, now: i64) -> Result<Ca, TlsError> {
        self.make_room("the authority of our own", need, [CA_CERT, CA_KEY])?;
        let key = KeyPair::generate()?;
        let mut params = ca_params();
        set_validity(&mut params, now - SKEW, now + CA_DAYS * DAY);
        let certificate = params.self_signed(&key)?;
        let pem = certificate.pem().into_bytes();
        // The key first: a certificate without its key is what a crash must not leave as sound.
        self.private.write(CA_KEY, key.serialize_pem().as_bytes())?;
        self.private.write(CA_CERT, &pem)?;
        Ok(Ca { pem, der: certificate.der().clone(), key })
    }

    fn make_leaf(&self, need: &Need, ca: &Ca, now: i64) -> Result<Vec<Vec<u8>>, TlsError> {
        self.make_room("the certificate of our own", need, [CERT, KEY])?;
        let key = KeyPair::generate()?;
        let names: Vec<String> = self.names.iter().map(|it| it.to_str().into_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = distinguished_name("wayswitch xDS server");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now - SKEW, now + LEAF_DAYS * DAY);
        let issuer_params = ca_params();
        let certificate = params.signed_by(&key, &Issuer::from_params(&issuer_params, &ca.key))?;
        self.private.write(KEY, key.serialize_pem().as_bytes())?;
        self.private.write(CERT, certificate.pem().as_bytes())?;
        self.find_leaf(ca, now)?.map_err(|need| TlsError::Unusable {
            path: self.private.path(CERT),
            why: match need {
                Need::Damaged(why) => why,
                Need::Renew(why) => why.into(),
                Need::First => "it is not there".into(),
            },
        })
    }

    fn make_room(&self, what: &str, need: &Need, names: [&str; 2]) -> Result<(), TlsError> {
        let path = self.private.path("");
        let path = path.display();
        match need {
            Need::First => tracing::info!(%path, "making {what}"),
            Need::Renew(why) => tracing::info!(%path, "renewing {what}: it {why}"),
            Need::Damaged(why) => {
                tracing::warn!(%path, "{what} is damaged, set aside as *.damaged and made again: {why}");
                for name in names {
                    self.private.set_aside(name)?;
                }
            }
        }
        Ok(())
    }
}

impl Source for Authority {
    type Value = CertifiedKey;
    type Error = TlsError;
    const WHAT: &'static str = "the xDS server's own certificate";

    fn read(&self) -> Result<Vec<Vec<u8>>, TlsError> {
        self.ensure()
    }

    fn parse(&self, contents: &[Vec<u8>]) -> Result<CertifiedKey, TlsError> {
        pair(contents, &self.private.path(CERT), &self.private.path(KEY))
    }
}

/// What the authority's certificate says, but for its times. The name must stay as it is: certificates are found to be of
/// an authority by it, and the authority of an earlier version of this agent is used for ten years.
fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name("wayswitch node authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn distinguished_name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// Sets both times, in seconds since 1970.
fn set_validity(params: &mut CertificateParams, from: i64, until: i64) {
    let at = |seconds: i64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.max(0).unsigned_abs());
    params.not_before = at(from);
    params.not_after = at(until);
}

#[cfg(test)]
mod tests;
