//! PeerAuthentications.

use model::PeerAuthentication;
use model::peer_authentication::MtlsMode;

use super::Context;
use super::istio::created;
use super::meta::{Scope, meta};
use crate::problem::{Fault, Misfit, quoted};
use crate::view::View;

/// `mode` as it is written.
pub(crate) const MODES: [(&str, MtlsMode); 4] = [
    ("UNSET", MtlsMode::Unset),
    ("DISABLE", MtlsMode::Disable),
    ("PERMISSIVE", MtlsMode::Permissive),
    ("STRICT", MtlsMode::Strict),
];

pub(super) fn peer_authentication(root: &View<'_, '_>, with: &Context<'_>) -> Result<PeerAuthentication, Misfit> {
    let meta = meta(root, Scope::Namespace, with)?;
    let mut peer = PeerAuthentication { meta, created: created(root)?, ..PeerAuthentication::named("", "") };
    let Some(spec) = root.field("spec")? else {
        return Ok(peer);
    };
    peer.selector = match spec.field("selector")? {
        Some(selector) => Some(selector.labels_field("matchLabels", with)?),
        None => None,
    };
    peer.mode = spec.field("mtls")?.map_or(Ok(MtlsMode::Unset), |mtls| mode(&mtls))?;
    let mut ports = spec.map_field("portLevelMtls", |name, view| Ok((port(name, &view)?, mode(&view)?)))?;
    ports.sort_unstable();
    ports.dedup_by_key(|(port, _)| *port);
    peer.ports = ports;
    Ok(peer)
}

fn mode(mtls: &View<'_, '_>) -> Result<MtlsMode, Misfit> {
    Ok(mtls.word_field("mode", &MODES)?.unwrap_or_default())
}

/// A key: in JSON the text of a number.
fn port(name: &str, view: &View<'_, '_>) -> Result<u32, Misfit> {
    let found = name.parse::<u32>().ok().filter(|port| port.to_string() == name);
    found.ok_or_else(|| {
        let words = "the number of a port".to_owned();
        view.misfit(Fault::UnknownWord { path: "spec.portLevelMtls".to_owned(), value: quoted(name), words })
    })
}
