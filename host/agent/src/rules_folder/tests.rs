//! What the folder may say, and that nothing outside the configured folders is read.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn read(folder: &tempfile::TempDir) -> Result<Wanted, Unreadable> {
    RulesFolder::new(folder.path().to_owned(), Vec::new()).read()
}

fn refused(folder: &tempfile::TempDir, expected: &str) {
    let refusal = read(folder).unwrap_err().refusal;
    assert_eq!(refusal.stage, Stage::Fetch);
    assert!(refusal.reason.contains(expected), "{}", refusal.reason);
}

#[test]
fn a_plain_folder_names_a_file_of_its_own() {
    let config = "component: a.wasm\nsha256: ab\nsettings: {unbound: blocked}\nlimits: {fuelBase: 7}\n";
    let wanted = read(&folder(&[("config.yaml", config.as_bytes()), ("a.wasm", b"bytes")])).unwrap();
    assert_eq!(&*wanted.source.bytes, b"bytes");
    assert_eq!(&*wanted.source.terms.settings, r#"{"unbound":"blocked"}"#);
    assert_eq!((wanted.source.pin.as_deref(), wanted.source.limits.fuel_base), (Some("ab"), 7));
    assert_eq!((wanted.source.terms.denied, wanted.source.terms.undecided), (Choice::Direct, Choice::Blocked));
}

#[test]
fn a_mounted_config_map_is_read_through_its_data_link() {
    let folder = tempfile::tempdir().unwrap();
    for (version, bytes) in [("..1", "one"), ("..2", "two")] {
        fs::create_dir(folder.path().join(version)).unwrap();
        fs::write(folder.path().join(version).join("config.yaml"), "component: a.wasm\n").unwrap();
        fs::write(folder.path().join(version).join("a.wasm"), bytes).unwrap();
    }
    symlink("..1", folder.path().join("..data")).unwrap();
    let first = read(&folder).unwrap();
    symlink("..2", folder.path().join("..tmp")).unwrap();
    fs::rename(folder.path().join("..tmp"), folder.path().join("..data")).unwrap();
    let second = read(&folder).unwrap();
    assert_eq!((&*first.source.bytes, &*second.source.bytes), (&b"one"[..], &b"two"[..]));
    assert_ne!(first.fingerprint, second.fingerprint);
}

#[test]
fn the_built_in_component_needs_no_file() {
    let wanted = read(&folder(&[("config.yaml", b"component: builtin:istio\n")])).unwrap();
    assert_eq!(&*wanted.source.bytes, DEFAULT_COMPONENT);
}

#[test]
fn what_leads_out_of_the_folder_is_refused() {
    let outside = folder(&[("secret.wasm", b"secret")]);
    let secret = outside.path().join("secret.wasm");
    let up = format!("component: ../{}/secret.wasm\n", outside.path().file_name().unwrap().to_string_lossy());
    refused(&folder(&[("config.yaml", up.as_bytes())]), "secret.wasm cannot be read");
    refused(
        &folder(&[("config.yaml", format!("component: {}\n", secret.display()).as_bytes())]),
        "--components allows",
    );
    let linked = folder(&[("config.yaml", b"component: link.wasm\n")]);
    symlink(&secret, linked.path().join("link.wasm")).unwrap();
    refused(&linked, "link.wasm cannot be read");
    let data = tempfile::tempdir().unwrap();
    symlink(outside.path(), data.path().join("..data")).unwrap();
    refused(&data, "..data cannot be opened");
}

#[test]
fn an_allowed_folder_is_read_and_nothing_beside_it() {
    let allowed = folder(&[("a.wasm", b"allowed")]);
    let read = |component: String| {
        let config = folder(&[("config.yaml", format!("component: {component}\n").as_bytes())]);
        RulesFolder::new(config.path().to_owned(), vec![allowed.path().to_owned()]).read()
    };
    let path = allowed.path().display();
    assert_eq!(&*read(format!("{path}/a.wasm")).unwrap().source.bytes, b"allowed");
    assert!(read(format!("{path}/../x.wasm")).unwrap_err().refusal.reason.contains("with .. is not taken"));
    assert!(read(format!("{path}-beside/a.wasm")).unwrap_err().refusal.reason.contains("--components allows"));
}

#[test]
fn what_is_wrong_is_named() {
    refused(&tempfile::tempdir().unwrap(), "config.yaml cannot be read");
    refused(&folder(&[("config.yaml", b"component: [\n")]), "config.yaml:");
    refused(&folder(&[("config.yaml", b"component: a.wasm\nsha265: x\n")]), "sha265");
    refused(&folder(&[("config.yaml", b"component: a.wasm\n")]), "a.wasm cannot be read");
    refused(&folder(&[("config.yaml", b"component: .\n")]), "not a regular file");
    refused(&folder(&[("config.yaml", &vec![b'#'; 1 + (1 << 20)])]), "more than 1048576 bytes");
    let gone = RulesFolder::new("/nonexistent/rules".into(), Vec::new()).read().unwrap_err();
    assert!(gone.refusal.reason.contains("the folder /nonexistent/rules cannot be opened"), "{gone:?}");
}
