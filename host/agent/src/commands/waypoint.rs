//! `wayswitch waypoint`: makes waypoints in a cluster, lists them and deletes them. What is written, and in which order, is
//! worked out in the crate `cluster`; here is what is asked and printed.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use cluster::connect::{Access, Cluster};

use crate::cli::{ClusterFlags, GenerateFlags, WaypointCommand};

mod apply;
mod delete;
mod list;
mod status;
mod table;
mod would;

/// Runs a subcommand.
pub(crate) fn run(command: &WaypointCommand) -> anyhow::Result<ExitCode> {
    match command {
        WaypointCommand::Generate(flags) => generate(flags),
        WaypointCommand::Apply(flags) => apply::run(flags),
        WaypointCommand::List(flags) => {
            in_cluster(&flags.cluster, flags.namespace.as_ref(), async |cluster| list::run(cluster, flags).await)
        }
        WaypointCommand::Status(flags) => {
            in_cluster(&flags.cluster, flags.namespace.as_ref(), async |cluster| status::run(cluster, flags).await)
        }
        WaypointCommand::Delete(flags) => delete::run(flags),
    }
}

/// Does something with a cluster, and waits for it. `namespace` wins over that of the context.
fn in_cluster<T>(
    flags: &ClusterFlags,
    namespace: Option<&String>,
    work: impl AsyncFnOnce(&Cluster) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let access = Access { namespace: namespace.cloned(), ..flags.access() };
    runtime.block_on(async { work(&Cluster::connect(&access).await?).await })
}

fn generate(flags: &GenerateFlags) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    out.write_all(generated(flags).as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn generated(flags: &GenerateFlags) -> String {
    manifest::write_yaml(&flags.spec.spec(flags.namespace.as_deref()).gateway())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: GenerateFlags,
    }

    fn text(line: &str) -> String {
        generated(&Line::try_parse_from(std::iter::once("generate").chain(line.split_whitespace())).unwrap().flags)
    }

    #[test]
    fn what_is_generated_has_what_was_asked_for_and_nothing_else() {
        assert_eq!(
            text(""),
            "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: waypoint
spec:
  gatewayClassName: istio-waypoint
  listeners:
  - name: mesh
    port: 15008
    protocol: HBONE
"
        );
        assert_eq!(
            text("-n shop --name w --for workload -r next --image example.org/waypoint:1 --allow-namespaces all"),
            "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  annotations:
    sidecar.istio.io/proxyImage: example.org/waypoint:1
  labels:
    istio.io/rev: next
    istio.io/waypoint-for: workload
  name: w
  namespace: shop
spec:
  gatewayClassName: istio-waypoint
  listeners:
  - allowedRoutes:
      namespaces:
        from: All
    name: mesh
    port: 15008
    protocol: HBONE
"
        );
    }
}
