//! Asks the API server whom a token speaks for (authentication.k8s.io/v1 TokenReview). Knows of pods that are gone, which no
//! signature does.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::api::{Api, PostParams};

use crate::connect::Cluster;
use crate::error::{About, Error};

/// Where the API server says to which pod a token was issued, and on which node that is.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// What the API server says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reviewed {
    /// It is of a service account.
    ServiceAccount {
        /// The namespace of the account.
        namespace: String,
        /// Its name.
        name: String,
        /// The pod it was issued to.
        pod: Option<String>,
        /// The node of that pod (Kubernetes 1.30 and later).
        node: Option<String>,
    },
    /// It is good, but a user's.
    User(String),
    /// It is not good: why.
    NotGood(String),
}

impl Cluster {
    /// Has a token reviewed, which must be for one of the audiences.
    ///
    /// # Errors
    /// We may not ask, or nobody answers.
    pub async fn review_token(&self, token: &str, audiences: &[String]) -> Result<Reviewed, Error> {
        let about =
            About { verb: "create", group: "authentication.k8s.io", resource: "tokenreviews", namespace: "", name: "" };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(audiences.to_vec()) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let answer = api.create(&PostParams::default(), &review).await.map_err(|error| about.failed(error))?;
        let status = answer.status.unwrap_or_default();
        if status.authenticated != Some(true) {
            let why = status.error.unwrap_or_else(|| "the API server does not know it".to_owned());
            return Ok(Reviewed::NotGood(why));
        }
        // A server that does not know audiences says nothing of them; then it is for itself.
        let is_for_us = status.audiences.iter().flatten().any(|it| audiences.contains(it));
        if !is_for_us {
            return Ok(Reviewed::NotGood(format!("it is for {:?}", status.audiences.unwrap_or_default())));
        }
        Ok(whom(status.user.unwrap_or_default()))
    }
}

fn whom(user: UserInfo) -> Reviewed {
    let username = user.username.unwrap_or_default();
    let account = username.strip_prefix("system:serviceaccount:").and_then(|it| it.split_once(':'));
    let Some((namespace, name)) = account else { return Reviewed::User(username) };
    let extra = user.extra.unwrap_or_default();
    let first = |key: &str| extra.get(key)?.first().cloned();
    Reviewed::ServiceAccount {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        pod: first(POD_NAME),
        node: first(NODE_NAME),
    }
}
