//! From flags to where rules are read from: files that are watched, and ConfigMaps that somebody must follow.

use std::path::PathBuf;

use cluster::config_map::Content;
use cluster::namespaced_name::NamespacedName;
use tokio::sync::watch;

use super::{Pins, Place, Rules};
use crate::config::{AgentConfig, Located};

/// A ConfigMap that is to be followed, with the place for what is known of it.
pub(crate) type Map = (NamespacedName, watch::Sender<Content>);

/// Where rules come from, with the files and the ConfigMaps that say something about them.
pub(crate) fn rules_of(config: &AgentConfig) -> (Rules, Vec<PathBuf>, Vec<Map>) {
    let (mut files, mut maps) = (Vec::new(), Vec::new());
    let mut follow = |name: &NamespacedName| {
        let (told, content) = watch::channel(Content::Unknown);
        maps.push((name.clone(), told));
        (name.to_string(), content)
    };
    let place = match &config.rules {
        Located::Path(path) => {
            files.push(path.clone());
            Place::Folder(path.clone())
        }
        Located::ConfigMap(name) => {
            let (name, content) = follow(name);
            Place::ConfigMap(name, content)
        }
    };
    let pins = config.pins.as_ref().map(|pins| match pins {
        Located::Path(path) => {
            files.push(path.clone());
            Pins::File(path.clone())
        }
        Located::ConfigMap(name) => {
            let (name, content) = follow(name);
            Pins::ConfigMap(name, content)
        }
    });
    let node = config.facts.node.name.as_deref().unwrap_or_default().to_owned();
    (Rules { place, components: config.components.clone(), pins, node }, files, maps)
}
