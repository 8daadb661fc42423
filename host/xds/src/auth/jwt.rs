//! A JSON Web Token in its compact form: three parts, and a signature over the first two (RFC 7515, section 7.1).
//!
//! Only what tokens of service accounts are: one signature, RS256 or ES256, a key that is named. What such a token claims
//! is in [`super::claims`]. Nothing of the payload is looked at before the signature was found good.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::keys::Keys;
use super::{Quoted, Refused};

/// The part that says how it is signed. Fields that are not here change nothing about that, but for `crit`.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    // Extensions that must be understood; we understand none (section 4.1.11).
    crit: Option<serde::de::IgnoredAny>,
}

/// A way to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Es256,
}

impl Algorithm {
    /// By its name in RFC 7518, section 3.1.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            _ => None,
        }
    }
}

/// The payload of a token that one of these keys signed.
pub(super) fn verified(token: &str, keys: &Keys) -> Result<Vec<u8>, Refused> {
    let (signed, signature) = token.rsplit_once('.').ok_or(Refused::Malformed("no dot in it"))?;
    let (header, payload) = signed.split_once('.').ok_or(Refused::Malformed("one dot in it, not two"))?;
    let header: Header = serde_json::from_slice(&decoded(header, "the header is not base64")?)
        .map_err(|_| Refused::Malformed("the header is not that of a signed token"))?;
    if header.crit.is_some() {
        return Err(Refused::Malformed("the header has critical extensions"));
    }
    let algorithm =
        Algorithm::named(&header.alg).ok_or_else(|| Refused::Algorithm { algorithm: Quoted::new(&header.alg) })?;
    let kid = header.kid.ok_or(Refused::Malformed("it names no key"))?;
    let signature = decoded(signature, "the signature is not base64")?;
    // The key says how it may be used: a token that asks for another algorithm finds none.
    let mut found = keys.find(&kid, algorithm).peekable();
    if found.peek().is_none() {
        return Err(Refused::UnknownKey { key: Quoted::new(&kid) });
    }
    if !found.any(|key| key.signed(signed.as_bytes(), &signature)) {
        return Err(Refused::Signature);
    }
    decoded(payload, "the payload is not base64")
}

fn decoded(part: &str, otherwise: &'static str) -> Result<Vec<u8>, Refused> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Malformed(otherwise))
}
