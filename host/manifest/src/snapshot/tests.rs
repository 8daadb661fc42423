//! Several files and folders as one snapshot, read again while they change.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use std::collections::BTreeSet;
use std::path::Path;

fn service(name: &str, ip: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{clusterIP: {ip}}}\n")
}

fn folder(files: &[(&str, String)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn source(paths: &[&Path]) -> FolderSource {
    FolderSource::new(paths.iter().map(|p| p.to_path_buf()).collect(), Limits::default())
}

/// Names and first addresses of the Services, in the order of their names.
fn services(snapshot: &Snapshot) -> Vec<String> {
    snapshot
        .objects
        .values()
        .map(|entry| match &*entry.object {
            Object::Service(s) => {
                format!("{} {}", s.meta.name, s.addresses.first().map_or("-".into(), |a| a.to_string()))
            }
            other => other.key().to_string(),
        })
        .collect()
}

fn problems(snapshot: &Snapshot) -> Vec<String> {
    snapshot.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn the_later_of_two_documents_counts_by_path_then_name_then_position() {
    let first = folder(&[
        ("b.yaml", service("x", "10.0.0.2")),
        ("a.yml", service("x", "10.0.0.1") + "---\n" + &service("v", "10.0.1.1") + "---\n" + &service("v", "10.0.1.2")),
        ("B.yaml", service("z", "10.0.2.1")),
        ("a.yaml", service("z", "10.0.2.2")),
    ]);
    let second = folder(&[("0.json", r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"w"}}"#.to_owned())]);
    let mut one = source(&[first.path(), second.path()]);
    let snapshot = one.load();
    assert_eq!(services(&snapshot), ["v 10.0.1.2", "w -", "x 10.0.0.2", "z 10.0.2.2"]);
    let v = &snapshot.objects[&ObjectKey::new(model::object::Kind::Service, "default", "v")];
    assert_eq!((v.file.ends_with("/a.yml"), v.position.document, v.position.line), (true, 3, 11));
    fs::write(second.path().join("1.yaml"), service("x", "10.9.9.9")).unwrap();
    assert_eq!(services(&one.load())[2], "x 10.9.9.9");
    assert_eq!(services(&source(&[second.path(), first.path()]).load())[2], "x 10.0.0.2");
}

#[test]
fn only_regular_manifests_of_the_folder_itself_are_read() {
    let folder = folder(&[
        ("a.yaml", service("a", "10.0.0.1")),
        (".hidden.yaml", service("b", "10.0.0.1")),
        ("..x.yaml", service("c", "10.0.0.1")),
        ("notes.txt", "]".to_owned()),
        ("a.yaml~", "]".to_owned()),
        ("A.YAML", "]".to_owned()),
    ]);
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::write(folder.path().join("sub/d.yaml"), service("d", "10.0.0.1")).unwrap();
    let snapshot = source(&[folder.path()]).load();
    assert_eq!((services(&snapshot), problems(&snapshot).len()), (vec!["a 10.0.0.1".to_owned()], 0));
    fs::create_dir(folder.path().join("e.yaml")).unwrap();
    let pipe = std::ffi::CString::new(folder.path().join("f.yaml").to_str().unwrap()).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(pipe.to_str().unwrap()).status().unwrap().success());
    let problems = problems(&source(&[folder.path()]).load());
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems.iter().all(|p| p.ends_with(": is not a regular file")), "{problems:?}");
}

#[test]
fn a_link_may_not_leave_the_folder() {
    let outside = folder(&[("secret.yaml", service("secret", "10.0.0.1"))]);
    let inside = folder(&[("a.yaml", service("a", "10.0.0.1"))]);
    symlink("a.yaml", inside.path().join("fine.yaml")).unwrap();
    symlink(outside.path().join("secret.yaml"), inside.path().join("x.yaml")).unwrap();
    let up = Path::new("..").join(outside.path().file_name().unwrap()).join("secret.yaml");
    symlink(&up, inside.path().join("y.yaml")).unwrap();
    let snapshot = source(&[inside.path()]).load();
    assert_eq!(services(&snapshot), ["a 10.0.0.1"]);
    let problems = problems(&snapshot);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems.iter().all(|p| p.contains("links must stay inside the folder")), "{problems:?}");
    // The same for a file that was named itself.
    let snapshot = source(&[&inside.path().join("x.yaml")]).load();
    assert_eq!((snapshot.objects.len(), snapshot.problems.len()), (0, 1));
}

#[test]
fn a_mounted_config_map_is_followed() {
    let mount = folder(&[]);
    let root = mount.path();
    for (version, ip) in [("..2026_01", "10.0.0.1"), ("..2026_02", "10.0.0.2")] {
        fs::create_dir(root.join(version)).unwrap();
        fs::write(root.join(version).join("a.yaml"), service("a", ip)).unwrap();
    }
    symlink("..2026_01", root.join("..data")).unwrap();
    symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
    let mut source = source(&[root]);
    assert_eq!(services(&source.load()), ["a 10.0.0.1"]);
    symlink("..2026_02", root.join("..data_tmp")).unwrap();
    fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    let snapshot = source.load();
    assert_eq!((services(&snapshot), problems(&snapshot).len()), (vec!["a 10.0.0.2".to_owned()], 0));
}

#[test]
fn a_config_map_that_leads_outside_is_refused() {
    let outside = folder(&[("a.yaml", service("secret", "10.0.0.1"))]);
    let mount = folder(&[]);
    symlink(outside.path(), mount.path().join("..data")).unwrap();
    symlink("..data/a.yaml", mount.path().join("a.yaml")).unwrap();
    let snapshot = source(&[mount.path()]).load();
    assert_eq!((snapshot.objects.len(), snapshot.problems.len()), (0, 1));
}

#[test]
fn a_file_can_be_named_itself() {
    let folder = folder(&[("a.yaml", service("a", "10.0.0.1")), ("b", service("b", "10.0.0.1"))]);
    let paths = [folder.path().join("a.yaml"), folder.path().join("b")];
    let snapshot = source(&[&paths[0], &paths[1]]).load();
    assert_eq!(services(&snapshot), ["a 10.0.0.1", "b 10.0.0.1"]);
    let problems = problems(&source(&[&folder.path().join("none.yaml")]).load());
    assert!(problems.len() == 1 && problems[0].contains("none.yaml: cannot be read"), "{problems:?}");
}

#[test]
fn a_file_with_an_error_keeps_what_it_gave_before() {
    let folder = folder(&[
        ("a.yaml", service("a", "10.0.0.1") + "---\n" + &service("b", "10.0.0.1")),
        ("c.yaml", service("c", "10.0.0.1")),
    ]);
    let path = folder.path().join("a.yaml");
    let mut source = source(&[folder.path()]);
    let first = source.load();
    // The second document is broken, and the first one changed and is taken.
    fs::write(&path, service("a", "10.0.0.2") + "---\nkind: [\n").unwrap();
    let second = source.load();
    assert_eq!(services(&second), ["a 10.0.0.2", "b 10.0.0.1", "c 10.0.0.1"]);
    assert_eq!(second.problems.len(), 1);
    assert!(matches!(&*diff(&first, &second), [Event::Apply(Object::Service(s))] if &*s.meta.name == "a"));
    // Still broken, now with another error.
    fs::write(&path, [0xff, 0xfe]).unwrap();
    let third = source.load();
    assert_eq!(services(&third), services(&second));
    assert!(problems(&third)[0].ends_with("a.yaml:1:1: document 1: is not UTF-8 text from byte 0 on; convert it"));
    assert_eq!(diff(&second, &third), []);
    // Repaired without b: now it goes.
    fs::write(&path, service("a", "10.0.0.2")).unwrap();
    let fourth = source.load();
    assert_eq!((services(&fourth), fourth.problems.len()), (vec!["a 10.0.0.2".to_owned(), "c 10.0.0.1".to_owned()], 0));
    assert!(matches!(&*diff(&third, &fourth), [Event::Delete(key)] if &*key.name == "b"));
    // A file that is gone takes its objects along.
    fs::remove_file(folder.path().join("c.yaml")).unwrap();
    assert_eq!(services(&source.load()), ["a 10.0.0.2"]);
}

#[test]
fn a_folder_that_cannot_be_listed_keeps_what_it_gave_before() {
    let folder = folder(&[("a.yaml", service("a", "10.0.0.1"))]);
    let path = folder.path().to_owned();
    let mut source = source(&[&path]);
    let first = source.load();
    drop(folder);
    let second = source.load();
    assert_eq!(diff(&first, &second), []);
    let line = problems(&second).remove(0);
    assert!(line.contains("cannot be read") && line.contains("No such file or directory"), "{line}");
}

#[test]
fn a_difference_has_what_came_changed_and_went_and_nothing_else() {
    let before = folder(&[(
        "a.yaml",
        [service("a", "10.0.0.1"), service("b", "10.0.0.1"), service("c", "10.0.0.1")].join("---\n"),
    )]);
    let after = folder(&[(
        "z.yaml",
        ["# moved\n".to_owned() + &service("a", "10.0.0.1"), service("c", "10.0.0.9"), service("d", "10.0.0.1")]
            .join("---\n"),
    )]);
    let (old, new) = (source(&[before.path()]).load(), source(&[after.path()]).load());
    let events: Vec<_> = diff(&old, &new)
        .iter()
        .map(|event| match event {
            Event::Apply(object) => format!("+{}", object.meta().name),
            Event::Delete(key) => format!("-{}", key.name),
        })
        .collect();
    assert_eq!(events, ["+c", "+d", "-b"]);
}

#[test]
fn kinds_that_are_not_read_give_one_warning_each_with_their_number() {
    let of = |kind: &str| format!("---\napiVersion: {kind}\nmetadata: {{name: x}}\n");
    let text = of("apps/v1\nkind: Deployment")
        + &of("v1\nkind: Secret")
        + &of("apps/v1beta1\nkind: Deployment")
        + &of("networking.istio.io/v1\nkind: Sidecar")
        + &of("v1\nkind: ServiceAccount");
    let folder = folder(&[("a.yaml", text)]);
    let snapshot = source(&[&folder.path().join("a.yaml")]).load();
    let warnings: Vec<_> =
        snapshot.warnings.iter().map(|w| w.to_string().split_once("a.yaml").unwrap().1.to_owned()).collect();
    assert_eq!(
        warnings,
        [
            ":6: document 2: 1 of kind Secret ignored: unknown kind",
            ":2: document 1: 2 of kind Deployment of apps ignored: unknown kind",
            ":14: document 4: 1 of kind Sidecar of networking.istio.io ignored: unknown kind",
        ]
    );
    assert!(snapshot.problems.is_empty() && snapshot.objects.is_empty());
}

#[test]
fn limits_of_files_objects_and_problems_hold() {
    let folder = folder(&[
        ("a.yaml", [service("a", "10.0.0.1"), service("b", "10.0.0.1"), service("c", "10.0.0.1")].join("---\n")),
        ("b.yaml", "1\n---\n2\n---\n3\n---\n4\n".to_owned()),
    ]);
    let load = |limits| FolderSource::new(vec![folder.path().to_owned()], limits).load();
    let snapshot = load(Limits { objects_max: 2, problems_max: 3, ..Limits::default() });
    assert_eq!(services(&snapshot), ["a 10.0.0.1", "b 10.0.0.1"]);
    let lines = problems(&snapshot);
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[0].contains("document 3: more than the 2 objects allowed"), "{lines:?}");
    assert!(lines[3].ends_with("2 further problems are not shown"), "{lines:?}");
    let lines = problems(&load(Limits { file_bytes_max: 100, ..Limits::default() }));
    assert!(lines[0].contains("a.yaml: has ") && lines[0].contains("more than the 100 allowed; split it"), "{lines:?}");
    let snapshot = load(Limits { files_max: 1, ..Limits::default() });
    assert_eq!(snapshot.objects.len(), 0);
    assert!(problems(&snapshot)[0].contains("more than the 1 manifests allowed"), "{snapshot:?}");
}

fn data(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data")).join(path)
}

#[test]
fn bookinfo_is_read_in_full_and_every_row_of_its_table_is_there() {
    let snapshot = source(&[&data("bookinfo/manifests")]).load();
    assert_eq!((problems(&snapshot), snapshot.warnings.len()), (Vec::new(), 0));
    let published: BTreeSet<String> = snapshot
        .objects
        .iter()
        .filter(|(_, entry)| match &*entry.object {
            Object::Service(service) => service.is_published(),
            Object::Pod(pod) => pod.is_published(),
            _ => false,
        })
        .map(|(key, _)| key.to_string())
        .collect();
    let expected = fs::read_to_string(data("bookinfo/expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
    for component in ["istio", "service-account"] {
        let rows: BTreeSet<String> = expected[component].as_object().unwrap().keys().cloned().collect();
        assert_eq!(rows, published, "{component}");
    }
}

#[test]
fn addresses_of_bookinfo_are_unique() {
    let snapshot = source(&[&data("bookinfo/manifests")]).load();
    let mut seen = BTreeMap::new();
    for (key, entry) in &snapshot.objects {
        let addresses = match &*entry.object {
            Object::Service(service) => &service.addresses[..],
            Object::Pod(pod) => &pod.addresses[..],
            _ => continue,
        };
        for address in addresses {
            assert_eq!(seen.insert(*address, key), None, "{address} of {key} is somebody else's too");
        }
    }
    assert!(seen.len() > 24, "{seen:?}");
}

#[test]
fn every_conformance_case_is_read_without_a_problem() {
    let mut cases = 0;
    for entry in fs::read_dir(data("conformance")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.to_string_lossy();
        if !name.ends_with(".yaml") || name.ends_with(".mesh.yaml") {
            continue;
        }
        cases += 1;
        let snapshot = source(&[&path]).load();
        // Y36 is about a document that is not YAML.
        assert_eq!(problems(&snapshot).len(), usize::from(name.contains("/Y36")), "{:?}", problems(&snapshot));
        // F06 has a Route.
        assert!(snapshot.warnings.is_empty() || name.ends_with("F06.yaml"), "{:?}", snapshot.warnings);
        assert!(!snapshot.objects.is_empty(), "{path:?}");
    }
    assert!(cases >= 170, "{cases} cases: some are missing");
}
