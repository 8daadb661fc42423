//! What the folder may say, and that nothing outside the configured folders is read.

use std::fs;
use std::os::unix::fs::symlink;

use model::decision::Choice;

use super::*;

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn read(folder: &tempfile::TempDir) -> Result<Wanted, Unreadable> {
    Rules::of_folder(folder.path().to_owned(), Vec::new()).read(&model::Labels::default())
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
        Rules::of_folder(config.path().to_owned(), vec![allowed.path().to_owned()]).read(&model::Labels::default())
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
    let gone = Rules::of_folder("/nonexistent/rules".into(), Vec::new()).read(&model::Labels::default()).unwrap_err();
    assert!(gone.refusal.reason.contains("the folder /nonexistent/rules cannot be opened"), "{gone:?}");
}

fn config_map(keys: &[(&str, &[u8])]) -> Content {
    let keys = keys.iter().map(|(key, bytes)| ((*key).to_owned(), bytes.to_vec()));
    Content::There(Arc::new(keys.collect()))
}

fn of_config_map(content: Content, pins: Option<Pins>, node: &str) -> Result<Wanted, Unreadable> {
    let (_told, content) = watch::channel(content);
    let place = Place::ConfigMap("system/rules".to_owned(), content);
    Rules { place, components: Vec::new(), pins, node: node.to_owned() }.read(&model::Labels::default())
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    zip.write_all(bytes).unwrap();
    zip.finish().unwrap()
}

#[test]
fn a_watched_config_map_is_laid_out_as_a_folder_and_may_be_packed() {
    let content = config_map(&[("config.yaml", b"component: a.wasm.gz\n"), ("a.wasm.gz", &zipped(b"bytes"))]);
    assert_eq!(&*of_config_map(content, None, "").unwrap().source.bytes, b"bytes");
    let refused = |content, expected: &str| {
        let reason = of_config_map(content, None, "").unwrap_err().refusal.reason;
        assert!(reason.contains(expected), "{reason}");
    };
    refused(Content::Missing, "ConfigMap system/rules does not exist");
    refused(Content::Unknown, "did not answer");
    refused(config_map(&[]), "has no key \"config.yaml\"");
    refused(config_map(&[("config.yaml", b"component: b.wasm\n")]), "has no key \"b.wasm\"");
    refused(config_map(&[("config.yaml", b"component: a.gz\n"), ("a.gz", b"garbage")]), "a.gz cannot be unpacked");
    // A bomb ends at one byte more than a component may have, which the engine then refuses by its size.
    let config = b"component: a.gz\nlimits: {componentBytes: 1000}\n";
    let bomb = config_map(&[("config.yaml", config), ("a.gz", &zipped(&vec![0; 10 << 20]))]);
    assert_eq!(of_config_map(bomb, None, "").unwrap().source.bytes.len(), 1001);
}

#[test]
fn who_vouches_for_components_need_not_be_who_edits_the_rules() {
    let content = || config_map(&[("config.yaml", b"component: a.wasm\n"), ("a.wasm", b"bytes")]);
    let pins = |text: &str| {
        let (_told, content) = watch::channel(config_map(&[("pins", text.as_bytes())]));
        Some(Pins::ConfigMap("system/pins".to_owned(), content))
    };
    let digest = crate::capture::hex(&Sha256::digest(b"bytes"));
    assert!(of_config_map(content(), pins(&format!("# ours\n{digest}  a.wasm\n")), "").is_ok());
    let refusal = of_config_map(content(), pins("00  a.wasm\n"), "").unwrap_err().refusal;
    assert_eq!(refusal.stage, Stage::Digest);
    assert!(refusal.reason.contains(&digest) && refusal.reason.contains("system/pins"), "{refusal}");
    let gone = Some(Pins::File("/nonexistent/pins".into()));
    assert!(of_config_map(content(), gone.clone(), "").is_err(), "in doubt nothing is admitted");
    let built_in = config_map(&[("config.yaml", b"component: builtin:istio\n")]);
    assert!(of_config_map(built_in, gone, "").is_ok(), "what is part of the program needs no pin");
}

#[test]
fn a_roll_out_gives_some_nodes_other_rules_and_tells_the_others_nothing_new() {
    let config = |share: &str| {
        let text = format!(
            "component: a.wasm\nsettings: {{n: 1}}\nrollout: {{component: b.wasm, share: {share}, settings: {{n: 2}}}}\n"
        );
        config_map(&[("config.yaml", text.as_bytes()), ("a.wasm", b"a"), ("b.wasm", b"b")])
    };
    let of = |share: &str, node: &str| of_config_map(config(share), None, node).unwrap();
    let (none, all) = (of("0", "node"), of("100", "node"));
    assert_eq!((none.component.as_str(), &*none.source.terms.settings), ("a.wasm", r#"{"n":1}"#));
    assert_eq!((all.component.as_str(), &*all.source.terms.settings), ("b.wasm", r#"{"n":2}"#));
    assert_eq!(of("0", "node").fingerprint, of("0.0000001", "node").fingerprint, "nothing new for this node");
    assert_ne!(none.fingerprint, all.fingerprint);
    assert!(of_config_map(config("200"), None, "").unwrap_err().refusal.reason.contains("rollout: share 200"));
}
