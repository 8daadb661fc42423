//! Tokens of ztunnels, verified by the API server. What it found good is remembered for a while: a ztunnel that connects again
//! while the API server is away is still the one that was admitted.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use cluster::connect::{Access, Cluster};
use cluster::token_review::Reviewed;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, OnceCell};
use xds::auth::{Expected, Identity, Refused, Token, TokenVerifier, Verdict};

/// Within this time a token that was good is not asked for again.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// So long it counts while the API server does not answer: a projected token is renewed before an hour is over.
const GOOD_WITHOUT: Duration = Duration::from_secs(3600);
/// Tokens that are remembered. A node has one ztunnel, two during an upgrade, each with a new token every now and then.
const REMEMBERED_MAX: usize = 64;
/// How long an answer is waited for; a connection that has not shown a good token ends soon after.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct TokenReviews {
    access: Access,
    expected: Expected,
    /// Made by the first who asks, in the runtime that serves.
    cluster: OnceCell<Cluster>,
    /// By the digest of the token: the token itself is kept nowhere.
    good: Mutex<HashMap<[u8; 32], (Identity, Instant)>>,
}

impl TokenReviews {
    /// Takes tokens of these accounts, for these audiences; the issuer is the API server's business.
    pub(crate) fn new(access: Access, expected: Expected) -> Self {
        Self { access, expected, cluster: OnceCell::new(), good: Mutex::default() }
    }

    async fn review(&self, token: &Token) -> Result<Identity, Refused> {
        let digest: [u8; 32] = Sha256::digest(token.secret()).into();
        if let Some(identity) = self.remembered(&digest, GOOD_FOR).await {
            return Ok(identity);
        }
        let asked = async {
            let cluster = self.cluster.get_or_try_init(|| Cluster::connect(&self.access)).await?;
            cluster.review_token(token.secret(), &self.expected.audiences).await
        };
        let why = match tokio::time::timeout(WAIT_MAX, asked).await {
            Ok(Ok(reviewed)) => {
                let identity = self.admitted(reviewed);
                self.remember(digest, identity.as_ref().ok()).await;
                return identity;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("the API server does not answer within {} s", WAIT_MAX.as_secs()),
        };
        match self.remembered(&digest, GOOD_WITHOUT).await {
            Some(identity) => {
                tracing::warn!(%identity, "a token that was good before counts without having been reviewed: {why}");
                Ok(identity)
            }
            None => Err(Refused::NotReviewed { why }),
        }
    }

    fn admitted(&self, reviewed: Reviewed) -> Result<Identity, Refused> {
        match reviewed {
            Reviewed::ServiceAccount { namespace, name, pod, node } => {
                self.expected.admit(Identity { namespace, service_account: name, pod, node })
            }
            Reviewed::User(name) => Err(Refused::of_user(&name)),
            Reviewed::NotGood(why) => Err(Refused::NotAuthenticated { why }),
        }
    }

    async fn remembered(&self, digest: &[u8; 32], for_: Duration) -> Option<Identity> {
        let good = self.good.lock().await;
        good.get(digest).filter(|(_, at)| at.elapsed() < for_).map(|(identity, _)| identity.clone())
    }

    /// What is not good any more is forgotten at once.
    async fn remember(&self, digest: [u8; 32], identity: Option<&Identity>) {
        let mut good = self.good.lock().await;
        good.remove(&digest);
        let Some(identity) = identity else { return };
        if good.len() >= REMEMBERED_MAX
            && let Some(oldest) = good.iter().min_by_key(|(_, (_, at))| *at).map(|(digest, _)| *digest)
        {
            good.remove(&oldest);
        }
        good.insert(digest, (identity.clone(), Instant::now()));
    }
}

impl TokenVerifier for TokenReviews {
    fn verify<'a>(&'a self, token: &'a Token) -> Verdict<'a> {
        Box::pin(self.review(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reviews() -> TokenReviews {
        TokenReviews::new(Access::default(), Expected::of_istio("", "n1"))
    }

    fn of(namespace: &str, name: &str, node: &str) -> Reviewed {
        let (namespace, name, node) = (namespace.to_owned(), name.to_owned(), Some(node.to_owned()));
        Reviewed::ServiceAccount { namespace, name, pod: None, node }
    }

    #[test]
    fn only_the_ztunnel_of_this_node_is_admitted() {
        let reviews = reviews();
        assert!(reviews.admitted(of("istio-system", "ztunnel", "n1")).is_ok());
        let refused = |reviewed, why: &str| {
            let refused = reviews.admitted(reviewed).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        };
        refused(of("shop", "cart", "n1"), "only ztunnel's may ask");
        refused(of("istio-system", "ztunnel", "n2"), "internalTrafficPolicy");
        refused(Reviewed::User("jane".to_owned()), "jane");
        refused(Reviewed::NotGood("it expired".to_owned()), "it expired");
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded_and_what_is_refused_is_forgotten() {
        let reviews = reviews();
        let identity = reviews.admitted(of("istio-system", "ztunnel", "n1")).unwrap();
        for at in 0..=REMEMBERED_MAX {
            reviews.remember([u8::try_from(at).unwrap(); 32], Some(&identity)).await;
        }
        assert_eq!(reviews.good.lock().await.len(), REMEMBERED_MAX);
        assert!(reviews.remembered(&[0; 32], GOOD_FOR).await.is_none());
        assert!(reviews.remembered(&[1; 32], GOOD_FOR).await.is_some());
        reviews.remember([1; 32], None).await;
        assert!(reviews.remembered(&[1; 32], GOOD_WITHOUT).await.is_none());
    }
}
