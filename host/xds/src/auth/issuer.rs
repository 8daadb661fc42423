//! Tokens of Kubernetes service accounts, verified with the keys of the cluster's issuer: nobody has to be asked, so it
//! works while the API server is away. What it cannot know is whether the pod still exists; asking the API server
//! (TokenReview) does.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::keys::{JWKS_BYTES_MAX, Keys};
use super::{AuthError, Identity, Quoted, Refused, Token, TokenVerifier, Verdict, check_token_node, claims, jwt};
use crate::files::read_file;
use crate::reload::{Reloaded, Source};

/// Key sets are looked at again at most this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A service account by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Who issued it: `--service-account-issuer` of the API server.
    pub issuer: String,
    /// For whom: one of these.
    pub audiences: Vec<String>,
    /// To whom: one of these.
    pub service_accounts: Vec<ServiceAccount>,
    /// On which node, if it says so.
    pub node: String,
}

impl Expected {
    /// What Istio's charts give ztunnel: audience `istio-ca`, service account `ztunnel` in `istio-system`.
    pub fn of_istio(issuer: &str, node: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            audiences: vec!["istio-ca".to_owned()],
            service_accounts: vec![ServiceAccount { namespace: "istio-system".to_owned(), name: "ztunnel".to_owned() }],
            node: node.to_owned(),
        }
    }

    /// The one whom a good token speaks for, if that is who may ask here.
    ///
    /// # Errors
    /// It is another service account, or of another node.
    pub fn admit(&self, identity: Identity) -> Result<Identity, Refused> {
        let is_it = |it: &ServiceAccount| it.namespace == identity.namespace && it.name == identity.service_account;
        if !self.service_accounts.iter().any(is_it) {
            return Err(Refused::ServiceAccount { found: Quoted::new(&identity.to_string()) });
        }
        check_token_node(&identity, &self.node)?;
        Ok(identity)
    }
}

/// Verifies tokens with an issuer's keys.
pub struct IssuerKeys {
    keys: Reloaded<KeyFile>,
    expected: Expected,
    now: fn() -> SystemTime,
}

struct KeyFile(PathBuf);

impl Source for KeyFile {
    type Value = Keys;
    type Error = AuthError;
    const WHAT: &'static str = "the token issuer's keys";

    fn read(&self) -> Result<Vec<Vec<u8>>, AuthError> {
        Ok(vec![read_file(&self.0, JWKS_BYTES_MAX)?])
    }

    fn parse(&self, contents: &[Vec<u8>]) -> Result<Keys, AuthError> {
        Keys::parse(&contents.concat(), &self.0)
    }
}

impl IssuerKeys {
    /// With the key set in this file: JSON, up to 1 MiB and 64 keys. It is looked at again when a token comes, at most once
    /// a second; one that cannot be used does not replace the one before.
    ///
    /// # Errors
    /// If there is no usable key set to begin with.
    pub fn from_file(path: &Path, expected: Expected) -> Result<Self, AuthError> {
        Self::new(path, expected, LOOK_EVERY, SystemTime::now)
    }

    pub(super) fn new(
        path: &Path,
        expected: Expected,
        every: Duration,
        now: fn() -> SystemTime,
    ) -> Result<Self, AuthError> {
        Ok(Self { keys: Reloaded::new(KeyFile(path.into()), every)?, expected, now })
    }

    fn check(&self, token: &Token) -> Result<Identity, Refused> {
        let payload = jwt::verified(token.secret(), &self.keys.get())?;
        let now = (self.now)().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |it| it.as_secs());
        claims::identity(&payload, &self.expected, now)
    }
}

impl TokenVerifier for IssuerKeys {
    fn verify<'a>(&'a self, token: &'a Token) -> Verdict<'a> {
        // Some 50 µs of arithmetic, nothing to wait for.
        Box::pin(std::future::ready(self.check(token)))
    }

    fn problem(&self) -> Option<String> {
        self.keys.problem()
    }
}
