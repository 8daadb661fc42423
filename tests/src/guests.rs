//! Components that misbehave, made in this process from the WAT in `tests/guests` and the WIT in `wit/`; no guest
//! toolchain is needed. Not the tests of the host against them, and not an example for plugin authors: nobody should
//! write a plugin by hand.
//!
//! A guest's file holds only what is wrong with it; `tests/guests/parts` holds the rest. The first lines of each file
//! say what the host must answer.
#![expect(clippy::panic, reason = "support code of tests: a guest that does not encode is a mistake in this folder")]

use anyhow::{Context as _, Result};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, SourceMap, WorldId};

#[cfg(test)]
mod tests;

/// What `describe-error` says about any settings: with an escape sequence and a line break, which must not reach a log.
pub const DESCRIBE_ERROR: &str = "unknown setting \u{1b}[31mteam\u{1b}[0m\nlevel=info msg=forged";

/// What `resolve-failure` says of every batch, about no row in particular: with a bell, which must not reach a log.
pub const RESOLVE_FAILURE: &str = "no team owns\u{7} any of these objects";

/// The version of the WIT package, as it is written in the WIT and in the names of a core module's exports.
const VERSION: &str = "@0.1.0";

/// Bytes of the name's place in the fixed data of every guest.
const NAME_SIZE_MAX: usize = 256;

/// A WIT package: the name and text of each file.
type Package<'a> = &'a [(&'a str, &'a str)];

/// The interface, file by file; a test compares the list with the folder.
const WIT: Package<'static> =
    &[("types.wit", include_str!("../../wit/types.wit")), ("waypoint.wit", include_str!("../../wit/waypoint.wit"))];

/// Layout, allocator and exports: part of every guest.
const PREAMBLE: &str = include_str!("../guests/parts/preamble.wat");

/// What a guest has if it does not define its own: how that would begin, and the text.
const DEFAULTS: &[(&str, &str)] = &[
    ("(memory ", include_str!("../guests/parts/memory.wat")),
    ("(func $describe ", include_str!("../guests/parts/describe.wat")),
    ("(func $resolve ", include_str!("../guests/parts/resolve.wat")),
    ("(func $explain ", include_str!("../guests/parts/explain.wat")),
    ("(func $decide ", include_str!("../guests/parts/decide.wat")),
];

/// Keeps names and texts together: a name without its file does not compile.
macro_rules! guests {
    ($($name:literal,)*) => {
        const NAMES: &[&str] = &[$($name),*];
        const TEXTS: &[&str] = &[$(include_str!(concat!("../guests/", $name, ".wat"))),*];
    };
}

guests![
    "well-behaved",
    "describe-trap",
    "describe-loop",
    "describe-error",
    "describe-huge-list",
    "describe-out-of-bounds",
    "resolve-trap",
    "resolve-loop",
    "resolve-failure",
    "explain-trap",
    "grow-memory",
    "start-big-memory",
    "big-table",
    "deep-recursion",
    "wrong-length",
    "bad-index",
    "not-a-candidate",
    "bad-address-index",
    "bad-weights",
    "no-targets",
    "bad-reason",
    "long-reason",
    "alias-strings",
    "alias-lists",
    "not-row-independent",
    "stateful-fuel",
    "trap-on-marker",
    "trap-on-label",
];

/// Every guest that [`component`] knows, `well-behaved` first.
pub fn names() -> &'static [&'static str] {
    NAMES
}

/// The named guest as a component of world `waypoint-resolver`; it describes itself by that name.
///
/// # Panics
/// Where there is no guest of that name, or it does not fit the WIT.
pub fn component(name: &str) -> Vec<u8> {
    or_panic(name, encode(&[WIT], "waypoint-resolver", &module_text(name, text_of(name))))
}

/// The first half of a valid component.
pub fn truncated() -> Vec<u8> {
    let mut bytes = component("well-behaved");
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// No bytes at all.
pub fn empty() -> Vec<u8> {
    Vec::new()
}

/// A WASM module with all the right exports that nobody made a component of.
///
/// # Panics
/// Where the guest `well-behaved` does not assemble.
pub fn core_module() -> Vec<u8> {
    let text = module_text("core-module", text_of("well-behaved"));
    or_panic("core-module", wat::parse_str(text).map_err(Into::into))
}

/// Not WASM: a component in text form, which wasmtime would compile if it were built to.
pub fn text() -> Vec<u8> {
    b"(component)\n".to_vec()
}

/// A valid component of one byte more than `limit` bytes (or more, if `limit` is under 16 KiB), by a custom section
/// that no engine reads.
///
/// # Panics
/// Where the limit does not fit the length of a section, 32 bits.
pub fn oversized(limit: usize) -> Vec<u8> {
    const NAME: &[u8] = b"\x07padding";
    const LENGTH_BYTES: usize = 5;
    let mut bytes = component("well-behaved");
    let content = (limit + 1).saturating_sub(bytes.len() + 1 + LENGTH_BYTES).max(NAME.len());
    let content_u32 = or_panic("oversized", u32::try_from(content).map_err(Into::into));
    bytes.push(0); // A custom section,
    // of this many bytes: always five of seven bits each, so that the length of the length does not vary,
    bytes.extend((0..LENGTH_BYTES).map(|at| {
        let more = if at + 1 < LENGTH_BYTES { 0x80 } else { 0 };
        ((content_u32 >> (7 * at)) & 0x7f) as u8 | more
    }));
    bytes.extend(NAME); // which are its name, length first,
    bytes.resize(bytes.len() + content - NAME.len(), 0); // and the padding.
    bytes
}

/// A component of a world that has nothing to do with waypoints.
///
/// # Panics
/// Where WIT and WAT below do not fit each other.
pub fn wrong_world() -> Vec<u8> {
    const GREETER: (&str, &str) = (
        "greeter.wit",
        "package example:greeting@1.0.0;
         interface greeting { greet: func(loud: bool) -> u32; }
         world greeter { export greeting; }",
    );
    const MODULE: &str = r#"(module
        (func (export "example:greeting/greeting@1.0.0#greet") (param i32) (result i32) (i32.const 5)))"#;
    or_panic("wrong-world", encode(&[&[GREETER]], "greeter", MODULE))
}

/// A resolver that also imports a function, WASI's random numbers, and decides by them.
///
/// # Panics
/// Where WIT and WAT below do not fit each other.
pub fn importing_function() -> Vec<u8> {
    const CHANCE: (&str, &str) = (
        "random.wit",
        "package wasi:random@0.2.0;
         interface random { get-random-u64: func() -> u64; }
         world resolver-by-chance { import random; export wayswitch:waypoint/resolver@0.1.0; }",
    );
    const GUEST: &str = r#"
        (import "wasi:random/random@0.2.0" "get-random-u64" (func $chance (result i64)))
        (func $decide (param $batch i32) (param $index i32) (param $decision i32)
          (call $put-choice (local.get $decision)
            (select (global.get $choice=direct) (global.get $choice=blocked)
              (i32.and (i32.wrap_i64 (call $chance)) (i32.const 1)))))"#;
    let module = module_text("importing-function", GUEST);
    or_panic("importing-function", encode(&[WIT, &[CHANCE]], "resolver-by-chance", &module))
}

/// A resolver that blocks every subject, whatever it is: no control plane's waypoint stays where it was.
///
/// # Panics
/// Where WIT and WAT do not fit each other.
pub fn blocking() -> Vec<u8> {
    const GUEST: &str = r#"
        (func $decide (param $batch i32) (param $index i32) (param $decision i32)
          (call $put-choice (local.get $decision) (global.get $choice=blocked)))"#;
    or_panic("blocking", encode(&[WIT], "waypoint-resolver", &module_text("blocking", GUEST)))
}

/// The guest `well-behaved`, made for version 0.2.0 of the package.
///
/// # Panics
/// Where the guest `well-behaved` does not encode.
pub fn wrong_version() -> Vec<u8> {
    let later = |text: &str| text.replace(VERSION, "@0.2.0");
    let wit: Vec<_> = WIT.iter().map(|(file, text)| (*file, later(text))).collect();
    let wit: Vec<_> = wit.iter().map(|(file, text)| (*file, text.as_str())).collect();
    let module = later(&module_text("wrong-version", text_of("well-behaved")));
    or_panic("wrong-version", encode(&[&wit], "waypoint-resolver", &module))
}

/// The guest `well-behaved` with so many more functions of about 200 instructions each, never called: what it costs is
/// compiling them. About 740 bytes per function.
///
/// # Panics
/// Where the text does not assemble.
pub fn big_code(functions: usize) -> Vec<u8> {
    // No compiler folds a chain of additions and multiplications, nor the shift between them.
    const STEP: &str = "i64.const 0x5851f42d4c957f2d i64.mul i64.const 0x14057b7ef767814f i64.add \
                        local.get 0 i64.xor i64.const 17 i64.rotl\n";
    let function = format!("(func (param i64) (result i64) local.get 0\n{})\n", STEP.repeat(25));
    let module = module_text("big-code", &function.repeat(functions));
    or_panic("big-code", encode(&[WIT], "waypoint-resolver", &module))
}

fn text_of(name: &str) -> &'static str {
    let found = NAMES.iter().zip(TEXTS).find(|(known, _)| **known == name);
    found.map_or_else(|| panic!("no guest is called {name}; there are {NAMES:?}"), |(_, text)| text)
}

/// The whole core module: the guest first, for WAT wants imports before all else.
fn module_text(name: &str, guest: &str) -> String {
    assert!(name.len() <= NAME_SIZE_MAX, "the name {name} is longer than its place in memory");
    let defaults: String = DEFAULTS.iter().filter(|(start, _)| !guest.contains(start)).map(|(_, text)| *text).collect();
    format!(
        "(module\n{guest}\n{PREAMBLE}\n{defaults}\n\
         (global $name-length i32 (i32.const {}))\n(data (i32.const 1024) \"{name}\"))",
        name.len()
    )
}

/// The core module as a component of a world of the last of these WIT packages. Encoding checks every import and export
/// against the world, and the result is validated.
fn encode(packages: &[Package<'_>], world: &str, module: &str) -> Result<Vec<u8>> {
    let mut core = wat::parse_str(module).context("assemble the core module")?;
    let (resolve, world) = world_of(packages, world)?;
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8)
        .context("add the WIT to the core module")?;
    ComponentEncoder::default().validate(true).module(&core)?.encode().context("make a component of the core module")
}

/// Finds the world in the last package; each may use those before it.
fn world_of(packages: &[Package<'_>], world: &str) -> Result<(Resolve, WorldId)> {
    let mut resolve = Resolve::new();
    let mut last = None;
    for files in packages {
        let mut source = SourceMap::new();
        for (file, text) in *files {
            source.push_str(file, *text);
        }
        let group = source.parse().map_err(|(_, error)| error).context("parse the WIT")?;
        last = Some(resolve.push_group(group).context("resolve the WIT")?);
    }
    let package = last.context("no WIT was given")?;
    let world = resolve.select_world(&[package], Some(world)).context("find the world")?;
    Ok((resolve, world))
}

fn or_panic<T>(name: &str, result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("guest {name}: {error:#}"))
}
