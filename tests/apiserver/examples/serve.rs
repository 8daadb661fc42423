//! A server by hand: `cargo run -p apiserver --example serve -- --port 0 FOLDER...` loads every manifest in the folders,
//! writes a kubeconfig and serves until it is interrupted. Not for anything but trying things out.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use apiserver::{ApiServer, Options};

/// Name of the kubeconfig, in the folder for temporary files unless `--kubeconfig` says where.
const KUBECONFIG: &str = "wayswitch-apiserver.kubeconfig";

struct Arguments {
    port: u16,
    kubeconfig: PathBuf,
    manifests: Vec<PathBuf>,
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments> {
    let mut found = Arguments { port: 0, kubeconfig: std::env::temp_dir().join(KUBECONFIG), manifests: Vec::new() };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--port" => found.port = words.next().context("--port needs a number")?.parse().context("--port")?,
            "--kubeconfig" => found.kubeconfig = words.next().context("--kubeconfig needs a path")?.into(),
            option if option.starts_with('-') => {
                bail!("unknown option {option}: [--port N] [--kubeconfig FILE] PATH...")
            }
            path => found.manifests.push(path.into()),
        }
    }
    Ok(found)
}

/// Files with manifests, sorted, of folders and below; JSON only if it is named itself.
fn files(path: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_file() {
        found.push(path.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    for path in paths {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if path.is_dir() || ["yaml", "yml"].contains(&extension) {
            files(&path, found)?;
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { port, kubeconfig, manifests } = arguments(std::env::args().skip(1))?;
    let server = ApiServer::start_with(Options { port, ..Options::default() }).await?;
    let mut found = Vec::new();
    for path in &manifests {
        files(path, &mut found)?;
    }
    let mut count = 0;
    for path in &found {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        count += server.put_yaml(&text).with_context(|| path.display().to_string())?;
    }
    server.write_kubeconfig(&kubeconfig, None)?;
    println!("{count} objects of {} files on {}", found.len(), server.url());
    println!("export KUBECONFIG={}", kubeconfig.display());
    tokio::signal::ctrl_c().await.context("cannot wait for an interrupt")?;
    for write in server.audit() {
        println!("{write:?}");
    }
    Ok(())
}
