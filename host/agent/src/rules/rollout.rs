//! Other rules for some of the nodes: a share of them, or those with certain labels.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Variant;

/// `rollout` of `config.yaml`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Rollout {
    /// As the one beside it.
    pub(crate) component: String,
    /// As the one beside it.
    #[serde(default)]
    pub(crate) sha256: Option<String>,
    /// Those of this component; those beside it are not taken over.
    #[serde(default)]
    pub(crate) settings: Option<serde_json::Value>,
    /// Which share of the nodes gets it, in percent. Told by the name of a node: the nodes of a smaller share are among those of
    /// a larger one.
    #[serde(default)]
    pub(crate) share: Option<Share>,
    /// Nodes with all these labels get it.
    #[serde(default)]
    node_selector: Option<BTreeMap<String, String>>,
    /// Every node stays with what it runs, whatever the rest says.
    #[serde(default)]
    pub(crate) paused: bool,
}

/// Percent of the nodes.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Share(f64);

impl Rollout {
    /// What the nodes run that it is meant for.
    pub(crate) fn variant(&self) -> Variant<'_> {
        Variant { component: &self.component, sha256: &self.sha256, settings: &self.settings }
    }

    /// Who is meant, in words.
    pub(crate) fn meant(&self) -> String {
        match (self.share, &self.node_selector) {
            (Some(Share(share)), _) => format!("{share} % of the nodes"),
            (None, Some(labels)) => {
                let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                format!("nodes with {}", labels.join(","))
            }
            (None, None) => "no node".to_owned(),
        }
    }

    /// Whether a node with this name is meant; none where its labels say so, which are not known here.
    pub(crate) fn means(&self, node: &str) -> Option<bool> {
        self.share.map(|Share(share)| place(node) < share)
    }

    /// # Errors
    /// One line: the share is none, or it does not say who is meant.
    pub(super) fn check(&self) -> Result<(), String> {
        match (self.share, &self.node_selector) {
            (Some(Share(share)), _) if !(0.0..=100.0).contains(&share) => {
                Err(format!("share {share} is no percentage: 0 to 100"))
            }
            (Some(_), Some(_)) => Err("share and nodeSelector: only one can say which nodes are meant".to_owned()),
            (None, None) => Err("share or nodeSelector must say which nodes are meant".to_owned()),
            (None, Some(labels)) if labels.is_empty() => Err("nodeSelector is empty".to_owned()),
            _ => Ok(()),
        }
    }

    /// Whether it is meant for a node with this name and these labels.
    pub(super) fn includes(&self, node: &str, labels: &model::Labels) -> bool {
        let of_selector = |wanted: &BTreeMap<String, String>| {
            wanted.iter().all(|(key, value)| labels.get(key).is_some_and(|label| **label == **value))
        };
        match (self.share, &self.node_selector) {
            (Some(Share(share)), _) => place(node) < share,
            (None, Some(wanted)) => of_selector(wanted),
            (None, None) => false,
        }
    }
}

/// Where a node stands among all, 0 to 100: the same for ever, and even over names that are alike.
fn place(node: &str) -> f64 {
    let digest = Sha256::digest(node);
    let number = digest.iter().take(4).fold(0u32, |number, byte| (number << 8) | u32::from(*byte));
    f64::from(number) / (f64::from(u32::MAX) + 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(share: Option<f64>, labels: Option<&[(&str, &str)]>) -> Rollout {
        let labels = labels.map(|it| it.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect());
        Rollout {
            component: "new.wasm".to_owned(),
            sha256: None,
            settings: None,
            share: share.map(Share),
            node_selector: labels,
            paused: false,
        }
    }

    #[test]
    fn a_share_is_about_that_share_of_the_nodes_and_grows_node_by_node() {
        let nodes: Vec<String> = (0..2000).map(|node| format!("ip-10-0-{}-{}", node / 256, node % 256)).collect();
        let of = |share| {
            let rollout = rollout(Some(share), None);
            nodes.iter().filter(|node| rollout.includes(node, &model::Labels::default())).collect::<Vec<_>>()
        };
        let (none, quarter, half, all) = (of(0.0), of(25.0), of(50.0), of(100.0));
        assert!(none.is_empty() && all.len() == nodes.len());
        assert!((400..=600).contains(&quarter.len()) && (900..=1100).contains(&half.len()), "{}", quarter.len());
        assert!(quarter.iter().all(|node| half.contains(node)), "who has it keeps it as the share grows");
    }

    #[test]
    fn a_selector_means_nodes_with_all_its_labels() {
        let rollout = rollout(None, Some(&[("pool", "canary"), ("zone", "a")]));
        let labels = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<model::Labels>()
        };
        assert!(rollout.includes("n", &labels(&[("pool", "canary"), ("zone", "a"), ("arch", "arm64")])));
        assert!(!rollout.includes("n", &labels(&[("pool", "canary")])));
    }

    #[test]
    fn one_that_does_not_say_who_is_meant_is_refused() {
        let refused = |rollout: Rollout, why: &str| assert!(rollout.check().unwrap_err().contains(why));
        refused(rollout(None, None), "must say");
        refused(rollout(Some(101.0), None), "101");
        refused(rollout(Some(f64::NAN), None), "no percentage");
        refused(rollout(None, Some(&[])), "empty");
        refused(rollout(Some(1.0), Some(&[("a", "b")])), "only one");
    }
}
