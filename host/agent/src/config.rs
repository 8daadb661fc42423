//! Every setting of the agent: its name, default, unit and check. A flag wins over its environment variable, that over
//! the configuration file, that over the default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use cluster::namespaced_name::NamespacedName;
use model::store::{Facts, Node};
use serde::{Deserialize, Serialize};

use crate::kubernetes::{KubernetesConfig, KubernetesFlags};
use crate::status::{StatusConfig, StatusFlags};
use crate::ztunnels::{XdsConfig, XdsFlags};

/// Flags of `wayswitch agent`. All but `--config` may also be set in the file that it names: `manifests`, `rules`,
/// `components`, `admin`, `metrics`, `cgroup`, `pinDir`, `beforeRules`, `recordPassed`, `entriesMax`, `debounceMs`, `clusterDomain`,
/// `network`, `clusterId`, `meshConfig`, `istio`, `istioRevision`, `nodeName`, `nodeLabels`, `logFormat`, `log`, `pins`, and
/// `kubernetes`, `status` and `xds` with their own.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AgentFlags {
    /// A file with these settings, in YAML: manifests, rules, components, admin, metrics, cgroup, pinDir, beforeRules, recordPassed,
    /// entriesMax, debounceMs, clusterDomain, network, clusterId, meshConfig, istio, istioRevision, nodeName, nodeLabels,
    /// logFormat, log, pins, kubernetes with follow, kubeconfig, context, state, nodeStatus, status with conditions, writeLabels, writesPerSecond,
    /// lease, leaseSeconds, leaseIdentity, and xds with listen, cert, key, dir, names, token, issuerKeys, issuer, tokenReview, audience, serviceAccount,
    /// guardWaypoints, upstream, upstreamCa, upstreamToken, upstreamName, allowUnprogrammed
    #[arg(long, env = "WAYSWITCH_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// A file or folder with manifests; may be given several times, later objects win
    #[arg(short = 'f', long = "filename", env = "WAYSWITCH_MANIFESTS", value_name = "PATH", value_delimiter = ',')]
    pub manifests: Vec<PathBuf>,
    /// Where config.yaml is that says which component decides: a folder, perhaps a mounted ConfigMap, or configmap:NAMESPACE/NAME,
    /// which is watched
    #[arg(long, env = "WAYSWITCH_RULES", value_name = "DIR")]
    pub rules: Option<String>,
    /// Digests that may decide, lines as sha256sum prints them: a file, or configmap:NAMESPACE/NAME. Not set: any component that the
    /// rules name
    #[arg(long, env = "WAYSWITCH_PINS", value_name = "FILE")]
    pub pins: Option<String>,
    /// A folder from which config.yaml may name components; may be given several times
    #[arg(long = "components", env = "WAYSWITCH_COMPONENTS", value_name = "DIR", value_delimiter = ',')]
    pub components: Vec<PathBuf>,
    /// Where operators ask: unix:PATH (mode 0600), a loopback ADDRESS:PORT, or none [default: unix:/run/wayswitch/admin.sock]
    #[arg(long, env = "WAYSWITCH_ADMIN", value_name = "ADDRESS")]
    pub admin: Option<String>,
    /// Where Prometheus finds /metrics and the kubelet /livez and /readyz, over plain HTTP: ADDRESS:PORT. Numbers only, no names
    /// of the mesh. Not set: nowhere
    #[arg(long, env = "WAYSWITCH_METRICS", value_name = "ADDRESS")]
    pub metrics: Option<SocketAddr>,
    /// Redirect the connections of this cgroup (v2): a path, absolute or below the cgroup2 mount. Not set: the kernel is
    /// left alone. Never for pods that are enrolled with a ztunnel
    #[arg(long, env = "WAYSWITCH_CGROUP", value_name = "PATH")]
    pub cgroup: Option<PathBuf>,
    /// Folder for pinned maps and links [default: /sys/fs/bpf/wayswitch/v1]
    #[arg(long, env = "WAYSWITCH_PIN_DIR", value_name = "DIR")]
    pub pin_dir: Option<PathBuf>,
    /// What happens to connections of the cgroup before the first rules [default: deny]
    #[arg(long, env = "WAYSWITCH_BEFORE_RULES", value_enum)]
    pub before_rules: Option<BeforeRules>,
    /// Also leave a record for the peer of connections that a rule lets pass; for peers that take it [default: false]
    #[arg(long, env = "WAYSWITCH_RECORD_PASSED", num_args = 0..=1, default_missing_value = "true")]
    pub record_passed: Option<bool>,
    /// Entries that a rule set in the kernel may have [default: 524288]
    #[arg(long, env = "WAYSWITCH_ENTRIES_MAX", value_name = "N")]
    pub entries_max: Option<u32>,
    /// Milliseconds without a further change before a change of rules or manifests is acted on [default: 50]
    #[arg(long, env = "WAYSWITCH_DEBOUNCE_MS", value_name = "MS")]
    pub debounce_ms: Option<u64>,
    /// Seconds over which nodes spread the compiling of a large component that a watched ConfigMap brings, each with a place of its
    /// own; at most 300, 0: all at once [default: 5]
    #[arg(long, env = "WAYSWITCH_COMPILE_SPREAD", value_name = "SECONDS")]
    pub compile_spread: Option<u64>,
    /// DNS suffix of the cluster [default: cluster.local]
    #[arg(long, env = "WAYSWITCH_CLUSTER_DOMAIN")]
    pub cluster_domain: Option<String>,
    /// Network of this cluster's addresses [default: empty]
    #[arg(long, env = "WAYSWITCH_NETWORK")]
    pub network: Option<String>,
    /// Id of the cluster [default: Kubernetes]
    #[arg(long, env = "WAYSWITCH_CLUSTER_ID")]
    pub cluster_id: Option<String>,
    /// Istio's MeshConfig, in YAML: a file, or configmap:NAMESPACE/NAME, whose key mesh has it; followed like objects. Not set:
    /// Istio's defaults
    #[arg(long, env = "WAYSWITCH_MESH_CONFIG", value_name = "FILE")]
    pub mesh_config: Option<String>,
    /// The version of Istio whose host-side rules are followed, 1.22 to 1.31 [default: 1.31]. What the component follows
    /// is its setting `istio`
    #[arg(long, env = "WAYSWITCH_ISTIO", value_name = "VERSION")]
    pub istio: Option<String>,
    /// The revision of Istio whose objects count [default: default]
    #[arg(long, env = "WAYSWITCH_ISTIO_REVISION", value_name = "NAME")]
    pub istio_revision: Option<String>,
    /// Name of this node
    #[arg(long, env = "NODE_NAME")]
    pub node_name: Option<String>,
    /// A label of this node, KEY=VALUE; may be given several times. Region, zone and subzone are taken from the usual ones
    #[arg(long = "node-label", env = "WAYSWITCH_NODE_LABELS", value_name = "KEY=VALUE", value_delimiter = ',')]
    pub node_labels: Vec<String>,
    /// How to log [default: text]
    #[arg(long, env = "WAYSWITCH_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
    /// What to log: a level, or a filter such as info,engine=debug [default: info]
    #[arg(long, env = "WAYSWITCH_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How the cluster is followed.
    #[command(flatten)]
    pub kubernetes: KubernetesFlags,
    /// What is written back to the cluster.
    #[command(flatten)]
    pub status: StatusFlags,
    /// How ztunnels are served.
    #[command(flatten)]
    pub xds: XdsFlags,
}

/// What happens to connections before the first rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BeforeRules {
    /// They are refused.
    #[default]
    Deny,
    /// They go where they want to.
    Pass,
}

/// How to log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, unless something else is wanted. What kube fails at is said here, once and with what to do.
const DEFAULT_LOG: &str = "info,kube_client=error,kube_runtime=error";

/// Where operators ask, unless another address is set.
pub(crate) const DEFAULT_ADMIN: &str = "unix:/run/wayswitch/admin.sock";

/// Where operators ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// A socket in the file system, mode 0600.
    Unix(PathBuf),
    /// A loopback address.
    Tcp(SocketAddr),
    /// Nowhere.
    Off,
}

/// The agent's settings, complete and checked.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Manifests.
    pub manifests: Vec<PathBuf>,
    /// Where `config.yaml` is.
    pub rules: Located,
    /// What may decide.
    pub pins: Option<Located>,
    /// Folders from which components may come.
    pub components: Vec<PathBuf>,
    /// Where operators ask.
    pub admin: AdminAddress,
    /// Where metrics and probes are.
    pub metrics: Option<SocketAddr>,
    /// The kernel side, if there is to be one.
    pub redirect: Option<redirect::Config>,
    /// How ztunnels are served, if they are to be.
    pub xds: Option<XdsConfig>,
    /// Quiet time before a change is acted on.
    pub debounce: Duration,
    /// Over how long nodes spread the compiling of a large component.
    pub compile_spread: Duration,
    /// Where Istio's MeshConfig is, if somewhere.
    pub mesh_config: Option<Located>,
    /// The cluster, if anything of it is needed.
    pub kubernetes: Option<KubernetesConfig>,
    /// What is written back to the cluster, if anything is.
    pub status: Option<StatusConfig>,
    /// What is known without objects; MeshConfig is read later.
    pub facts: Facts,
}

impl AgentConfig {
    /// Whether the objects of a cluster are a source.
    pub(crate) fn follows_cluster(&self) -> bool {
        self.kubernetes.as_ref().is_some_and(|it| it.follow)
    }
}

/// A path, or a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Located {
    /// A file or folder.
    Path(PathBuf),
    /// A ConfigMap that is watched.
    ConfigMap(NamespacedName),
}

impl Located {
    /// Reads what `flag` says.
    fn read(flag: &str, text: String) -> anyhow::Result<Self> {
        match text.strip_prefix("configmap:") {
            None => Ok(Self::Path(text.into())),
            Some(name) => match name.parse() {
                Ok(name) => Ok(Self::ConfigMap(name)),
                Err(error) => bail!("{flag} {text}: {error}"),
            },
        }
    }

    /// The file or folder.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::ConfigMap(_) => None,
        }
    }

    /// The ConfigMap.
    pub(crate) fn config_map(&self) -> Option<&NamespacedName> {
        match self {
            Self::Path(_) => None,
            Self::ConfigMap(name) => Some(name),
        }
    }
}

/// How to log, known before anything can go wrong.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The form.
    pub format: LogFormat,
    /// The filter.
    pub filter: String,
}

impl AgentFlags {
    /// Adds what the configuration file says and was not given as a flag or in the environment.
    ///
    /// # Errors
    /// The file cannot be read, or has a setting that does not exist.
    pub fn with_file(self) -> anyhow::Result<Self> {
        let Some(path) = &self.config else { return Ok(self) };
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file: Self = manifest::settings(&path.display().to_string(), &text, &manifest::Limits::default())
            .map_err(|problem| anyhow::anyhow!("{problem}"))?;
        let paths = |flags: Vec<PathBuf>, file: Vec<PathBuf>| if flags.is_empty() { file } else { flags };
        Ok(Self {
            manifests: paths(self.manifests, file.manifests),
            rules: self.rules.or(file.rules),
            pins: self.pins.or(file.pins),
            kubernetes: self.kubernetes.or(file.kubernetes),
            status: self.status.or(file.status),
            components: paths(self.components, file.components),
            admin: self.admin.or(file.admin),
            metrics: self.metrics.or(file.metrics),
            cgroup: self.cgroup.or(file.cgroup),
            pin_dir: self.pin_dir.or(file.pin_dir),
            before_rules: self.before_rules.or(file.before_rules),
            record_passed: self.record_passed.or(file.record_passed),
            entries_max: self.entries_max.or(file.entries_max),
            debounce_ms: self.debounce_ms.or(file.debounce_ms),
            compile_spread: self.compile_spread.or(file.compile_spread),
            cluster_domain: self.cluster_domain.or(file.cluster_domain),
            network: self.network.or(file.network),
            cluster_id: self.cluster_id.or(file.cluster_id),
            mesh_config: self.mesh_config.or(file.mesh_config),
            istio: self.istio.or(file.istio),
            istio_revision: self.istio_revision.or(file.istio_revision),
            node_name: self.node_name.or(file.node_name),
            node_labels: if self.node_labels.is_empty() { file.node_labels } else { self.node_labels },
            log_format: self.log_format.or(file.log_format),
            log: self.log.or(file.log),
            xds: self.xds.or(file.xds),
            config: self.config,
        })
    }

    /// How to log.
    pub fn log(&self) -> LogConfig {
        LogConfig {
            format: self.log_format.unwrap_or_default(),
            filter: self.log.clone().unwrap_or_else(|| DEFAULT_LOG.to_owned()),
        }
    }

    /// Checks everything and fills in the defaults.
    ///
    /// # Errors
    /// The first setting that is missing or makes no sense.
    pub fn check(self) -> anyhow::Result<AgentConfig> {
        let follow = self.kubernetes.follow.unwrap_or_default();
        if self.manifests.is_empty() && self.xds.upstream.is_empty() && !follow {
            bail!(
                "no objects: name at least one file or folder with --filename (WAYSWITCH_MANIFESTS), or set --kubernetes"
            );
        }
        let Some(rules) = self.rules else {
            bail!("no rules: name the folder or ConfigMap with config.yaml with --rules (WAYSWITCH_RULES)");
        };
        let rules = Located::read("--rules", rules)?;
        let pins = self.pins.map(|text| Located::read("--pins", text)).transpose()?;
        let mesh_config = self.mesh_config.map(|text| Located::read("--mesh-config", text)).transpose()?;
        let located = [Some(&rules), pins.as_ref(), mesh_config.as_ref()];
        let kubernetes = self.kubernetes.check(self.node_name.as_deref(), located)?;
        let status = self.status.check(kubernetes.as_ref().is_some_and(|it| it.follow), self.node_name.as_deref())?;
        let debounce_ms = self.debounce_ms.unwrap_or(50);
        if debounce_ms > 60_000 {
            bail!("--debounce-ms {debounce_ms}: at most 60000");
        }
        let compile_spread = self.compile_spread.unwrap_or(5);
        if compile_spread > 300 {
            bail!("--compile-spread {compile_spread}: at most 300");
        }
        let components = self.components.iter().map(std::path::absolute).collect::<Result<_, _>>();
        let components = components.context("--components: the working directory is not known")?;
        let istio = self.istio.as_deref().map(str::parse).transpose();
        let istio = istio.map_err(|error: String| anyhow::anyhow!("--istio: {error}"))?;
        let xds = {
            let cluster_id = self.cluster_id.as_deref().unwrap_or("Kubernetes");
            self.xds.check(self.node_name.as_deref(), cluster_id, &self.kubernetes.access())?
        };
        let node = node(self.node_name, &self.node_labels)?;
        let defaults = Facts::default();
        let name = |given: Option<String>, default| given.map_or(default, model::Name::from);
        let redirect = self.cgroup.map(|cgroup| {
            let mut config = redirect::Config::new(cgroup);
            config.pin_dir = self.pin_dir.unwrap_or(config.pin_dir);
            config.entries_max = self.entries_max.unwrap_or(config.entries_max);
            config.record_passed = self.record_passed.unwrap_or(config.record_passed);
            config.before_rules = match self.before_rules.unwrap_or_default() {
                BeforeRules::Deny => redirect::BeforeRules::Deny,
                BeforeRules::Pass => redirect::BeforeRules::Pass,
            };
            config
        });
        Ok(AgentConfig {
            manifests: self.manifests,
            rules,
            pins,
            kubernetes,
            status,
            components,
            metrics: self.metrics,
            admin: admin_address(self.admin.as_deref().unwrap_or(DEFAULT_ADMIN))?,
            redirect,
            xds,
            debounce: Duration::from_millis(debounce_ms),
            compile_spread: Duration::from_secs(compile_spread),
            mesh_config,
            facts: Facts {
                cluster_domain: name(self.cluster_domain, defaults.cluster_domain),
                network: name(self.network, defaults.network),
                cluster_id: name(self.cluster_id, defaults.cluster_id),
                istio: istio.unwrap_or_default(),
                istio_revision: name(self.istio_revision, defaults.istio_revision),
                node,
                ..Facts::default()
            },
        })
    }
}

fn node(name: Option<String>, labels: &[String]) -> anyhow::Result<Node> {
    let pair = |label: &String| {
        let (key, value) = label.split_once('=').with_context(|| format!("--node-label {label}: not KEY=VALUE"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    let labels = labels.iter().map(pair).collect::<anyhow::Result<Vec<_>>>()?.into_iter().collect();
    Ok(node_with(name, labels))
}

/// A node with these labels lies where they say.
pub(crate) fn node_with(name: Option<String>, labels: model::Labels) -> Node {
    let part = |key| labels.get(key).cloned();
    Node {
        name: name.map(Into::into),
        region: part("topology.kubernetes.io/region"),
        zone: part("topology.kubernetes.io/zone"),
        subzone: part("topology.istio.io/subzone"),
        labels,
    }
}

/// Reads `unix:PATH`, a loopback `ADDRESS:PORT`, or `none`.
pub(crate) fn admin_address(text: &str) -> anyhow::Result<AdminAddress> {
    if text == "none" {
        return Ok(AdminAddress::Off);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        if !Path::new(path).is_absolute() {
            bail!("--admin {text}: the path must be absolute");
        }
        return Ok(AdminAddress::Unix(path.into()));
    }
    let address: SocketAddr =
        text.parse().with_context(|| format!("--admin {text}: neither unix:PATH nor ADDRESS:PORT nor none"))?;
    if !address.ip().is_loopback() {
        bail!("--admin {text}: only loopback addresses; decisions name every service of the mesh");
    }
    Ok(AdminAddress::Tcp(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> AgentFlags {
        AgentFlags { manifests: vec!["m".into()], rules: Some("r".into()), ..AgentFlags::default() }
    }

    #[test]
    fn what_is_not_given_has_a_default() {
        let config = flags().check().unwrap();
        assert_eq!(config.debounce, Duration::from_millis(50));
        assert_eq!(&*config.facts.cluster_domain, "cluster.local");
        assert_eq!(config.admin, AdminAddress::Unix("/run/wayswitch/admin.sock".into()));
        assert!(config.redirect.is_none());
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let check = |flags: AgentFlags, expected: &str| {
            let error = format!("{:#}", flags.check().unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        check(AgentFlags::default(), "no objects");
        check(
            AgentFlags { rules: Some("configmap:a".into()), ..flags() },
            "--rules configmap:a: \"a\" is not NAMESPACE/NAME",
        );
        check(AgentFlags { pins: Some("configmap:/b".into()), ..flags() }, "--pins");
        let node_status = KubernetesFlags { node_status: Some(true), ..KubernetesFlags::default() };
        check(AgentFlags { kubernetes: node_status, ..flags() }, "--node-status needs --node-name");
        check(AgentFlags { rules: None, ..flags() }, "no rules");
        check(AgentFlags { admin: Some("0.0.0.0:1".into()), ..flags() }, "only loopback");
        check(AgentFlags { admin: Some("here".into()), ..flags() }, "neither unix:PATH");
        check(AgentFlags { debounce_ms: Some(60_001), ..flags() }, "--debounce-ms 60001");
        check(AgentFlags { compile_spread: Some(301), ..flags() }, "--compile-spread 301");
        check(AgentFlags { istio: Some("1.99".into()), ..flags() }, "--istio: \"1.99\" is no version of Istio");
    }

    #[test]
    fn what_makes_no_sense_about_ztunnels_is_refused_by_name() {
        let serving = |xds: XdsFlags| AgentFlags {
            xds: XdsFlags { listen: Some(([127, 0, 0, 1], 15012).into()), ..xds },
            ..flags()
        };
        let check = |flags: AgentFlags, expected: &str| {
            let error = format!("{:#}", flags.check().unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        let upstream = |address: &str| XdsFlags { upstream: vec![address.into()], ..XdsFlags::default() };
        check(AgentFlags { xds: upstream("istiod:15012"), ..flags() }, "--upstream needs --xds-listen");
        check(serving(upstream("istiod:15012")), "name a file of its roots");
        let roots = Some("ca.pem".into());
        check(serving(XdsFlags { upstream_ca: roots.clone(), ..upstream("not a uri") }), "\"not a uri\" is no address");
        let token = Some("token".into());
        check(serving(XdsFlags { upstream_token: token.clone(), ..upstream("http://istiod:15010") }), "--upstream");
        check(serving(XdsFlags { cert: roots, ..XdsFlags::default() }), "--xds-cert needs --xds-key");
        let keys = || XdsFlags { issuer_keys: Some("jwks".into()), ..XdsFlags::default() };
        check(serving(XdsFlags { token, ..keys() }), "only one can say");
        check(serving(keys()), "needs --xds-issuer");
        let issued = XdsFlags { issuer: Some("https://a".into()), ..keys() };
        check(serving(issued), "needs --node-name");
        assert!(flags().check().unwrap().xds.is_none(), "nobody is served unless it is said where");
    }

    #[test]
    fn a_cluster_is_asked_only_where_something_of_it_is_needed() {
        assert!(flags().check().unwrap().kubernetes.is_none());
        let rules = || Some("configmap:system/rules".to_owned());
        let config = AgentFlags { rules: rules(), ..flags() }.check().unwrap();
        assert!(config.kubernetes.is_some_and(|it| !it.follow), "for the rules, not for objects");
        let follow = KubernetesFlags { follow: Some(true), ..KubernetesFlags::default() };
        let config = AgentFlags { rules: rules(), kubernetes: follow, ..AgentFlags::default() }.check().unwrap();
        assert!(config.follows_cluster() && config.manifests.is_empty());
    }

    #[test]
    fn a_flag_wins_over_the_file_and_an_unknown_setting_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.yaml");
        std::fs::write(&path, "network: of-the-file\nclusterId: east\n").unwrap();
        let given = AgentFlags { config: Some(path.clone()), network: Some("of-the-flag".into()), ..flags() };
        let merged = given.with_file().unwrap();
        assert_eq!((merged.network.as_deref(), merged.cluster_id.as_deref()), (Some("of-the-flag"), Some("east")));
        std::fs::write(&path, "netwrok: x\n").unwrap();
        let error = AgentFlags { config: Some(path), ..flags() }.with_file().unwrap_err().to_string();
        assert!(error.contains("netwrok"), "{error}");
    }
}
