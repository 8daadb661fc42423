//! A folder that is edited, broken and repaired: what is handed on, and that it is neither too much nor too little.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;
use crate::snapshot::FolderSource;

fn service(name: &str, ip: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{clusterIP: {ip}}}\n")
}

fn services(names: &[&str]) -> String {
    names.iter().map(|name| service(name, "10.0.0.1")).collect::<Vec<_>>().join("---\n")
}

/// A reader and what somebody has who follows it.
struct Followed {
    reader: FolderReader,
    objects: BTreeMap<ObjectKey, Object>,
}

impl Followed {
    fn new(folder: &Path) -> Self {
        Self { reader: FolderReader::new(vec![folder.to_owned()], Limits::default()), objects: BTreeMap::new() }
    }

    /// Reads, and checks that each event says something new.
    fn read(&mut self) -> Reading {
        let objects = &mut self.objects;
        let mut apply = |event: Event| match event {
            Event::Apply(object) => {
                let key = object.key();
                assert_ne!(objects.insert(key.clone(), object.clone()), Some(object), "{key} is the same as before");
            }
            Event::Delete(key) => assert!(objects.remove(&key).is_some(), "{key} was not there"),
        };
        let reading = self.reader.read(&mut apply, &mut |_| {});
        assert_eq!(reading.objects, self.objects.len());
        reading
    }

    fn names(&self) -> Vec<&str> {
        self.objects.keys().map(|key| &*key.name).collect()
    }
}

#[test]
fn an_object_with_a_fault_stays_and_hides_no_deletion_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let write = |text: String| fs::write(folder.path().join("a.yaml"), text).unwrap();
    let mut followed = Followed::new(folder.path());
    write(services(&["a", "b", "c"]));
    followed.read();
    let bad = "---\napiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: 1}}\n";
    write(services(&["b", "d"]) + bad);
    let reading = followed.read();
    assert_eq!((reading.problems.len(), reading.is_whole, followed.names()), (1, true, vec!["a", "b", "d"]));
    write(services(&["d"]) + bad);
    followed.read();
    assert_eq!(followed.names(), ["a", "d"]);
    // Whose fault it is, is not known: everything stays.
    write("apiVersion: v1\nkind: Service\nmetadata: {labels: {x: y}}\n".to_owned());
    followed.read();
    assert_eq!(followed.names(), ["a", "d"]);
    write(services(&["e"]));
    followed.read();
    assert_eq!(followed.names(), ["e"]);
}

#[test]
fn a_file_that_stays_broken_does_not_gather_objects() {
    let folder = tempfile::tempdir().unwrap();
    let write = |text: String| fs::write(folder.path().join("a.yaml"), text).unwrap();
    let mut followed = Followed::new(folder.path());
    write(services(&["a", "b"]));
    followed.read();
    for i in 0..50 {
        write(
            service("b", &format!("10.0.0.{i}")) + "---\n" + &service(&format!("n{i}"), "10.0.0.1") + "---\nkind: [\n",
        );
        assert!(!followed.read().is_whole);
        assert_eq!(followed.names(), ["a", "b", &*format!("n{i}")]);
    }
    // Broken from the start: the first reading is what counts.
    fs::write(folder.path().join("b.yaml"), services(&["x"]) + "---\nkind: [\n").unwrap();
    followed.read();
    fs::write(folder.path().join("b.yaml"), services(&["y"]) + "---\nkind: [\n").unwrap();
    followed.read();
    fs::write(folder.path().join("b.yaml"), services(&["z"]) + "---\nkind: [\n").unwrap();
    followed.read();
    assert_eq!(followed.names(), ["a", "b", "n49", "x", "z"]);
    write(services(&["b"]));
    fs::write(folder.path().join("b.yaml"), "").unwrap();
    assert!(followed.read().is_whole);
    assert_eq!(followed.names(), ["b"]);
}

#[test]
fn an_object_written_twice_is_one_warning_with_both_places() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("a.yaml"), services(&["x", "y"])).unwrap();
    fs::write(path("b.yaml"), services(&["z", "y", "z"])).unwrap();
    let mut followed = Followed::new(folder.path());
    for _ in 0..2 {
        let root = folder.path().display();
        let warnings: Vec<_> = followed.read().warnings.iter().map(ToString::to_string).collect();
        let expected = [
            format!("{root}/b.yaml:6: document 2: Service default/y is also at {root}/a.yaml:6; this one counts"),
            format!("{root}/b.yaml:11: document 3: Service default/z is also at {root}/b.yaml:1; this one counts"),
        ];
        assert_eq!(warnings, expected);
    }
}

#[test]
fn warnings_are_bounded_and_the_rest_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let kinds: String = (0..10_000).map(|i| format!("---\napiVersion: x/v1\nkind: K{i}\n")).collect();
    fs::write(folder.path().join("a.yaml"), kinds + "---\n" + &services(&["a", "a", "a", "a"])).unwrap();
    let limits = Limits { problems_max: 2, ..Limits::default() };
    let mut reader = FolderReader::new(vec![folder.path().to_owned()], limits);
    let reading = reader.read(&mut |_| {}, &mut |_| {});
    assert_eq!((reading.warnings.len(), reading.problems.len(), reading.objects), (5, 0, 1));
    let last = reading.warnings.last().unwrap().to_string();
    assert_eq!(last, "further 9998 of kinds that are not known and 1 written twice are not shown");
}

#[test]
fn progress_is_told_while_objects_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let item = |i| format!(r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p{i}"}}}}"#);
    let items = (0..25_000).map(item).collect::<Vec<_>>().join(",\n");
    let text = format!(r#"{{"apiVersion":"v1","items":[{items}],"kind":"List"}}"#);
    fs::write(folder.path().join("a.json"), text).unwrap();
    let mut reader = FolderReader::new(vec![folder.path().to_owned()], Limits::default());
    let (mut told, mut handed_on) = (Vec::new(), std::cell::Cell::new(0));
    let reading =
        reader.read(&mut |_| handed_on.set(handed_on.get() + 1), &mut |read| told.push((read, handed_on.get() > 0)));
    // Objects are handed on while the file is read, not at its end.
    assert_eq!((told, *handed_on.get_mut(), reading.objects), (vec![(10_000, true), (20_000, true)], 25_000, 25_000));
}

#[test]
fn a_file_written_to_while_it_is_read_is_not_taken_for_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    let mut followed = Followed::new(folder.path());
    fs::write(&path, services(&["a", "b"])).unwrap();
    followed.read();
    fs::write(&path, services(&["c"])).unwrap();
    let mut reader = FolderReader::new(vec![folder.path().to_owned()], Limits::default());
    std::mem::swap(&mut reader, &mut followed.reader);
    let mut objects = Vec::new();
    let mut events = |change: Change<'_>| {
        if let Change::Delete(key) = &change {
            objects.push(format!("-{}", key.name));
        }
    };
    // The writer is there when the file is opened, before anything of it is read.
    let writer = |path: &Path| fs::write(path, services(&["c", "d"])).unwrap();
    let mut pass = Pass {
        with: Context { limits: &reader.limits, pool: &reader.pool },
        hasher: &reader.hasher,
        files: &mut reader.files,
        known: &mut reader.known,
        report: Report::new(&reader.limits),
        waiting: BTreeMap::new(),
        waiting_max: WAITING_MAX,
        waiting_least: WAITING_MAX,
        quiet: QUIET,
        each: &mut events,
        progress: &mut |_| {},
    };
    pass.start();
    read_path(folder.path(), &reader.limits, &mut |file| {
        writer(&path);
        pass.file(0, file);
    })
    .unwrap();
    pass.finish();
    let (problems, _, is_whole) = pass.report.finish();
    assert!(
        !is_whole && problems.len() == 1 && problems[0].to_string().contains("a.yaml: was written to"),
        "{problems:?}"
    );
    assert_eq!(objects, Vec::<String>::new());
}

/// A small generator: the same numbers every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Three files with a handful of objects that are in several of them, edited, removed and broken at random. Whoever follows
/// has what a fresh reading finds as soon as nothing is broken, whether many or few objects may wait.
#[test]
fn who_follows_has_what_a_fresh_reading_finds() {
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let folder = tempfile::tempdir().unwrap();
        let mut followed = Followed::new(folder.path());
        followed.reader.waiting_max = 1 + dice.roll(4) as usize;
        // Half of them trust that a file with the same time is the same.
        followed.reader.quiet = if seed % 2 == 0 { 0 } else { QUIET };
        let mut broken = [false; 3];
        for step in 0..60 {
            let at = dice.roll(3) as usize;
            let path = folder.path().join(format!("{at}.yaml"));
            broken[at] = false;
            match dice.roll(6) {
                0 => drop(fs::remove_file(&path)),
                kind => {
                    let count = dice.roll(6);
                    let object =
                        |dice: &mut Dice| service(&format!("s{}", dice.roll(6)), &format!("10.0.0.{}", dice.roll(3)));
                    let mut text = (0..count).map(|_| object(&mut dice)).collect::<Vec<_>>().join("---\n");
                    broken[at] = kind == 1;
                    text.push_str(if broken[at] { "---\nkind: [\n" } else { "" });
                    fs::write(&path, text).unwrap();
                    // The clock of the file system is too coarse for this.
                    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(step);
                    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
                }
            }
            // What waits too short may be handed on twice, so here only the end counts.
            let objects = &mut followed.objects;
            let reading = followed.reader.read(
                &mut |event| match event {
                    Event::Apply(object) => drop(objects.insert(object.key(), object)),
                    Event::Delete(key) => assert!(objects.remove(&key).is_some(), "seed {seed}: {key}"),
                },
                &mut |_| {},
            );
            assert_eq!(reading.is_whole, broken == [false; 3], "seed {seed}");
            let fresh = FolderSource::new(vec![folder.path().to_owned()], Limits::default()).load();
            let missing = fresh.objects.keys().find(|key| !followed.objects.contains_key(key));
            assert_eq!(missing, None, "seed {seed}");
            if reading.is_whole {
                let fresh: BTreeMap<_, _> =
                    fresh.objects.into_iter().map(|(key, entry)| (key, Object::clone(&entry.object))).collect();
                assert_eq!(followed.objects, fresh, "seed {seed}");
            }
        }
    }
}

#[test]
fn a_file_that_did_not_change_is_not_read_again_and_tells_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, text: String, time: u64| {
        fs::write(path(name), text).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(time);
        fs::File::options().write(true).open(path(name)).unwrap().set_modified(time).unwrap();
    };
    let odd = "---\napiVersion: apps/v1\nkind: Deployment\n---\nkind: [\n";
    write("a.yaml", services(&["a", "b"]) + odd, 1);
    write("b.yaml", services(&["c"]) + odd, 1);
    let mut followed = Followed::new(folder.path());
    followed.reader.quiet = 0;
    let lines = |reading: &Reading| -> Vec<String> {
        let problems = reading.problems.iter().map(ToString::to_string);
        problems.chain(reading.warnings.iter().map(ToString::to_string)).collect()
    };
    let first = followed.read();
    assert_eq!((lines(&first).len(), first.objects, first.is_whole), (3, 3, false));
    let outcomes = |followed: &Followed| {
        let id = |name: &str| followed.reader.files.clone_id(0, &path(name));
        ["a.yaml", "b.yaml"].map(|name| id(name).is_some_and(|id| followed.reader.files.is_unchanged(id)))
    };
    let second = followed.read();
    assert_eq!((lines(&second), second.is_whole, outcomes(&followed)), (lines(&first), false, [true, true]));
    write("b.yaml", services(&["d", "a"]), 2);
    let third = followed.read();
    assert_eq!((followed.names(), outcomes(&followed)), (vec!["a", "b", "d"], [true, false]));
    let double = third.warnings.last().unwrap().to_string();
    assert!(
        double.contains("Service default/a is also at") && double.ends_with("/a.yaml:1; this one counts"),
        "{double}"
    );
    // Its object is hidden, so that nobody would know it if the other went.
    write("b.yaml", services(&["d"]), 3);
    followed.read();
    assert_eq!((followed.names(), outcomes(&followed)), (vec!["a", "b", "d"], [false, false]));
    followed.read();
    assert_eq!(outcomes(&followed), [true, true]);
    // The earlier of two files is the one that changes.
    write("a.yaml", services(&["b", "d"]), 4);
    let last = followed.read();
    assert_eq!((followed.names(), outcomes(&followed), last.warnings.len()), (vec!["b", "d"], [false, true], 1));
    // Young files are read again.
    followed.reader.quiet = u64::MAX;
    write("b.yaml", services(&["d"]), 5);
    followed.read();
    followed.read();
    assert_eq!(outcomes(&followed), [false, false]);
}
