//! Flags of `waypoints`.

use std::str::FromStr;

use clap::Args;
use model::RowKey;
use model::gateway::GatewayKey;
use model::table::RowKind;

use super::{MeshFlags, Output};

/// Flags of `waypoints`.
#[derive(Debug, Args)]
pub struct WaypointsFlags {
    /// One waypoint, with everything that is bound to it [default: a line for each]
    #[arg(value_name = "NAMESPACE/NAME")]
    pub waypoint: Option<WaypointName>,
    /// The other direction: the waypoints of one object, and whether they know it
    #[arg(long, value_name = "KIND/NAMESPACE/NAME[/ADDRESS]", conflicts_with = "waypoint")]
    pub of: Option<RowName>,
    /// The mesh.
    #[command(flatten)]
    pub mesh: MeshFlags,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// A Gateway as it is written in a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaypointName(pub GatewayKey);

impl FromStr for WaypointName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (namespace, name) = text.split_once('/').ok_or_else(|| format!("{text:?} is not NAMESPACE/NAME"))?;
        Ok(Self(GatewayKey::new(namespace, name)))
    }
}

/// A row as it is written in a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowName(pub RowKey);

impl FromStr for RowName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(4, '/');
        let (Some(kind), Some(namespace), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(format!("{text:?} is not KIND/NAMESPACE/NAME, for instance service/shop/cart"));
        };
        let kind: RowKind = kind.parse()?;
        let whole = || RowKey::new(kind, namespace, name);
        Ok(Self(parts.next().map_or_else(whole, |part| RowKey::endpoint(kind, namespace, name, part))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_named_with_its_kind() {
        let row = |text: &str| text.parse::<RowName>().map(|row| row.0.to_string());
        assert_eq!(row("svc/shop/cart").as_deref(), Ok("Service shop/cart"));
        assert_eq!(
            row("serviceentryendpoint/shop/api/10.0.0.1").as_deref(),
            Ok("ServiceEntryEndpoint shop/api/10.0.0.1")
        );
        assert_eq!(
            row("serviceentryendpoint/shop/api/unix:///run/x").as_deref(),
            Ok("ServiceEntryEndpoint shop/api/unix:///run/x")
        );
        assert!(row("shop/cart").is_err() && row("node/shop/cart").is_err() && row("cart").is_err());
        assert!("w".parse::<WaypointName>().is_err());
    }
}
