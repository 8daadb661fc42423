//! The guests against the WIT: they encode, and the layout they were written for is still the one of the interface. Not
//! what a host makes of them.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use wit_component::{DecodedWasm, decode};
use wit_parser::{Int, Resolve, SizeAlign, Type, TypeDefKind, TypeId, WorldId, WorldItem};

use super::*;

const RESOLVER: &str = "wayswitch:waypoint/resolver@0.1.0";

/// A component's WIT, read back from its bytes.
fn decoded(bytes: &[u8]) -> Result<(Resolve, WorldId)> {
    match decode(bytes)? {
        DecodedWasm::Component(resolve, world) => Ok((resolve, world)),
        DecodedWasm::WitPackage(..) => bail!("a WIT package, not a component"),
    }
}

/// The names of all interfaces that the component exports.
fn exports(bytes: &[u8]) -> Result<Vec<String>> {
    let (resolve, world) = decoded(bytes)?;
    let world = resolve.worlds.get(world).context("the world is missing")?;
    Ok(world.exports.keys().map(|key| resolve.name_world_key(key)).collect())
}

/// How many functions the component imports, alone or in interfaces.
fn imported_function_count(bytes: &[u8]) -> Result<usize> {
    let (resolve, world) = decoded(bytes)?;
    let world = resolve.worlds.get(world).context("the world is missing")?;
    let functions = |item: &WorldItem| match item {
        WorldItem::Interface { id, .. } => resolve.interfaces.get(*id).map_or(0, |it| it.functions.len()),
        WorldItem::Function(_) => 1,
        WorldItem::Type { .. } => 0,
    };
    Ok(world.imports.values().map(functions).sum())
}

/// The names in a folder that end so, without that end.
fn stems(folder: &str, end: &str) -> Result<BTreeSet<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = BTreeSet::new();
    for entry in folder.read_dir().with_context(|| format!("read {}", folder.display()))? {
        let name = entry?.file_name();
        found.extend(name.to_str().and_then(|name| name.strip_suffix(end)).map(str::to_owned));
    }
    Ok(found)
}

#[test]
fn every_guest_is_a_component_of_the_world_and_imports_no_function() -> Result<()> {
    for name in names() {
        let bytes = component(name);
        assert_eq!(exports(&bytes).context(*name)?, [RESOLVER], "{name}");
        assert_eq!(imported_function_count(&bytes)?, 0, "{name}");
        assert!(bytes.len() < 16 << 10, "{name} has {} bytes", bytes.len());
        assert!(contains(&bytes, name.as_bytes()), "{name} does not know its name");
    }
    Ok(())
}

#[test]
fn every_file_is_a_guest_or_part_of_the_interface() -> Result<()> {
    assert_eq!(stems("guests", ".wat")?, names().iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(stems("../wit", ".wit")?, WIT.iter().map(|(file, _)| file.replace(".wit", "")).collect());
    Ok(())
}

#[test]
fn every_guest_says_first_what_the_host_must_do() {
    for (name, text) in NAMES.iter().zip(TEXTS) {
        let comment: Vec<_> = text.lines().take_while(|line| line.starts_with(";; ")).collect();
        assert!(comment.concat().contains("The host must"), "{name}");
    }
}

#[test]
fn layout_in_the_preamble_is_that_of_the_wit() -> Result<()> {
    let layout = Layout::of_the_wit()?;
    let mut checked = 0;
    for line in PREAMBLE.lines().filter_map(|line| line.strip_prefix("(global $")) {
        let (name, rest) = line.split_once(' ').context("a global without a type")?;
        if name == "heap" {
            continue;
        }
        let value = rest.strip_prefix("i32 (i32.const ").and_then(|rest| rest.strip_suffix("))"));
        let value: usize = value.with_context(|| format!("${name} is not written as the others"))?.parse()?;
        assert_eq!(value, layout.value(name).context(name.to_owned())?, "${name}: the WIT has changed");
        checked += 1;
    }
    ensure!(checked > 40, "only {checked} lines of the layout were found");
    Ok(())
}

#[test]
fn nothing_in_the_interface_is_aligned_to_more_than_four_bytes() -> Result<()> {
    // The allocation function of the guests aligns to that, and strings and lists are written as two such values.
    let layout = Layout::of_the_wit()?;
    for (_, ty) in layout.resolve.types.iter() {
        let align = ty.name.as_deref().and_then(|name| layout.named(name)).map(|ty| layout.sizes.align(&ty));
        assert!(align.is_none_or(|align| align.align_wasm32() <= 4), "{:?}", ty.name);
    }
    Ok(())
}

#[test]
fn texts_of_the_guests_are_the_constants_that_tests_match() {
    assert!(contains(&component("describe-error"), DESCRIBE_ERROR.as_bytes()));
    assert!(contains(&component("resolve-failure"), RESOLVE_FAILURE.as_bytes()));
    for (name, text) in [("describe-error", DESCRIBE_ERROR), ("resolve-failure", RESOLVE_FAILURE)] {
        let length = format!("(i32.const 4096) (i32.const {})", text.len());
        assert!(text_of(name).contains(&length), "{name} gives another length than that of its text");
    }
}

#[test]
fn bytes_that_are_no_component_do_not_decode() {
    for (name, bytes) in [("truncated", truncated()), ("empty", empty()), ("text", text())] {
        assert!(decoded(&bytes).is_err(), "{name}");
    }
    // Both get past a look at the header's first half.
    assert!(truncated().starts_with(b"\0asm\x0d\0\x01\0"), "the header of a component");
    assert!(core_module().starts_with(b"\0asm\x01\0\0\0"), "the header of a core module");
}

#[test]
fn components_for_another_world_say_so_in_their_exports_and_imports() -> Result<()> {
    assert_eq!(exports(&wrong_world())?, ["example:greeting/greeting@1.0.0"]);
    assert_eq!(exports(&wrong_version())?, ["wayswitch:waypoint/resolver@0.2.0"]);
    assert_eq!(exports(&importing_function())?, [RESOLVER]);
    assert_eq!(imported_function_count(&importing_function())?, 1);
    Ok(())
}

#[test]
fn oversized_is_valid_and_one_byte_over_the_limit() -> Result<()> {
    for limit in [16 << 10, 1 << 20, 3_000_001] {
        let bytes = oversized(limit);
        assert_eq!(bytes.len(), limit + 1);
        assert_eq!(exports(&bytes)?, [RESOLVER]);
    }
    assert!(oversized(0).len() > 1);
    Ok(())
}

#[test]
fn big_code_grows_with_its_functions() -> Result<()> {
    let (few, many) = (big_code(1), big_code(101));
    let each = (many.len() - few.len()) / 100;
    assert!((600..=1000).contains(&each), "{each} bytes per function");
    assert_eq!(exports(&many)?, [RESOLVER]);
    Ok(())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Sizes and offsets in 32-bit memory, as wit-parser has them.
struct Layout {
    resolve: Resolve,
    sizes: SizeAlign,
}

impl Layout {
    fn of_the_wit() -> Result<Self> {
        let (resolve, _) = world_of(&[WIT], "waypoint-resolver")?;
        let mut sizes = SizeAlign::default();
        sizes.fill(&resolve);
        Ok(Self { resolve, sizes })
    }

    /// What the preamble calls `name`; its first comment explains the forms.
    fn value(&self, name: &str) -> Result<usize> {
        if let Some((ty, case)) = name.split_once('=') {
            return self.case(ty, case);
        }
        if let Some(ty) = name.strip_suffix(":size") {
            let ty = self.named(ty).context("no such type")?;
            return Ok(self.sizes.size(&ty).size_wasm32());
        }
        let (path, payload) = name.strip_suffix(":payload").map_or((name, false), |path| (path, true));
        let (ty, offset) = match path.split_once('.') {
            Some((record, field)) => self.field(record, field)?,
            None => (self.named(path).context("no such type")?, 0),
        };
        Ok(offset + if payload { self.payload(&ty)? } else { 0 })
    }

    /// A type of the package, or the result of a function.
    fn named(&self, name: &str) -> Option<Type> {
        let has_name = |id: &TypeId| self.resolve.types.get(*id).is_some_and(|ty| ty.name.as_deref() == Some(name));
        let mut types = self.resolve.types.iter().map(|(id, _)| id);
        let mut functions = self.resolve.interfaces.iter().filter_map(|(_, interface)| interface.functions.get(name));
        types.find(has_name).map(Type::Id).or_else(|| functions.next().and_then(|function| function.result))
    }

    /// What a type is made of, behind all the names that `use` gave it.
    fn kind(&self, ty: &Type) -> Result<&TypeDefKind> {
        let mut ty = *ty;
        loop {
            let Type::Id(id) = ty else { bail!("a type without parts") };
            match &self.resolve.types.get(id).context("no such type")?.kind {
                TypeDefKind::Type(of) => ty = *of,
                kind => return Ok(kind),
            }
        }
    }

    fn case(&self, ty: &str, case: &str) -> Result<usize> {
        let at = match self.kind(&self.named(ty).context("no such type")?)? {
            TypeDefKind::Flags(it) => it.flags.iter().position(|it| it.name == case).map(|bit| 1 << bit),
            TypeDefKind::Enum(it) => it.cases.iter().position(|it| it.name == case),
            TypeDefKind::Variant(it) => it.cases.iter().position(|it| it.name == case),
            _ => bail!("{ty} has no cases"),
        };
        at.context("no such case")
    }

    fn field(&self, record: &str, field: &str) -> Result<(Type, usize)> {
        let TypeDefKind::Record(it) = self.kind(&self.named(record).context("no such record")?)? else {
            bail!("{record} is no record");
        };
        let offsets = self.sizes.field_offsets(it.fields.iter().map(|it| &it.ty));
        let mut found = it.fields.iter().zip(offsets).filter(|(it, _)| it.name == field);
        let (_, (offset, ty)) = found.next().context("no such field")?;
        Ok((*ty, offset.size_wasm32()))
    }

    fn payload(&self, ty: &Type) -> Result<usize> {
        let offset = match self.kind(ty)? {
            TypeDefKind::Option(of) => self.sizes.payload_offset(Int::U8, [Some(of)]),
            TypeDefKind::Result(it) => self.sizes.payload_offset(Int::U8, [it.ok.as_ref(), it.err.as_ref()]),
            TypeDefKind::Variant(it) => self.sizes.payload_offset(it.tag(), it.cases.iter().map(|it| it.ty.as_ref())),
            _ => bail!("it has no payload"),
        };
        Ok(offset.size_wasm32())
    }
}
