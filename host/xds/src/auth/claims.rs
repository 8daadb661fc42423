//! What a token of a Kubernetes service account claims, and whether that is what we expect. The signature was found good
//! before; the time is handed in.

use serde::Deserialize;

use super::issuer::Expected;
use super::{Identity, Quoted, Refused};

/// How far the clocks of this node and of the issuer may be apart, in seconds.
pub(super) const LEEWAY: u64 = 60;

/// The claims we read, each as JSON first: a wrong type is then said of the claim that has it.
#[derive(Deserialize)]
struct Claims {
    iss: Option<serde_json::Value>,
    aud: Option<serde_json::Value>,
    sub: Option<serde_json::Value>,
    exp: Option<serde_json::Value>,
    nbf: Option<serde_json::Value>,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Option<serde_json::Value>,
}

/// One or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct Kubernetes {
    namespace: String,
    serviceaccount: Named,
    pod: Option<Named>,
    node: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// Whom the payload of a verified token speaks for, `now` in seconds since 1970.
pub(super) fn identity(payload: &[u8], expected: &Expected, now: u64) -> Result<Identity, Refused> {
    let claims: Claims =
        serde_json::from_slice(payload).map_err(|_| Refused::Malformed("the payload is not an object of claims"))?;
    check_times(&claims, now)?;
    let issuer: String = claim(claims.iss, "iss")?;
    if issuer != expected.issuer {
        return Err(Refused::Issuer { issuer: Quoted::new(&issuer) });
    }
    check_audience(claim(claims.aud, "aud")?, expected)?;

    let subject: String = claim(claims.sub, "sub")?;
    let kubernetes: Kubernetes = claim(claims.kubernetes, "kubernetes.io")?;
    let identity = Identity {
        namespace: kubernetes.namespace,
        service_account: kubernetes.serviceaccount.name,
        pod: kubernetes.pod.map(|it| it.name),
        node: kubernetes.node.map(|it| it.name),
    };
    // Said twice by the API server; if both differ it was not that which made the token.
    if subject != format!("system:serviceaccount:{}:{}", identity.namespace, identity.service_account) {
        return Err(Refused::Claim { claim: "sub" });
    }
    expected.admit(identity)
}

fn check_times(claims: &Claims, now: u64) -> Result<(), Refused> {
    let end: u64 = claim(claims.exp.clone(), "exp")?;
    if now >= end.saturating_add(LEEWAY) {
        return Err(Refused::Expired { ago: now - end });
    }
    if let Some(start) = &claims.nbf {
        let start: u64 = claim(Some(start.clone()), "nbf")?;
        if now.saturating_add(LEEWAY) < start {
            return Err(Refused::NotYet { wait: start - now });
        }
    }
    Ok(())
}

fn check_audience(audiences: Audiences, expected: &Expected) -> Result<(), Refused> {
    let audiences = match audiences {
        Audiences::One(audience) => vec![audience],
        Audiences::Several(audiences) => audiences,
    };
    if audiences.iter().any(|it| expected.audiences.contains(it)) {
        return Ok(());
    }
    Err(Refused::Audience { audience: Quoted::new(audiences.first().map_or("", String::as_str)) })
}

/// A claim that must be there, and of its type.
fn claim<T: serde::de::DeserializeOwned>(value: Option<serde_json::Value>, claim: &'static str) -> Result<T, Refused> {
    value.and_then(|it| serde_json::from_value(it).ok()).ok_or(Refused::Claim { claim })
}
