//! The policies that would close what is open, as manifests. Comments say what else they do: read them before you apply them.

use std::io::{Result, Write};

use model::bypass::{Destination, OnlyThrough};

pub(super) fn print(out: &mut impl Write, found: &[Destination]) -> Result<()> {
    let mut count = 0;
    for destination in found.iter().filter(|destination| destination.open().next().is_some()) {
        let Some(policy) = &destination.policy else { continue };
        count += 1;
        print_policy(out, destination, policy)?;
    }
    if count == 0 {
        writeln!(out, "# no AuthorizationPolicy would close anything here")?;
    }
    Ok(())
}

fn print_policy(out: &mut impl Write, destination: &Destination, policy: &OnlyThrough) -> Result<()> {
    writeln!(out, "---\n# {} lets in waypoints only.", destination.what)?;
    if policy.assumed {
        writeln!(out, "# No instance of a waypoint is known: an account of the Gateway's name is assumed.")?;
    }
    for other in &policy.in_the_way {
        writeln!(out, "# {other} lets in others all the same: narrow or remove it.")?;
    }
    for service in &policy.cuts_off {
        writeln!(out, "# Nobody could use {service} any more: no waypoint is in front of it.")?;
    }
    writeln!(out, "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:")?;
    writeln!(out, "  name: {}\n  namespace: {}\nspec:", quoted(&policy.name), quoted(&policy.namespace))?;
    writeln!(out, "  selector:\n    matchLabels:")?;
    for (key, value) in policy.selector.iter() {
        writeln!(out, "      {}: {}", quoted(key), quoted(value))?;
    }
    writeln!(out, "  action: ALLOW\n  rules:\n  - from:\n    - source:\n        principals:")?;
    policy.principals.iter().try_for_each(|principal| writeln!(out, "        - {}", quoted(principal)))
}

/// Any text, as YAML understands it: a JSON string is one of YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
