//! The ground of one story: a name that nobody else has, a folder, the definitions that are needed, and that all of it goes when
//! the story ends, well or not.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::demo::patience::{Patience, end_by_signal, wait_for};

use crate::kubectl::Kubectl;
use crate::{clean, definitions};

/// kube tries again after up to 30 s, and reads a token anew once a minute; machines that test are slow and busy.
pub(crate) const PATIENCE: Patience = Patience::seconds(120);

/// Names the cluster. Not KUBECONFIG: who runs this program by itself did not say that this cluster may be used.
const KUBECONFIG: &str = "WAYSWITCH_KUBECONFIG";
/// The label of everything without a namespace that a story makes; its value is the story's name.
pub(crate) const LABEL: &str = "wayswitch.io/e2e";
/// Between two calls of kubectl.
const ASK_EVERY: Duration = Duration::from_millis(200);

static SIGNALS: Once = Once::new();

/// See the module.
pub(crate) struct Ground {
    pub(crate) kubectl: Kubectl,
    /// What names of this story begin with, without the minus sign.
    pub(crate) prefix: String,
    pub(crate) folder: TempDir,
    /// Definitions that were missing.
    pub(crate) installed: Vec<String>,
}

/// Tells a story, and cleans up after it.
pub(crate) fn play(story: impl FnOnce(&Ground) -> Result<()>) -> Result<()> {
    play_prepared(|ground| ground.install_definitions(), |ground| story(ground))
}

/// The same without any definition to begin with.
pub(crate) fn play_bare(story: impl FnOnce(&mut Ground) -> Result<()>) -> Result<()> {
    play_prepared(|_| Ok(()), story)
}

fn play_prepared(
    prepare: impl FnOnce(&mut Ground) -> Result<()>,
    story: impl FnOnce(&mut Ground) -> Result<()>,
) -> Result<()> {
    let mut ground = Ground::new()?;
    let told = catch_unwind(AssertUnwindSafe(|| prepare(&mut ground).and_then(|()| story(&mut ground))));
    let cleaned = clean::all(&ground).context("what the story made could not be taken away");
    match told {
        Ok(Ok(())) => cleaned,
        Ok(Err(error)) => {
            if let Err(left) = cleaned {
                println!("{left:#}");
            }
            Err(error)
        }
        Err(panic) => {
            if let Err(left) = cleaned {
                println!("{left:#}");
            }
            resume_unwind(panic)
        }
    }
}

/// Asks now and then until there is an answer.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    wait_for(what, PATIENCE, || {
        let answer = ask()?;
        if answer.is_none() {
            sleep(ASK_EVERY);
        }
        Ok(answer)
    })
}

impl Ground {
    fn new() -> Result<Self> {
        // After Ctrl-C every wait fails, and the story ends as any that fails: by cleaning up.
        SIGNALS
            .call_once(|| end_by_signal().unwrap_or_else(|error| println!("a signal will leave objects: {error:#}")));
        let given = std::env::var_os(KUBECONFIG);
        let given = given.with_context(|| format!("{KUBECONFIG} is not set: run `cargo xtask e2e kubernetes`"))?;
        let folder = tempfile::tempdir()?;
        let random = folder.path().file_name().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
        let number = random
            .bytes()
            .fold(u64::from(std::process::id()), |hash, byte| hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
        let kubectl = Kubectl::new(Path::new(&given), folder.path());
        Ok(Self {
            kubectl,
            prefix: format!("wayswitch-e2e-{:08x}", number & 0xffff_ffff),
            folder,
            installed: Vec::new(),
        })
    }

    /// Makes the definitions that are missing.
    pub(crate) fn install_definitions(&mut self) -> Result<()> {
        definitions::install(self)
    }

    /// A name of this story.
    pub(crate) fn named(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// The selector of everything that was made without a namespace.
    pub(crate) fn selector(&self) -> String {
        format!("{LABEL}={}", self.prefix)
    }

    /// Marks an object as this story's.
    pub(crate) fn label(&self, object: &mut Value) {
        let metadata = &mut object["metadata"];
        if !metadata["labels"].is_object() {
            metadata["labels"] = json!({});
        }
        metadata["labels"][LABEL] = json!(self.prefix);
    }

    /// Makes a namespace of this story; its whole name.
    pub(crate) fn namespace(&self, name: &str, labels: Value) -> Result<String> {
        let name = self.named(name);
        let mut object =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
        self.label(&mut object);
        self.kubectl.apply(&[object])?;
        Ok(name)
    }

    /// A ConfigMap.
    pub(crate) fn config_map(&self, namespace: &str, name: &str, data: Value) -> Result<()> {
        let metadata = json!({ "name": name, "namespace": namespace });
        self.kubectl.apply(&[json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data })])
    }

    /// A file that only its owner may read.
    pub(crate) fn secret_file(&self, name: &str, text: &str) -> Result<PathBuf> {
        use std::io::Write as _;
        let path = self.folder.path().join(name);
        let mut file = fs::File::options().create(true).write(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        Ok(path)
    }
}
