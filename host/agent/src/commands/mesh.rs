//! Reads a mesh, from manifests or a capture, and decides it once, for the commands that work on files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use engine::{Engine, Limits, Loaded, Source};
use manifest::{FolderSource, Format};
use model::conditions::Said;
use model::decider::Terms;
use model::decision::Choice;
use model::store::{Event, Facts};
use model::{Decider, Name, ObjectKey, Store};

use crate::capture::{Capture, Found, Header, LearnedRows, Reader, Rules, is_capture};
use crate::cli::TermFlags;
use crate::rules::{DEFAULT_COMPONENT, Wanted};

pub(crate) mod live;
pub(crate) mod part;

/// The exit status when an input cannot be read.
pub(crate) const UNREADABLE: u8 = 2;

type CaptureFile = Reader<BufReader<File>>;

/// A decided mesh.
pub(crate) struct Decided {
    pub(crate) store: Store,
    pub(crate) decider: Decider,
    pub(crate) component: Loaded,
    pub(crate) terms: Terms,
}

/// A mesh that was read, and where each object of it is written.
pub(crate) struct Mesh {
    pub(crate) store: Store,
    pub(crate) places: HashMap<ObjectKey, Place>,
    /// Decisions on what a control plane told, of a capture: as they were made.
    pub(crate) learned: LearnedRows,
    /// The flags, with what a capture says where they say nothing: decide with these.
    pub(crate) terms: TermFlags,
    /// The conditions that objects of a cluster have; for those of files see [`Self::conditions`].
    said: BTreeMap<ObjectKey, Vec<Said>>,
    known: Known,
}

/// What was known of a mesh beside its objects, before any flag.
struct Known {
    paths: Vec<PathBuf>,
    facts: Facts,
    captured: Option<Rules>,
}

impl Mesh {
    /// The same objects under other terms. Only what these name is read, and no cluster again for what it said already.
    pub(crate) fn under(&self, flags: &TermFlags) -> Result<Self, ExitCode> {
        let Known { paths, facts: known, captured } = &self.known;
        let facts = facts(paths, flags, known.clone())?;
        let mut terms = with_rules(flags, captured.clone());
        terms.wanted = if (&flags.rules, &flags.plugin) == (&self.terms.rules, &self.terms.plugin) {
            self.terms.wanted.clone()
        } else {
            live::rules(paths, flags, &self.store)?.map(Box::new)
        };
        let store = if facts == *self.store.facts() {
            self.store.clone()
        } else {
            let objects = self.store.object_keys().filter_map(|key| self.store.object(&key));
            let mut store = Store::new(facts);
            store.apply_all(objects.map(Event::Apply));
            store
        };
        let known = Known { paths: paths.clone(), facts: known.clone(), captured: captured.clone() };
        let (places, learned) = (self.places.clone(), self.learned.clone());
        Ok(Self { store, places, learned, terms, said: self.said.clone(), known })
    }

    /// The conditions that objects have, and that agents did not write. Files are read once more for it: nobody else wants to
    /// know, and captures do not have them.
    pub(crate) fn conditions(&self) -> BTreeMap<ObjectKey, Vec<Said>> {
        let mut all = self.said.clone();
        // Where an object is in a file, the file counts.
        all.retain(|key, _| !self.places.contains_key(key));
        let files: BTreeSet<&Name> = self.places.values().map(|place| &place.file).collect();
        for file in files.into_iter().filter(|file| !is_capture(Path::new(&***file))) {
            let Ok(text) = std::fs::read_to_string(&**file) else { continue };
            let format = if file.ends_with(".json") { Format::Json } else { Format::Yaml };
            manifest::read_text(file, &text, format, &manifest::Limits::default(), &mut |found| {
                let manifest::Found::Object { object, said, position } = found else { return };
                let key = object.key();
                let counts = self.places.get(&key).is_some_and(|it| it.file == *file && it.line == position.line);
                if counts && !said.is_empty() {
                    all.insert(key, said);
                }
            });
        }
        all
    }
}

/// Where an object is written.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The file as the user would name it.
    pub(crate) file: Name,
    /// Counts from 1.
    pub(crate) line: usize,
}

/// Reads manifests and up to one capture; with `Err` the exit status if something cannot be read and that ends it.
pub(crate) fn read(paths: &[PathBuf], flags: &TermFlags) -> Result<Mesh, ExitCode> {
    read_like(paths, flags, None)
}

/// The same; what neither the flags nor a capture among the paths say is as in this one.
pub(crate) fn read_like(paths: &[PathBuf], flags: &TermFlags, like: Option<&Header>) -> Result<Mesh, ExitCode> {
    let paths = &*live::or_cluster(paths);
    let (at, capture) = open_capture(paths)?;
    let header = capture.as_ref().map(Reader::header).or(like);
    let known = match header {
        Some(header) => header.facts.clone(),
        None => live::facts(paths, flags)?,
    };
    let captured = header.and_then(|header| header.rules.clone());
    let mut terms = with_rules(flags, captured.clone());
    let mut store = Store::new(facts(paths, flags, known.clone())?);
    let mut places = HashMap::new();
    let mut said = BTreeMap::new();
    let learned = read_into(paths, flags, (at, capture), &mut store, &mut places, &mut said)?;
    if let Some(wanted) = live::rules(paths, flags, &store)? {
        terms.wanted = Some(Box::new(wanted));
    }
    Ok(Mesh { store, places, learned, terms, said, known: Known { paths: paths.to_vec(), facts: known, captured } })
}

/// The same for who decides nothing: facts are those of the capture, or Istio's defaults.
pub(crate) fn read_store(paths: &[PathBuf]) -> Result<Store, ExitCode> {
    let (at, capture) = open_capture(paths)?;
    let facts = capture.as_ref().map(|capture| capture.header().facts.clone());
    let mut store = Store::new(facts.unwrap_or_default());
    let _learned =
        read_into(paths, &TermFlags::default(), (at, capture), &mut store, &mut HashMap::new(), &mut BTreeMap::new())?;
    Ok(store)
}

/// A single capture with its decisions as they were: no component is asked. None if it is something else, or a flag says
/// how to decide.
pub(crate) fn read_decided(paths: &[PathBuf], flags: &TermFlags) -> Result<Option<Capture>, ExitCode> {
    let [path] = paths else { return Ok(None) };
    if flags.is_given() || !is_capture(path) {
        return Ok(None);
    }
    let capture = Reader::open(path).and_then(Reader::into_memory);
    capture.map(Some).map_err(|error| unreadable(path, &error))
}

/// The captures among the paths: the place of the one that may be there, and the capture.
fn open_capture(paths: &[PathBuf]) -> Result<(usize, Option<CaptureFile>), ExitCode> {
    let mut captures = paths.iter().enumerate().filter(|(_, path)| is_capture(path));
    let Some((at, path)) = captures.next() else {
        return Ok((paths.len(), None));
    };
    if let Some((_, second)) = captures.next() {
        let (first, second) = (path.display(), second.display());
        eprintln!("{second}: a second capture beside {first}: a mesh has the facts and rules of one");
        return Err(ExitCode::from(UNREADABLE));
    }
    let capture = Reader::open(path).map_err(|error| unreadable(path, &error))?;
    Ok((at, Some(capture)))
}

fn unreadable(path: &Path, error: &anyhow::Error) -> ExitCode {
    eprintln!("{}: {error:#}", path.display());
    ExitCode::from(UNREADABLE)
}

/// The flags, with these rules where they say nothing.
fn with_rules(flags: &TermFlags, rules: Option<Rules>) -> TermFlags {
    let mut terms = flags.clone();
    if let Some(rules) = rules {
        terms.settings = terms.settings.or_else(|| Some(rules.settings.clone()));
        terms.unresolved = terms.unresolved.or(rules.unresolved);
        terms.captured = Some(Box::new(rules));
    }
    terms
}

/// Objects of later paths win, whatever they come from. What a capture has that is no object is returned, and said: most
/// commands can do nothing with it.
fn read_into(
    paths: &[PathBuf],
    flags: &TermFlags,
    (at, capture): (usize, Option<CaptureFile>),
    store: &mut Store,
    places: &mut HashMap<ObjectKey, Place>,
    said: &mut BTreeMap<ObjectKey, Vec<Said>>,
) -> Result<LearnedRows, ExitCode> {
    let mut learned = LearnedRows::new();
    let (before, rest) = paths.split_at(at);
    read_objects(before, flags, store, places, said)?;
    let (Some(capture), Some((path, behind))) = (capture, rest.split_first()) else {
        return Ok(learned);
    };
    let file: Name = path.to_string_lossy().into();
    let read = capture.read(&mut |found| {
        match found {
            Found::Object { object, line } => {
                places.insert(object.key(), Place { file: file.clone(), line });
                store.apply(Event::Apply(object));
            }
            Found::Learned(decided) => learned.extend([decided.read()?]),
            Found::Decision(_) => {}
        }
        Ok(())
    });
    read.map_err(|error| unreadable(path, &error))?;
    read_objects(behind, flags, store, places, said)?;
    if !learned.is_empty() {
        eprintln!(
            "note: {file} also has {} decisions on what a control plane told. There are no objects for them: `explain` of one, \
             and `diff` of two captures, show them as they were; nothing else takes them into account",
            learned.len()
        );
    }
    Ok(learned)
}

/// Manifests and clusters, in the order of the paths.
fn read_objects(
    mut paths: &[PathBuf],
    flags: &TermFlags,
    store: &mut Store,
    places: &mut HashMap<ObjectKey, Place>,
    said: &mut BTreeMap<ObjectKey, Vec<Said>>,
) -> Result<(), ExitCode> {
    while let Some(at) = paths.iter().position(|path| live::is_cluster(path)) {
        let (before, rest) = paths.split_at(at);
        read_manifests(before, flags.keep_going, store, places)?;
        let Some((cluster, behind)) = rest.split_first() else { break };
        said.extend(live::read(cluster, flags, store)?);
        paths = behind;
    }
    read_manifests(paths, flags.keep_going, store, places)
}

fn read_manifests(
    paths: &[PathBuf],
    keep_going: bool,
    store: &mut Store,
    places: &mut HashMap<ObjectKey, Place>,
) -> Result<(), ExitCode> {
    if paths.is_empty() {
        return Ok(());
    }
    let mut source = FolderSource::new(paths.to_vec(), manifest::Limits::default());
    let snapshot = source.load();
    for problem in &snapshot.problems {
        eprintln!("{problem}");
    }
    for warning in &snapshot.warnings {
        eprintln!("warning: {warning}");
    }
    if !snapshot.problems.is_empty() && !keep_going {
        return Err(ExitCode::from(UNREADABLE));
    }
    store.apply_all(manifest::diff(&manifest::Snapshot::default(), &snapshot));
    let place = |entry: manifest::Entry| Place { file: entry.file, line: entry.position.line };
    places.extend(snapshot.objects.into_iter().map(|(key, entry)| (key, place(entry))));
    Ok(())
}

/// What the flags say, and where they say nothing these. `paths`: a cluster among them is the one whose ConfigMap is meant.
fn facts(paths: &[PathBuf], flags: &TermFlags, known: Facts) -> Result<Facts, ExitCode> {
    let name = |given: &Option<String>, known: Name| given.as_deref().map_or(known, Name::from);
    let mut facts = Facts {
        cluster_domain: name(&flags.cluster_domain, known.cluster_domain),
        network: name(&flags.network, known.network),
        cluster_id: name(&flags.cluster_id, known.cluster_id),
        istio_revision: name(&flags.istio_revision, known.istio_revision),
        istio: flags.istio.unwrap_or(known.istio),
        ..known
    };
    match flags.mesh_config.as_deref().map(|path| live::mesh_config(paths, flags, path)) {
        None => {}
        Some(Ok(mesh)) => facts.mesh = mesh,
        Some(Err(problem)) => {
            eprintln!("{problem}");
            if !flags.keep_going {
                return Err(ExitCode::from(UNREADABLE));
            }
        }
    }
    Ok(facts)
}

/// Reads Istio's MeshConfig.
pub(crate) fn mesh_config(path: &Path) -> Result<model::Mesh, String> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    manifest::mesh_config(&name, &text, &manifest::Limits::default()).map_err(|problem| problem.to_string())
}

/// Decides everything in `store`.
pub(crate) fn decide(flags: &TermFlags, store: Store) -> anyhow::Result<Decided> {
    let captured = flags.captured.as_deref();
    let (component, terms) = match flags.wanted.as_deref() {
        Some(wanted) => by_rules(flags, wanted)?,
        None => {
            let terms = Terms {
                settings: flags.settings.as_deref().unwrap_or_default().into(),
                denied: captured.map_or(Choice::Direct, |rules| rules.denied.into()),
                undecided: captured.map_or(Choice::Blocked, |rules| rules.undecided.into()),
                unresolved: flags.unresolved.map(Into::into),
            };
            (load(flags.plugin.as_deref(), &terms.settings)?, terms)
        }
    };
    if let Some(rules) = captured.filter(|rules| rules.sha256 != component.facts().digest) {
        eprintln!("warning: {}", another_component(rules, &component));
    }
    let description = component.description().clone();
    let decider =
        Decider::new(1, description, component.clone(), terms.clone(), &store).map_err(|(row, failure)| {
            let row = row.map_or_else(String::new, |row| format!("{row}: "));
            anyhow::anyhow!("{row}{failure}")
        })?;
    Ok(Decided { store, decider, component, terms })
}

/// As an agent with these rules decides, but for what flags say.
fn by_rules(flags: &TermFlags, wanted: &Wanted) -> anyhow::Result<(Loaded, Terms)> {
    let Source { bytes, pin, terms, limits } = &wanted.source;
    let mut terms = terms.clone();
    if let Some(settings) = &flags.settings {
        terms.settings = settings.as_str().into();
    }
    terms.unresolved = flags.unresolved.map(Into::into).or(terms.unresolved);
    let component = Engine::new(Limits::default())?
        .load(bytes, pin.as_deref(), &terms.settings, limits)
        .with_context(|| wanted.component.clone())?;
    Ok((component, terms))
}

/// What to know before decisions are compared with those of a capture.
fn another_component(rules: &Rules, component: &Loaded) -> String {
    let said = component.description();
    format!(
        "the capture was decided by {} {} (sha256 {}), this is {} {} (sha256 {}): name that one with --plugin to have its \
         decisions",
        rules.name,
        rules.version,
        rules.sha256,
        said.name,
        said.version,
        component.facts().digest
    )
}

/// Loads a component from a file the user named, or the built-in one.
pub(crate) fn load(file: Option<&Path>, settings: &str) -> anyhow::Result<Loaded> {
    let engine = Engine::new(Limits::default())?;
    let load = |bytes: &[u8]| engine.load(bytes, None, settings, engine.limits());
    match file {
        None => Ok(load(DEFAULT_COMPONENT)?),
        Some(path) => {
            let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            load(&bytes).with_context(|| path.display().to_string())
        }
    }
}
