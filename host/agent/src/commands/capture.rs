//! `wayswitch capture`: a running agent's mesh and decisions, or those of manifests, in one file for the other commands.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use model::Table;

use super::mesh;
use crate::capture::{self, Capture, CaptureLimits, Found, Header, Reader, Rules, Written};
use crate::cli::CaptureFlags;
use crate::config::{DEFAULT_ADMIN, admin_address};
use crate::rules::BUILT_IN;

/// Where an agent hands it out.
const ENDPOINT: &str = "/capture";
/// The name of the file that stands for standard output.
const STDOUT: &str = "-";

/// Writes the file.
pub(crate) fn run(flags: &CaptureFlags) -> anyhow::Result<ExitCode> {
    // An agent is of one node; who names a cluster means the cluster.
    if !flags.paths.is_empty() || flags.terms.cluster.is_given() {
        return match of_files(flags)? {
            Ok(capture) => finish(flags, capture),
            Err(code) => Ok(code),
        };
    }
    if flags.terms.is_given() {
        bail!("an agent has decided already: flags that say how to decide need manifests, -f");
    }
    let address = admin_address(flags.admin.as_deref().unwrap_or(DEFAULT_ADMIN))?;
    let body = capture::ask(&address, ENDPOINT)?;
    let incomplete = "what the agent sent is no whole capture";
    if flags.pseudonymise || flags.namespace.is_some() {
        let capture = Reader::new(body, CaptureLimits::default()).and_then(Reader::into_memory).context(incomplete)?;
        return finish(flags, capture);
    }
    // As it comes, and read on the way: what is written can be read again.
    let (header, written) = place(&flags.output, |out| {
        let copy = BufReader::with_capacity(1 << 16, Copy { from: body, to: out });
        read_through(copy).context(incomplete)
    })?;
    tell(flags, &header, written);
    Ok(ExitCode::SUCCESS)
}

fn read_through(input: impl io::BufRead) -> anyhow::Result<(Header, Written)> {
    let mut read = Written { objects: 0, decisions: 0, learned: 0 };
    let header = Reader::new(input, CaptureLimits::default())?.read(&mut |found| {
        match found {
            Found::Object { .. } => read.objects += 1,
            Found::Decision(decided) => {
                decided.read()?;
                read.decisions += 1;
            }
            Found::Learned(decided) => {
                decided.read()?;
                read.learned += 1;
            }
        }
        Ok(())
    })?;
    Ok((header, read))
}

/// Manifests decided here; another capture as it is, unless a flag says how to decide it.
fn of_files(flags: &CaptureFlags) -> anyhow::Result<Result<Capture, ExitCode>> {
    match mesh::read_decided(&flags.paths, &flags.terms) {
        Ok(Some(capture)) => return Ok(Ok(capture)),
        Ok(None) => {}
        Err(code) => return Ok(Err(code)),
    }
    let mesh = match mesh::read(&flags.paths, &flags.terms) {
        Ok(mesh) => mesh,
        Err(code) => return Ok(Err(code)),
    };
    let decided = mesh::decide(&mesh.terms, mesh.store)?;
    let table: Table = decided.decider.table().clone();
    let named = match (&mesh.terms.wanted, &mesh.terms.plugin) {
        (Some(wanted), _) => wanted.component.clone(),
        (None, Some(path)) => path.display().to_string(),
        (None, None) => BUILT_IN.to_owned(),
    };
    let rules = Rules::of(table.rules, &named, &decided.component, &decided.terms);
    let header = Header::of(&decided.store, &table, Some(rules));
    Ok(Ok(Capture { header, store: decided.store, table, learned: Default::default() }))
}

fn finish(flags: &CaptureFlags, mut capture: Capture) -> anyhow::Result<ExitCode> {
    if let Some(namespace) = &flags.namespace {
        capture = mesh::part::capture_of(capture, namespace);
    }
    let capture = if flags.pseudonymise {
        let (renamed, pseudonyms) = capture::pseudonymised(&capture);
        if let Some(path) = &flags.mapping {
            place(path, |out| Ok(capture::mapping(out, &pseudonyms)?))?;
        }
        renamed
    } else {
        capture
    };
    let Capture { header, store, table, learned } = &capture;
    let written = place(&flags.output, |out| {
        let learned = learned.iter().map(|(key, row)| (key.clone(), row.clone()));
        Ok(capture::write(out, header, store, table, learned)?)
    })?;
    tell(flags, header, written);
    Ok(ExitCode::SUCCESS)
}

/// Says what was written, unless that is what is printed.
fn tell(flags: &CaptureFlags, header: &Header, written: Written) {
    let Written { objects, decisions, learned } = written;
    if header.rules.is_none() {
        eprintln!("warning: no rules are in force yet: the capture has no decisions");
    } else if header.revision != header.objects_revision {
        let Header { revision, objects_revision, .. } = header;
        eprintln!(
            "warning: the mesh changes all the time: its objects are of revision {objects_revision}, its decisions of \
             {revision}"
        );
    }
    if flags.output.as_os_str() != STDOUT {
        let told = if learned > 0 { format!(", {learned} on what a control plane told") } else { String::new() };
        println!("{}: {objects} objects, {decisions} decisions{told}", flags.output.display());
    }
}

/// Hands on what is read.
struct Copy<R, W> {
    from: R,
    to: W,
}

impl<R: Read, W: Write> Read for Copy<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.to.write_all(buffer.get(..read).unwrap_or_default())?;
        Ok(read)
    }
}

/// Writes standard output, or a file that only its owner may read and that is there when it is whole, not before.
fn place<T>(path: &Path, write: impl FnOnce(&mut dyn Write) -> anyhow::Result<T>) -> anyhow::Result<T> {
    if path.as_os_str() == STDOUT {
        return write(&mut io::stdout().lock());
    }
    let unwritable = || format!("{} cannot be written", path.display());
    let name = path.file_name().with_context(unwritable)?;
    if std::fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file()) {
        bail!("{} is no regular file, and would be replaced: name another, or - for standard output", path.display());
    }
    let mut aside = std::ffi::OsString::from(".");
    aside.push(name);
    aside.push(format!(".{}.partial", std::process::id()));
    let aside = path.with_file_name(aside);
    let file = File::options().write(true).create_new(true).mode(0o600).open(&aside).with_context(unwritable)?;
    let mut out = BufWriter::with_capacity(1 << 16, file);
    let placed = write(&mut out).and_then(|written| {
        let file = out.into_inner().map_err(io::IntoInnerError::into_error).with_context(unwritable)?;
        file.sync_all().and_then(|()| std::fs::rename(&aside, path)).with_context(unwritable)?;
        Ok(written)
    });
    if placed.is_err() {
        // The first failure is the one to tell.
        let _left = std::fs::remove_file(&aside);
    }
    placed
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_there_when_it_is_whole_and_is_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mesh.capture");
        let failed: anyhow::Result<()> = place(&path, |out| {
            out.write_all(b"half")?;
            bail!("no more")
        });
        assert_eq!(failed.unwrap_err().to_string(), "no more");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
        for text in ["first", "second"] {
            place(&path, |out| Ok(out.write_all(text.as_bytes())?)).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_regular_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        for path in [folder.path(), &link] {
            let error = place(path, |_| Ok(())).unwrap_err().to_string();
            assert!(error.contains("is no regular file"), "{error}");
        }
        let error = place(&folder.path().join("no/folder"), |_| Ok(())).unwrap_err();
        assert!(format!("{error:#}").contains("cannot be written: No such file"), "{error:#}");
    }
}
