//! From the embedded object to programs in the kernel, over the maps that are already pinned if there are any.

use std::io;

use aya::maps::{MapData, MapType};
use aya::programs::{CgroupSockAddr, ProgramError, SockOps};
use aya::{Ebpf, EbpfLoader};
use ebpf_common::{Meta, PairKey, Reason, Record, SLOTS, global, map};

use crate::Config;
use crate::attach::Hook;
use crate::error::{Error, is_denied};
use crate::pins::{MAPS, PinDir, file};

/// What `build.rs` copied. Aligned, because the parser reads it in words.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/redirect.bpf.o"));

/// Lines of the verifier's log that an error carries: the last ones say what was wrong.
const LOG_TAIL_LINES: usize = 12;

/// Creates the maps that are missing, takes over those that are pinned, and loads the programs over them.
pub(crate) fn load(config: &Config, pins: &PinDir) -> Result<Ebpf, Error> {
    for name in MAPS {
        check_pinned(name, config, pins)?;
    }
    let before_rules = config.before_rules as u8;
    let record_passed = u8::from(config.record_passed);
    let mut loader = EbpfLoader::new();
    loader.override_global(global::BEFORE_RULES, &before_rules, true);
    loader.override_global(global::RECORD_PASSED, &record_passed, true);
    loader.map_max_entries(map::PAIR, config.pair_entries);
    for name in MAPS {
        loader.map_pin_path(name, pins.pin(name));
    }
    let mut ebpf = loader.load(OBJECT).map_err(load_error)?;
    for hook in Hook::ATTACH_ORDER {
        load_program(&mut ebpf, hook)?;
    }
    Ok(ebpf)
}

fn load_program(ebpf: &mut Ebpf, hook: Hook) -> Result<(), Error> {
    let name = hook.program();
    let program = ebpf.program_mut(name).ok_or(Error::Incomplete { what: "program", name })?;
    let loaded = match hook {
        Hook::SockOps => <&mut SockOps>::try_from(program).and_then(SockOps::load),
        Hook::Connect4 | Hook::Connect6 => <&mut CgroupSockAddr>::try_from(program).and_then(CgroupSockAddr::load),
    };
    loaded.map_err(|error| match error {
        // EPERM is a missing capability; what the verifier refuses is EACCES or EINVAL.
        ProgramError::LoadError { io_error, .. } if io_error.raw_os_error() == Some(libc::EPERM) => {
            Error::NotPermitted { doing: "load eBPF programs", source: io_error }
        }
        ProgramError::LoadError { io_error, verifier_log } => {
            Error::Verifier { program: name, log_tail: tail(&verifier_log.to_string()), source: io_error }
        }
        source => Error::Program { doing: "load", program: name, source },
    })
}

/// The last lines that are not empty, on one line.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.get(lines.len().saturating_sub(LOG_TAIL_LINES)..).unwrap_or_default().join(" | ")
}

/// A lack of privilege shows as a map that cannot be made.
fn load_error(error: aya::EbpfError) -> Error {
    match denial(&error) {
        Some(code) => Error::NotPermitted { doing: "create eBPF maps", source: io::Error::from_raw_os_error(code) },
        None => Error::Load(error),
    }
}

fn denial(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io_error) = error.downcast_ref::<io::Error>().filter(|error| is_denied(error)) {
            return io_error.raw_os_error();
        }
        next = error.source();
    }
    None
}

/// What a map of this version looks like: type, key size, value size, and its entries where they are fixed.
fn layout(name: &'static str, config: &Config) -> Option<(MapType, usize, usize, Option<u32>)> {
    const INDEX: usize = size_of::<u32>();
    Some(match name {
        map::ACTIVE => (MapType::Array, INDEX, size_of::<u64>(), Some(1)),
        map::META => (MapType::Array, INDEX, size_of::<Meta>(), Some(SLOTS)),
        map::RULES => (MapType::ArrayOfMaps, INDEX, size_of::<u32>(), Some(SLOTS)),
        map::ORIG => (MapType::SkStorage, size_of::<i32>(), size_of::<Record>(), None),
        map::PAIR => (MapType::Hash, size_of::<PairKey>(), size_of::<Record>(), Some(config.pair_entries)),
        map::STATS => (MapType::PerCpuArray, INDEX, size_of::<u64>(), Some(Reason::ALL.len() as u32)),
        _ => return None,
    })
}

/// Refuses a pinned map of another shape: a program loaded over it would read past its values, or not load at all.
fn check_pinned(name: &'static str, config: &Config, pins: &PinDir) -> Result<(), Error> {
    let path = pins.pin(name);
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Ok(()),
        Err(source) => return Err(file("look at", &path)(source)),
    }
    let Some((kind, key, value, entries)) = layout(name, config) else {
        return Ok(());
    };
    let failed = |source| Error::Map { doing: "open pinned", map: name, source };
    let info = MapData::from_pin(&path).and_then(|map| map.info()).map_err(failed)?;
    let rows = [
        ("type", info.map_type().map_err(failed)? as u32, Some(kind as u32)),
        ("key size", info.key_size(), Some(key as u32)),
        ("value size", info.value_size(), Some(value as u32)),
        ("number of entries", info.max_entries(), entries),
    ];
    for (field, found, expected) in rows {
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(Error::PinOfAnotherVersion { path, field, found, expected });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_verifier_log_is_kept() {
        assert_eq!(tail(""), "");
        assert_eq!(tail("one\n\n two\n"), "one |  two");
        let long: String = (0..100).map(|line| format!("line {line}\n")).collect();
        let kept = tail(&long);
        assert!(kept.starts_with("line 88 | ") && kept.ends_with("line 99"), "{kept}");
    }

    #[test]
    fn a_lack_of_privilege_is_found_behind_other_errors() {
        let denied = |code| aya::EbpfError::FileError { path: "x".into(), error: io::Error::from_raw_os_error(code) };
        assert!(matches!(load_error(denied(libc::EPERM)), Error::NotPermitted { .. }));
        assert!(matches!(load_error(denied(libc::ENOENT)), Error::Load(_)));
    }

    #[test]
    fn every_pinned_map_has_a_layout() {
        let config = Config::new("unused");
        for name in MAPS {
            assert!(layout(name, &config).is_some(), "{name}");
        }
    }
}
