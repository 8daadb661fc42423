//! Who may ask: a ztunnel says who it is by a bearer token, and is told nothing before the token was found good.
//!
//! What is wrong with a token is for the operator, in the log and in counters; the client hears only that it is not
//! authenticated. A token is never written anywhere, and never sent on. What an admitted client may ask is not decided here:
//! it is this node's ztunnel ([`check_node`]), which may know the mesh.

use std::fmt;
use std::pin::Pin;

use tonic::metadata::MetadataMap;

use crate::files::FileError;

mod claims;
mod issuer;
mod jwt;
mod keys;
mod static_token;

pub use issuer::{Expected, IssuerKeys, ServiceAccount};
pub use static_token::{StaticToken, TOKEN_FILE};

/// Bytes of a token. One of a Kubernetes service account has some 1,200.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;

/// A bearer token. It cannot be printed.
pub struct Token(Box<str>);

impl Token {
    /// # Errors
    /// If it is empty, longer than [`TOKEN_BYTES_MAX`], or has other characters than the visible ones of ASCII.
    pub fn new(text: &str) -> Result<Self, Refused> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Refused::TooLong { bytes: text.len() });
        }
        if text.is_empty() || !text.bytes().all(|it| it.is_ascii_graphic()) {
            return Err(Refused::Malformed("it is empty, or has spaces or characters that are not ASCII"));
        }
        Ok(Self(text.into()))
    }

    /// The secret itself, for those who verify it. To be written nowhere.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The token of a request: its one `authorization: Bearer …`. Nothing if there is none, or several, or one that no
/// token can be.
pub fn bearer(metadata: &MetadataMap) -> Option<Token> {
    let mut values = metadata.get_all("authorization").iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    Token::new(token.trim_matches(' ')).ok()
}

/// Whom a good token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The namespace of its service account.
    pub namespace: String,
    /// The service account.
    pub service_account: String,
    /// The pod it was issued to, where the token says so.
    pub pod: Option<String>,
    /// The node of that pod, where the token says so (Kubernetes 1.30 and later).
    pub node: Option<String>,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.service_account)?;
        self.pod.iter().try_for_each(|pod| write!(f, ", pod {pod}"))?;
        self.node.iter().try_for_each(|node| write!(f, ", node {node}"))
    }
}

/// What becomes of a token, in time.
pub type Verdict<'a> = Pin<Box<dyn Future<Output = Result<Identity, Refused>> + Send + 'a>>;

/// Tells good tokens from others.
pub trait TokenVerifier: Send + Sync {
    /// Whom the token speaks for.
    ///
    /// # Errors
    /// Why it is refused.
    fn verify<'a>(&'a self, token: &'a Token) -> Verdict<'a>;

    /// What is wrong with the files behind this, while an earlier state is used.
    fn problem(&self) -> Option<String> {
        None
    }
}

/// Why a token is refused. For the operator: a client is told [`Refused::status`]. What is quoted of a token is cut and
/// escaped, and never a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No request of ztunnel's.
    #[error("the request has no bearer token: mount a token into ztunnel's pod and name it in AUTH_TOKEN")]
    Missing,
    /// See [`TOKEN_BYTES_MAX`].
    #[error("the token has {bytes} bytes, {TOKEN_BYTES_MAX} are the limit: look at what AUTH_TOKEN of ztunnel names")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is not what a token looks like.
    #[error("not a service account's token ({0}): look at what AUTH_TOKEN of ztunnel names")]
    Malformed(&'static str),
    /// Not the one in the file.
    #[error("not the token in the agent's file: let AUTH_TOKEN of ztunnel name the same file")]
    Other,
    /// A way to sign that is not accepted.
    #[error("signed with {algorithm}, accepted are RS256 and ES256")]
    Algorithm {
        /// What the token says.
        algorithm: Quoted,
    },
    /// A key that the issuer does not have.
    #[error(
        "signed with the key {key}, which is not among the issuer's: if they were replaced, write the new key set to the agent's file"
    )]
    UnknownKey {
        /// What the token says.
        key: Quoted,
    },
    /// Signed by somebody else, or changed.
    #[error("the signature is wrong: the token was not issued by this cluster, or was changed")]
    Signature,
    /// A claim is missing or not of its type.
    #[error("the claim {claim} is missing or not what it should be: use a projected service account token")]
    Claim {
        /// The claim.
        claim: &'static str,
    },
    /// Of another cluster.
    #[error("issued by {issuer}: set the agent's expected issuer to that of the API server if this is it")]
    Issuer {
        /// What the token says.
        issuer: Quoted,
    },
    /// For somebody else.
    #[error("issued for the audience {audience}: let the audience of ztunnel's token be one the agent expects")]
    Audience {
        /// The first that the token names.
        audience: Quoted,
    },
    /// Its time is over.
    #[error(
        "it ran out {ago} s ago: the kubelet renews a projected token; look whether ztunnel reads that file, and at the clocks"
    )]
    Expired {
        /// Seconds.
        ago: u64,
    },
    /// Its time has not come.
    #[error("it is valid in {wait} s: look at the clocks of this node and of the API server")]
    NotYet {
        /// Seconds.
        wait: u64,
    },
    /// Good, but not of a ztunnel.
    #[error(
        "it is of service account {found}: only ztunnel's may ask; name it in the agent's settings if it is another one"
    )]
    ServiceAccount {
        /// Namespace and name.
        found: Quoted,
    },
    /// The API server says no.
    #[error("the API server does not take it: {why}")]
    NotAuthenticated {
        /// What it says.
        why: String,
    },
    /// The API server was to be asked, and cannot.
    #[error("nobody can say whether it is good: {why}")]
    NotReviewed {
        /// Why not.
        why: String,
    },
    /// Good, but of another node's ztunnel.
    #[error(transparent)]
    Node(#[from] WrongNode),
}

impl Refused {
    /// A good token of somebody who is no service account.
    pub fn of_user(name: &str) -> Self {
        Self::ServiceAccount { found: Quoted::new(name) }
    }

    /// What the client is told, whatever the reason.
    pub fn status(&self) -> tonic::Status {
        tonic::Status::unauthenticated("unauthenticated")
    }
}

/// A word of a client's, cut to 64 characters and escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    fn new(text: &str) -> Self {
        const MAX: usize = 64;
        let mut quoted: String = text.chars().take(MAX).flat_map(char::escape_debug).collect();
        if text.chars().nth(MAX).is_some() {
            quoted.push('…');
        }
        Self(quoted)
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// Why a ztunnel is not the one of this node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongNode {
    /// By its token.
    #[error(
        "its token is of node {found}, this is {here}: the Service of the agent needs internalTrafficPolicy: Local"
    )]
    Token {
        /// The node of the token's pod.
        found: Quoted,
        /// This node.
        here: String,
    },
    /// By what it says.
    #[error(
        "it says it is on node {found}, this is {here}: the Service of the agent needs internalTrafficPolicy: Local, and both the same node name"
    )]
    Said {
        /// `NODE_NAME` in the metadata of its Node.
        found: Quoted,
        /// This node.
        here: String,
    },
    /// It does not say.
    #[error("it does not say on which node it is: set NODE_NAME in ztunnel's environment")]
    Unsaid,
}

/// Whether a client is of this node: by its token, where that names a node, and by what it says of itself. What it says is no
/// proof, but another node's ztunnel that came here by mistake would be given this node's decisions.
///
/// # Errors
/// Why it is not.
pub fn check_node(identity: &Identity, node_name: Option<&str>, this_node: &str) -> Result<(), WrongNode> {
    check_token_node(identity, this_node)?;
    match node_name.filter(|it| !it.is_empty()) {
        None => Err(WrongNode::Unsaid),
        Some(said) if said == this_node => Ok(()),
        Some(said) => Err(WrongNode::Said { found: Quoted::new(said), here: this_node.to_owned() }),
    }
}

fn check_token_node(identity: &Identity, this_node: &str) -> Result<(), WrongNode> {
    match identity.node.as_deref() {
        Some(node) if node != this_node => {
            Err(WrongNode::Token { found: Quoted::new(node), here: this_node.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Why there is nothing to verify tokens with.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The token in the file.
    #[error("{} holds no token of {min} to {TOKEN_BYTES_MAX} visible characters on one line: put one there, or remove the file and a new one is made", path.display(), min = static_token::TOKEN_BYTES_MIN)]
    Token {
        /// The file.
        path: std::path::PathBuf,
    },
    /// The key set in the file.
    #[error("{} is not a JSON Web Key Set: get it with `kubectl get --raw /openid/v1/jwks`", path.display())]
    Keys {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// More than can be meant.
    #[error("{} has {found} keys, {max} are the limit", path.display(), max = keys::KEYS_MAX)]
    TooManyKeys {
        /// The file.
        path: std::path::PathBuf,
        /// How many.
        found: usize,
    },
    /// Keys, but none for RS256 or ES256.
    #[error("{} has no usable key: RSA of 2048 to 8192 bits or EC P-256 with a kid, for signatures, is expected{}", path.display(), first.map(|it| format!(" (the first is not: {it})")).unwrap_or_default())]
    NoKey {
        /// The file.
        path: std::path::PathBuf,
        /// Why the first is not usable, if there are any.
        first: Option<&'static str>,
    },
    /// The system gave no random numbers.
    #[error("the system gives no random numbers, so no token can be made: put one into {}", path.display())]
    Random {
        /// The file.
        path: std::path::PathBuf,
    },
}

#[cfg(test)]
mod tests;
