//! The keys of an issuer, from a JSON Web Key Set (RFC 7517).
//!
//! Keys that cannot be used for RS256 or ES256 are passed over, for a set may have others; a set without any is refused.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

use super::AuthError;
use super::jwt::Algorithm;

/// Bytes of a key set.
pub(super) const JWKS_BYTES_MAX: u64 = 1 << 20;
/// Keys in a set.
pub(super) const KEYS_MAX: usize = 64;

#[derive(Deserialize)]
struct KeySet {
    // Read one by one: a key of a future kind must not make the others unusable.
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct JsonKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The public half of a key.
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    // A point, uncompressed: 4, x, y.
    P256(Vec<u8>),
}

/// One key, usable.
pub(super) struct Key {
    kid: String,
    material: Material,
}

impl Key {
    /// Of JSON, or why not.
    fn new(json: serde_json::Value) -> Result<Self, &'static str> {
        let json: JsonKey = serde_json::from_value(json).map_err(|_| "not a key")?;
        let kid = json.kid.ok_or("it has no kid")?;
        if json.usage.is_some_and(|it| it != "sig") {
            return Err("it is not for signatures");
        }
        let (material, algorithm) = match json.kty.as_str() {
            "RSA" => (rsa(json.n, json.e)?, Algorithm::Rs256),
            "EC" => (p256(json.crv, json.x, json.y)?, Algorithm::Es256),
            _ => return Err("it is neither RSA nor EC"),
        };
        if json.alg.is_some_and(|it| Algorithm::named(&it) != Some(algorithm)) {
            return Err("it is for another algorithm");
        }
        Ok(Self { kid, material })
    }

    fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Rsa { .. } => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
        }
    }

    /// Whether this key signed the message.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match &self.material {
            Material::Rsa { modulus, exponent } => RsaPublicKeyComponents { n: modulus, e: exponent }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
            Material::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature),
        };
        verified.is_ok()
    }
}

/// The keys of a set, at least one.
pub(super) struct Keys(Vec<Key>);

impl Keys {
    /// Of a file's contents; the path is for messages.
    pub(super) fn parse(contents: &[u8], path: &Path) -> Result<Self, AuthError> {
        let set: KeySet =
            serde_json::from_slice(contents).map_err(|source| AuthError::Keys { path: path.into(), source })?;
        if set.keys.len() > KEYS_MAX {
            return Err(AuthError::TooManyKeys { path: path.into(), found: set.keys.len() });
        }
        let mut first = None;
        let mut keys = Vec::new();
        for json in set.keys {
            match Key::new(json) {
                Ok(key) => keys.push(key),
                Err(why) => {
                    tracing::debug!(path = %path.display(), "a key of the issuer's is passed over: {why}");
                    first.get_or_insert(why);
                }
            }
        }
        if keys.is_empty() {
            return Err(AuthError::NoKey { path: path.into(), first });
        }
        Ok(Self(keys))
    }

    /// Those of this name that sign in this way: one, as a rule.
    pub(super) fn find<'a>(&'a self, kid: &'a str, algorithm: Algorithm) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(move |key| key.kid == kid && key.algorithm() == algorithm)
    }
}

fn rsa(n: Option<String>, e: Option<String>) -> Result<Material, &'static str> {
    let modulus = number(n).ok_or("its modulus is not base64")?;
    let exponent = number(e).ok_or("its exponent is not base64")?;
    // As the signature's algorithm has it, said here and not at each token.
    if !(256..=1024).contains(&modulus.len()) || !(1..=5).contains(&exponent.len()) {
        return Err("it does not have 2048 to 8192 bits");
    }
    Ok(Material::Rsa { modulus, exponent })
}

fn p256(curve: Option<String>, x: Option<String>, y: Option<String>) -> Result<Material, &'static str> {
    if curve.as_deref() != Some("P-256") {
        return Err("its curve is not P-256");
    }
    let mut point = vec![4];
    for coordinate in [x, y] {
        let coordinate = coordinate.and_then(|it| URL_SAFE_NO_PAD.decode(it).ok()).filter(|it| it.len() == 32);
        point.extend(coordinate.ok_or("its point is not two numbers of 32 bytes")?);
    }
    Ok(Material::P256(point))
}

/// A number, without the zeros some write before it.
fn number(text: Option<String>) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text?).ok()?;
    let start = bytes.iter().position(|it| *it != 0)?;
    bytes.get(start..).map(<[u8]>::to_vec)
}
