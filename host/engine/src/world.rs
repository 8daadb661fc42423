//! Is it a component of our world? Its type says so before any of it runs.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, types};

use crate::refusal::{Refusal, Stage};

/// What a component must export, with the version.
pub(crate) const RESOLVER: &str = "wayswitch:waypoint/resolver@0.1.0";
/// Our package; instances of it that hold only types are what toolchains leave behind.
const PACKAGE: &str = "wayswitch:waypoint/";

/// Looks at the first bytes, so that a core module or a text gets a better word than a parser's.
pub(crate) fn check_layer(bytes: &[u8]) -> Result<(), Refusal> {
    let refuse = |reason: &str| Err(Refusal::new(Stage::Validate, reason));
    match bytes.get(..8) {
        None if bytes.is_empty() => refuse("the file is empty"),
        None => refuse("not a WASM component: shorter than its header"),
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => {
            refuse("a core module, not a component: link it with wasm-component-ld, or run `wasm-tools component new`")
        }
        Some([0, b'a', b's', b'm', ..]) => Ok(()),
        Some(_) => refuse("not a WASM component: it does not begin with the WASM magic number"),
    }
}

/// Refuses imports of anything that can act, and a component that does not export the resolver.
pub(crate) fn check_type(engine: &wasmtime::Engine, component: &Component) -> Result<Vec<String>, Refusal> {
    let ty = component.component_type();
    let mut types_only = Vec::new();
    for (name, import) in ty.imports(engine) {
        match import.ty {
            ComponentItem::ComponentInstance(instance) => {
                types_only_of(engine, name, &instance)?;
                if !name.starts_with(PACKAGE) {
                    return Err(imports(name, &ComponentItem::ComponentInstance(instance)));
                }
                types_only.push(name.to_owned());
            }
            ComponentItem::Type(_) => {}
            other => return Err(imports(name, &other)),
        }
    }
    let exports: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
    if exports.contains(&RESOLVER) {
        return Ok(types_only);
    }
    let has = match exports.iter().find(|name| name.starts_with(PACKAGE)) {
        Some(other) => format!("it has {other}"),
        None if exports.is_empty() => "it exports nothing".to_owned(),
        None => format!("it exports {}", exports.iter().take(4).copied().collect::<Vec<_>>().join(", ")),
    };
    Err(Refusal::new(Stage::Validate, format!("wrong world: {RESOLVER} is not exported; {has}")))
}

/// An instance that holds anything but types is named with the first such thing.
fn types_only_of(engine: &wasmtime::Engine, name: &str, instance: &types::ComponentInstance) -> Result<(), Refusal> {
    match instance.exports(engine).find(|(_, item)| !matches!(item.ty, ComponentItem::Type(_))) {
        Some((item, found)) => Err(imports(&format!("{name}#{item}"), &found.ty)),
        None => Ok(()),
    }
}

fn imports(name: &str, item: &ComponentItem) -> Refusal {
    let kind = match item {
        ComponentItem::ComponentFunc(_) | ComponentItem::CoreFunc(_) => "the function",
        ComponentItem::Module(_) => "the module",
        ComponentItem::Component(_) => "the component",
        ComponentItem::ComponentInstance(_) => "the instance",
        ComponentItem::Type(_) => "the type",
        ComponentItem::Resource(_) => "the resource",
    };
    Refusal::new(Stage::Validate, format!("imports {kind} {name}: a resolver may import nothing but our types"))
}
