//! Definitions of the custom resources that the agent reads: made where they are missing. Those that are there, of whatever version,
//! are somebody's and stay as they are.

use std::collections::BTreeSet;

use anyhow::Result;
use deploy_checks::manifest;

use crate::ground::{Ground, eventually};

/// What a cluster of an operator has: ours, then stand-ins for those of Istio and of the Gateway API, which take any field.
const FILES: [&str; 4] = [
    "deploy/crds/noderules.yaml",
    "tests/data/crds/gateway.yaml",
    "tests/data/crds/networking.yaml",
    "tests/data/crds/security.yaml",
];

/// Makes what is missing and waits until it is served.
pub(crate) fn install(ground: &mut Ground) -> Result<()> {
    let there: BTreeSet<String> = ground.kubectl.names(&["crd"])?.into_iter().collect();
    let mut missing = Vec::new();
    for file in FILES {
        missing.extend(manifest::read(file)?);
    }
    let name = |object: &serde_json::Value| manifest::text(object, "/metadata/name").to_owned();
    missing.retain(|it| !there.contains(&format!("customresourcedefinition.apiextensions.k8s.io/{}", name(it))));
    if missing.is_empty() {
        return Ok(());
    }
    missing.iter_mut().for_each(|object| ground.label(object));
    // Before they are made: half of them may be.
    ground.installed = missing.iter().map(&name).collect();
    ground.kubectl.apply(&missing)?;
    for name in &ground.installed {
        eventually("a definition to be served", || {
            let object = ground.kubectl.get(&["crd", name])?;
            let conditions = manifest::list(&object, "/status/conditions");
            let is = |kind: &str| conditions.into_iter().any(|it| it["type"] == kind && it["status"] == "True");
            Ok(is("Established").then_some(()))
        })?;
    }
    Ok(())
}
