//! Serving ztunnels: the settings of it, and how they become a sink and a server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use cluster::connect::Access;
use cluster::namespaced_name::NamespacedName;
use imbl::OrdMap;
use model::learned::{service_with_host, workload_of_uid};
use model::table::{Row, RowKey};
use model::{Facts, Table};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use xds::auth::{Expected, Identity, IssuerKeys, ServiceAccount, StaticToken, TokenVerifier};
use xds::client;
use xds::client::node::NodeIdentity;
use xds::client::status::{Freshness, Status};
use xds::clients::{Client, Clients, Progress, Rejection};
use xds::fallback::{Fallback, Objections, Outlet};
use xds::mesh::Options;
use xds::resource::{Resource, ResourceType, Snapshot};
use xds::server::{self, Server};
use xds::sink::XdsSink;
use xds::tls::incoming::{self, incoming};
use xds::tls::{SelfSigned, ServerTls, Versions};

use crate::learned::Learned;
use crate::token_review::TokenReviews;

/// Where the agent keeps what it makes for itself.
const DEFAULT_DIR: &str = "/var/lib/wayswitch/xds";

/// How often the certificate is looked at without a connection.
const REFRESH_EVERY: Duration = Duration::from_secs(600);

/// The audience of the tokens that ztunnel has.
const DEFAULT_AUDIENCE: &str = "istio-ca";

/// Flags of `wayswitch agent` about ztunnel; in its configuration file they are keys of `xds`.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct XdsFlags {
    /// Serve ztunnels the mesh at this ADDRESS:PORT, over TLS: what XDS_ADDRESS of a ztunnel points at. Not set: none is
    /// served
    #[arg(id = "xds-listen", long = "xds-listen", env = "WAYSWITCH_XDS_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Certificate chain of the server, PEM; followed when it changes [default: one that the agent signs itself]
    #[arg(id = "xds-cert", long = "xds-cert", env = "WAYSWITCH_XDS_CERT", value_name = "FILE", requires = "xds-key")]
    pub cert: Option<PathBuf>,
    /// Private key of the server, PEM
    #[arg(id = "xds-key", long = "xds-key", env = "WAYSWITCH_XDS_KEY", value_name = "FILE", requires = "xds-cert")]
    pub key: Option<PathBuf>,
    /// Folder for what the agent makes for itself where it is not given: shared/root-cert.pem for XDS_ROOT_CA of ztunnel,
    /// and keys and a token in private/ [default: /var/lib/wayswitch/xds]
    #[arg(id = "xds-dir", long = "xds-dir", env = "WAYSWITCH_XDS_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// A name or address by which ztunnels reach the agent, for the certificate that it signs itself; may be given several
    /// times [default: localhost and the address of --xds-listen]
    #[arg(id = "xds-name", long = "xds-name", env = "WAYSWITCH_XDS_NAMES", value_name = "NAME", value_delimiter = ',')]
    pub names: Vec<String>,
    /// File with the token that ztunnels must show, for AUTH_TOKEN of ztunnel [default: one that the agent makes, in
    /// private/ of --xds-dir]
    #[arg(
        id = "xds-token",
        long = "xds-token",
        env = "WAYSWITCH_XDS_TOKEN",
        value_name = "FILE",
        conflicts_with = "xds-issuer-keys"
    )]
    pub token: Option<PathBuf>,
    /// File with the keys (JWKS) of the issuer of service account tokens: ztunnels show such a token instead
    #[arg(id = "xds-issuer-keys", long = "xds-issuer-keys", env = "WAYSWITCH_XDS_ISSUER_KEYS", value_name = "FILE")]
    pub issuer_keys: Option<PathBuf>,
    /// Ask the API server whether ztunnels' service account tokens are good, in the place of --xds-issuer-keys [default: false]
    #[arg(
        id = "xds-token-review",
        long = "xds-token-review",
        env = "WAYSWITCH_XDS_TOKEN_REVIEW",
        num_args = 0..=1,
        default_missing_value = "true",
        conflicts_with_all = ["xds-issuer-keys", "xds-token"]
    )]
    pub token_review: Option<bool>,
    /// The issuer that service account tokens must name
    #[arg(
        id = "xds-issuer",
        long = "xds-issuer",
        env = "WAYSWITCH_XDS_ISSUER",
        value_name = "URL",
        requires = "xds-issuer-keys"
    )]
    pub issuer: Option<String>,
    /// The audience that service account tokens must be for [default: istio-ca]
    #[arg(id = "xds-audience", long = "xds-audience", env = "WAYSWITCH_XDS_AUDIENCE", value_name = "NAME")]
    pub audience: Option<String>,
    /// Whose tokens are taken [default: istio-system/ztunnel]
    #[arg(
        id = "xds-service-account",
        long = "xds-service-account",
        env = "WAYSWITCH_XDS_SERVICE_ACCOUNT",
        value_name = "NAMESPACE/NAME"
    )]
    pub service_account: Option<NamespacedName>,
    /// Never send a waypoint's own Service to a waypoint, whatever was decided. Istio has no such guard [default: true]
    #[arg(
        id = "xds-guard-waypoints",
        long = "xds-guard-waypoints",
        env = "WAYSWITCH_XDS_GUARD_WAYPOINTS",
        value_name = "true|false"
    )]
    pub guard_waypoints: Option<bool>,
    /// Take the mesh from this control plane, HOST:PORT: istiod's. May be given several times, the preferred one first. Not
    /// set: ztunnels are told the manifests' mesh
    #[arg(
        id = "upstream",
        long = "upstream",
        env = "WAYSWITCH_UPSTREAM",
        value_name = "ADDRESS",
        value_delimiter = ','
    )]
    pub upstream: Vec<String>,
    /// Certificates that may have signed the control plane's, PEM
    #[arg(id = "upstream-ca", long = "upstream-ca", env = "WAYSWITCH_UPSTREAM_CA", value_name = "FILE")]
    pub upstream_ca: Option<PathBuf>,
    /// The agent's own token for the control plane; read again for every attempt
    #[arg(id = "upstream-token", long = "upstream-token", env = "WAYSWITCH_UPSTREAM_TOKEN", value_name = "FILE")]
    pub upstream_token: Option<PathBuf>,
    /// The name that the control plane's certificate must have [default: the host of --upstream]
    #[arg(id = "upstream-name", long = "upstream-name", env = "WAYSWITCH_UPSTREAM_NAME", value_name = "NAME")]
    pub upstream_name: Option<String>,
    /// Let rules choose waypoints that the control plane did not program for a service: the waypoints accept them
    #[arg(
        id = "allow-unprogrammed",
        long = "allow-unprogrammed",
        env = "WAYSWITCH_ALLOW_UNPROGRAMMED",
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub allow_unprogrammed: Option<bool>,
}

impl XdsFlags {
    /// These, and what the file says beside them.
    pub(crate) fn or(self, file: Self) -> Self {
        Self {
            listen: self.listen.or(file.listen),
            cert: self.cert.or(file.cert),
            key: self.key.or(file.key),
            dir: self.dir.or(file.dir),
            names: if self.names.is_empty() { file.names } else { self.names },
            token: self.token.or(file.token),
            issuer_keys: self.issuer_keys.or(file.issuer_keys),
            issuer: self.issuer.or(file.issuer),
            token_review: self.token_review.or(file.token_review),
            audience: self.audience.or(file.audience),
            service_account: self.service_account.or(file.service_account),
            guard_waypoints: self.guard_waypoints.or(file.guard_waypoints),
            upstream: if self.upstream.is_empty() { file.upstream } else { self.upstream },
            upstream_ca: self.upstream_ca.or(file.upstream_ca),
            upstream_token: self.upstream_token.or(file.upstream_token),
            upstream_name: self.upstream_name.or(file.upstream_name),
            allow_unprogrammed: self.allow_unprogrammed.or(file.allow_unprogrammed),
        }
    }
}

/// How ztunnels are served, complete and checked.
#[derive(Clone, Debug)]
pub struct XdsConfig {
    /// Where.
    pub listen: SocketAddr,
    /// This node; none: ztunnels of any node are served.
    pub node: Option<String>,
    /// The control plane, if there is one.
    pub upstream: Option<UpstreamConfig>,
    options: Options,
    certificate: CertificateFrom,
    tokens: TokensFrom,
}

/// The control plane.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// How it is reached.
    pub client: client::Config,
    /// The folder of the last mesh that it told.
    pub state: PathBuf,
    /// Rules may choose what it did not program.
    pub allow_unprogrammed: bool,
    /// A waypoint's own Service is not sent to a waypoint.
    pub guard_waypoint_services: bool,
}

#[derive(Clone, Debug)]
enum CertificateFrom {
    Files { cert: PathBuf, key: PathBuf },
    Own(SelfSigned),
}

#[derive(Clone, Debug)]
enum TokensFrom {
    File(PathBuf),
    MadeIn(PathBuf),
    Issuer { keys: PathBuf, expected: Expected },
    Review { access: Access, expected: Expected },
}

impl XdsFlags {
    /// Checks everything and fills in the defaults; none where nobody is to be served.
    ///
    /// # Errors
    /// The first setting that is missing or makes no sense.
    pub(crate) fn check(
        self,
        node: Option<&str>,
        cluster_id: &str,
        access: &Access,
    ) -> anyhow::Result<Option<XdsConfig>> {
        let Some(listen) = self.listen else {
            if !self.upstream.is_empty() {
                bail!("--upstream needs --xds-listen: what the control plane says is for ztunnels");
            }
            return Ok(None);
        };
        let dir = self.dir.unwrap_or_else(|| DEFAULT_DIR.into());
        let dir = std::path::absolute(&dir).with_context(|| format!("--xds-dir {}", dir.display()))?;
        let private = dir.join("private");
        let options = Options { guard_waypoint_services: self.guard_waypoints.unwrap_or(true) };
        let upstream = (!self.upstream.is_empty()).then(|| UpstreamConfig {
            client: client::Config {
                addresses: self.upstream,
                roots: self.upstream_ca,
                server_name: self.upstream_name,
                token: self.upstream_token,
                node: NodeIdentity { node_name: node.unwrap_or_default().to_owned(), ..of_this_pod() },
                cluster_id: Some(cluster_id.to_owned()),
                ..client::Config::default()
            },
            state: dir.join("state"),
            allow_unprogrammed: self.allow_unprogrammed.unwrap_or_default(),
            guard_waypoint_services: options.guard_waypoint_services,
        });
        if let Some(upstream) = &upstream {
            upstream.client.check().context("--upstream")?;
        }
        let certificate = match (self.cert, self.key) {
            (Some(cert), Some(key)) => CertificateFrom::Files { cert, key },
            (None, None) => {
                let mut names = self.names;
                if names.is_empty() {
                    names = vec!["localhost".to_owned()];
                    names.extend((!listen.ip().is_unspecified()).then(|| listen.ip().to_string()));
                }
                CertificateFrom::Own(SelfSigned { private: private.clone(), shared: dir.join("shared"), names })
            }
            (Some(_), None) => bail!("--xds-cert needs --xds-key"),
            (None, Some(_)) => bail!("--xds-key needs --xds-cert"),
        };
        let expected = |issuer: &str, flag: &str| {
            let node =
                node.with_context(|| format!("{flag} needs --node-name: tokens of other nodes are not taken"))?;
            anyhow::Ok(Expected {
                audiences: vec![self.audience.clone().unwrap_or_else(|| DEFAULT_AUDIENCE.to_owned())],
                service_accounts: vec![self.service_account.map_or_else(of_ztunnel, account)],
                ..Expected::of_istio(issuer, node)
            })
        };
        let tokens = match (self.issuer_keys, self.token, self.token_review.unwrap_or_default()) {
            (Some(keys), None, false) => {
                let issuer = self.issuer.as_deref().context("--xds-issuer-keys needs --xds-issuer")?;
                TokensFrom::Issuer { keys, expected: expected(issuer, "--xds-issuer-keys")? }
            }
            (None, None, true) => {
                TokensFrom::Review { access: access.clone(), expected: expected("", "--xds-token-review")? }
            }
            (None, Some(file), false) => TokensFrom::File(file),
            (None, None, false) => TokensFrom::MadeIn(private),
            _ => {
                bail!("--xds-token, --xds-issuer-keys and --xds-token-review: only one can say whose tokens are taken")
            }
        };
        Ok(Some(XdsConfig { listen, node: node.map(str::to_owned), upstream, options, certificate, tokens }))
    }
}

/// What the chart puts into the environment of a pod.
fn of_this_pod() -> NodeIdentity {
    let variable = |name| std::env::var(name).unwrap_or_default();
    NodeIdentity {
        name: variable("POD_NAME"),
        namespace: variable("POD_NAMESPACE"),
        instance_ip: variable("INSTANCE_IP").parse().ok(),
        ..NodeIdentity::default()
    }
}

fn account(name: NamespacedName) -> ServiceAccount {
    ServiceAccount { namespace: name.namespace, name: name.name }
}

/// Who a ztunnel is that Istio's chart installs.
fn of_ztunnel() -> ServiceAccount {
    ServiceAccount { namespace: "istio-system".to_owned(), name: "ztunnel".to_owned() }
}

/// Everything about serving ztunnels but the sockets.
pub(crate) struct Xds {
    config: XdsConfig,
    tls: ServerTls,
    verifier: Arc<dyn TokenVerifier>,
    newest: watch::Receiver<Arc<Snapshot>>,
    objections: Objections,
    clients: Arc<Clients>,
}

/// Where what ztunnels are told comes from.
pub(crate) enum Feed {
    /// Objects and decisions.
    Sink(Box<XdsSink>),
    /// What a control plane says: whoever follows it publishes here.
    Upstream(Box<UpstreamConfig>, Outlet),
}

impl Xds {
    /// Opens what is needed, and what feeds it.
    pub(crate) fn open(config: &XdsConfig) -> anyhow::Result<(Self, Feed)> {
        let tls = match &config.certificate {
            CertificateFrom::Files { cert, key } => ServerTls::from_files(cert, key, Versions::default()),
            CertificateFrom::Own(own) => ServerTls::self_signed(own, Versions::default()),
        };
        // Whoever has the token is taken for it.
        let ztunnel = || {
            let ServiceAccount { namespace, name: service_account } = of_ztunnel();
            Identity { namespace, service_account, pod: None, node: None }
        };
        let verifier: Arc<dyn TokenVerifier> = match &config.tokens {
            TokensFrom::File(path) => Arc::new(StaticToken::from_file(path, ztunnel())?),
            TokensFrom::MadeIn(folder) => Arc::new(StaticToken::made_in(folder, ztunnel())?),
            TokensFrom::Review { access, expected } => Arc::new(TokenReviews::new(access.clone(), expected.clone())),
            TokensFrom::Issuer { keys, expected } => Arc::new(IssuerKeys::from_file(keys, expected.clone())?),
        };
        let clients = Arc::new(Clients::default());
        let (feed, newest, objections) = match &config.upstream {
            None => {
                let (sink, newest) = XdsSink::new(config.options.clone(), Arc::clone(&clients));
                let objections = sink.objections();
                (Feed::Sink(Box::new(sink)), newest, objections)
            }
            Some(upstream) => {
                let (outlet, newest) = Outlet::new();
                let objections = outlet.objections();
                (Feed::Upstream(Box::new(upstream.clone()), outlet), newest, objections)
            }
        };
        Ok((Self { config: config.clone(), tls: tls?, verifier, newest, objections, clients }, feed))
    }

    /// What ztunnels are told.
    pub(crate) fn newest(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.newest.clone()
    }

    /// Who is connected.
    pub(crate) fn clients(&self) -> Arc<Clients> {
        Arc::clone(&self.clients)
    }

    /// Serves until `stop` is ready and all streams have ended, which they do when the sink is gone.
    pub(crate) async fn serve(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let listen = self.config.listen;
        let listener = TcpListener::bind(listen).await.with_context(|| format!("xDS cannot listen on {listen}"))?;
        tracing::info!(address = %listener.local_addr()?, "xDS listens");
        let incoming = incoming(listener, &self.tls, incoming::Limits::default());
        let config = server::Config { node: self.config.node, ..server::Config::default() };
        let server = Server::new(config, self.newest, self.verifier, self.clients).with_objections(self.objections);
        tokio::select! {
            served = server::serve(server, incoming, stop) => Ok(served?),
            () = refresh(self.tls) => Ok(()),
        }
    }
}

/// What `/xds` of admin says.
pub(crate) fn to_json(clients: &Clients, newest: &Snapshot) -> Value {
    let progress = |(of, it): (&ResourceType, &Progress)| {
        let value = json!({ "responses": it.sent, "resources": it.resources, "answered": it.answered,
            "sent": { "rules": it.rules_sent, "revision": it.revision_sent },
            "acknowledged": { "rules": it.rules, "revision": it.revision } });
        (of.url().rsplit('.').next().unwrap_or_default().to_owned(), value)
    };
    let client = |it: &Client| {
        json!({ "id": it.id, "peer": it.peer.map(|peer| peer.to_string()), "identity": it.identity, "node": it.node,
            "seconds": it.since.elapsed().as_secs(), "types": it.types.iter().map(progress).collect::<Map<_, _>>() })
    };
    let rejection = |it: &Rejection| {
        json!({ "client": it.client, "type": it.of.url(), "name": it.rejected.name, "reason": it.rejected.reason,
            "version": it.rejected.version.map(|version| version.to_string()), "then": it.then.as_str() })
    };
    let fallbacks = newest.fallbacks.iter().map(|(name, it)| {
        let mut value = fallback(it);
        if let Value::Object(fields) = &mut value {
            fields.insert("name".to_owned(), json!(**name));
        }
        value
    });
    json!({ "clients": clients.connected().iter().map(client).collect::<Vec<_>>(),
        "rejected": clients.rejections().iter().map(rejection).collect::<Vec<_>>(),
        "fallbacks": fallbacks.collect::<Vec<_>>(),
        "counters": clients.counters().into_iter().collect::<BTreeMap<_, _>>() })
}

/// Why a resource is told otherwise than it was decided.
pub(crate) fn fallback(fallback: &Fallback) -> Value {
    let Fallback { rejected, told, client, reason, rejected_too } = fallback;
    json!({ "rejected": rejected.to_string(), "told": told.to_string(), "client": client, "reason": reason,
        "rejectedToo": rejected_too })
}

/// Says of a decision that ztunnels are told otherwise, where they are.
pub(crate) fn mark_fallback(decision: &mut Value, key: &RowKey, facts: &Facts, newest: &Snapshot) {
    if newest.fallbacks.is_empty() {
        return;
    }
    let name = match decision.get("host").and_then(Value::as_str) {
        Some(host) => Some(format!("{}/{host}", key.namespace)),
        None => key.uid(&facts.cluster_id),
    };
    let found = name.and_then(|name| newest.fallbacks.get(name.as_str()));
    if let (Some(found), Value::Object(fields)) = (found, decision) {
        fields.insert("fallback".to_owned(), fallback(found));
    }
}

/// Whether what the control plane told is fresh.
pub(crate) fn freshness(status: &Status) -> Value {
    let (word, since) = match status.freshness() {
        Freshness::Unknown => ("unknown", None),
        Freshness::Stale { since } => ("stale", since.map(|since| since.elapsed().as_secs())),
        Freshness::Fresh => ("fresh", None),
    };
    json!({ "mesh": word, "staleForSeconds": since, "connected": status.connected(), "lastError": status.last_error(),
        "failures": status.failures, "rejected": status.rejected })
}

/// Where it is written what decided a resource.
pub(crate) struct Decided<'a> {
    pub(crate) table: &'a Table,
    pub(crate) facts: &'a Facts,
    pub(crate) learned: &'a Learned,
    pub(crate) fallbacks: &'a OrdMap<Arc<str>, Arc<Fallback>>,
}

impl Decided<'_> {
    /// A resource with its decision: the one that was taken on what a control plane told, else that of its row.
    pub(crate) fn to_json(&self, of: ResourceType, resource: &Resource) -> Value {
        let mut value = json!({ "type": of.url(), "name": &**resource.name(), "version": resource.version().to_string(),
            "bytes": resource.body().len() });
        let decision = match self.learned.rows.get(resource.name()) {
            Some(row) => Some(json!({ "decision": *row.decision, "revision": row.revision,
                "refused": row.refused.as_deref() })),
            None => self.row(of, resource.name()).map(|(key, row)| {
                json!({ "row": key.to_string(), "decision": *row.decision, "revision": row.revision,
                    "degraded": row.degraded })
            }),
        };
        if let (Some(Value::Object(decision)), Value::Object(fields)) = (decision, &mut value) {
            fields.extend(decision);
        }
        if let (Some(it), Value::Object(fields)) = (self.fallbacks.get(resource.name()), &mut value) {
            fields.insert("fallback".to_owned(), fallback(it));
        }
        value
    }

    fn row(&self, of: ResourceType, name: &str) -> Option<(RowKey, &Row)> {
        if of == ResourceType::Authorization {
            return None;
        }
        let service = || {
            let (namespace, host) = name.split_once('/')?;
            service_with_host(host, namespace, &self.facts.cluster_domain).1
        };
        let key = workload_of_uid(name, &self.facts.cluster_id).1.or_else(service)?;
        Some((key.clone(), self.table.get(&key)?))
    }
}

/// Renews the certificate also where nobody connects.
async fn refresh(tls: ServerTls) {
    loop {
        tokio::time::sleep(REFRESH_EVERY).await;
        tls.refresh();
    }
}
