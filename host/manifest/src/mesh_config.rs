//! Istio's MeshConfig: the few of its hundreds of fields that matter to selection. The others are nobody's business here.

use model::mesh::{EntryVisibility, EntryVisibilityRules, Mesh, ServiceScope, VisibilityPolicy};

use crate::limits::Limits;
use crate::node::{Node, Value};
use crate::pool::Pool;
use crate::problem::{Fault, Misfit, Position, Problem};
use crate::shapes::{Context, selector};
use crate::view::View;
use crate::yaml;

/// `defaultVisibility` and `visibility` as they are written.
pub(crate) const VISIBILITIES: [(&str, EntryVisibility); 3] =
    [("PUBLIC", EntryVisibility::Public), ("NAMESPACE", EntryVisibility::Namespace), ("NONE", EntryVisibility::None)];

/// `scope` as it is written, and whether that is global.
pub(crate) const SCOPES: [(&str, bool); 2] = [("LOCAL", false), ("GLOBAL", true)];

/// Reads Istio's MeshConfig, YAML or JSON, or a ConfigMap with one under `data.mesh`, as Istio's installation has it. What is
/// not written has Istio's default. `file` is for the message.
///
/// # Errors
/// It is larger than [`Limits::document_bytes_max`], not valid YAML, or a field that matters has a value of another type or
/// an unknown word; with the line where known.
pub fn mesh_config(file: &str, text: &str, limits: &Limits) -> Result<Mesh, Box<Problem>> {
    read(text, limits).map_err(|Misfit { line, column, fault }| {
        let position = Position { document: 0, item: None, line, column };
        Box::new(Problem { file: file.into(), position, object: None, key: None, fault })
    })
}

fn read(text: &str, limits: &Limits) -> Result<Mesh, Misfit> {
    let (bytes, bytes_max) = (text.len(), limits.document_bytes_max);
    if bytes > bytes_max {
        return Err(Misfit { line: 0, column: 0, fault: Fault::DocumentTooLarge { bytes, bytes_max } });
    }
    let node = yaml::tree(text, limits)?;
    let root = mapping(&node)?;
    match root {
        Some(root) if root.text_field("kind").is_ok_and(|kind| kind == Some("ConfigMap")) => {
            of_config_map(&root, limits)
        }
        Some(root) => mesh(&root, limits),
        None => Ok(Mesh::default()),
    }
}

/// The mapping that a document is; none if it is empty.
fn mapping(node: &Node) -> Result<Option<View<'_, '_>>, Misfit> {
    let root = View::root(node);
    match &node.value {
        Value::Null => Ok(None),
        Value::Map(_) => Ok(Some(root)),
        other => Err(root.misfit(Fault::Setting { message: format!("it is {}, not a mapping", other.noun()) })),
    }
}

fn of_config_map(root: &View<'_, '_>, limits: &Limits) -> Result<Mesh, Misfit> {
    let missing = || root.misfit(Fault::Missing { path: "data.mesh" });
    let data = root.field("data")?.ok_or_else(missing)?;
    let written = data.field("mesh")?.ok_or_else(missing)?;
    // Lines inside the text are not lines of the file: a fault is where the text is.
    let inside = |misfit: Misfit| written.misfit(misfit.fault);
    let node = yaml::tree(written.text()?, limits).map_err(inside)?;
    match mapping(&node).map_err(inside)? {
        Some(root) => mesh(&root, limits).map_err(inside),
        None => Ok(Mesh::default()),
    }
}

fn mesh(root: &View<'_, '_>, limits: &Limits) -> Result<Mesh, Misfit> {
    let with = &Context { limits, pool: &Pool::default() };
    let mut mesh = Mesh::default();
    // Empty is not set, as in all of Istio's configuration.
    if let Some(name) = root.text_field("rootNamespace")?.filter(|name| !name.is_empty()) {
        mesh.root_namespace = name.into();
    }
    if let Some(name) = root.text_field("trustDomain")?.filter(|name| !name.is_empty()) {
        mesh.trust_domain = name.into();
    }
    mesh.entry_visibility = match root.field("serviceEntryVisibility")? {
        Some(view) => Some(visibility(&view, with)?),
        None => None,
    };
    mesh.service_scopes = root.list_field("serviceScopeConfigs", |view| {
        let of = |name| view.field(name)?.map_or_else(|| Ok(Default::default()), |view| selector(&view, with));
        Ok(ServiceScope {
            namespaces: of("namespaceSelector")?,
            services: of("servicesSelector")?,
            global: view.word_field("scope", &SCOPES)?.unwrap_or_default(),
        })
    })?;
    mesh.discovery_selectors = root.list_field("discoverySelectors", |view| selector(&view, with))?;
    Ok(mesh)
}

fn visibility(view: &View<'_, '_>, with: &Context<'_>) -> Result<EntryVisibilityRules, Misfit> {
    Ok(EntryVisibilityRules {
        default: view.word_field("defaultVisibility", &VISIBILITIES)?.unwrap_or_default(),
        policies: view.list_field("policies", |view| {
            Ok(VisibilityPolicy {
                visibility: view.word_field("visibility", &VISIBILITIES)?.unwrap_or_default(),
                rules: view.list_field("matchingRules", |rule| match rule.field("namespaceSelector")? {
                    Some(view) => selector(&view, with).map(Some),
                    None => Ok(None),
                })?,
            })
        })?,
    })
}

#[cfg(test)]
mod tests;
