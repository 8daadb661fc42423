//! A folder laid out like a ConfigMap that the kubelet mounted: every file is a link through `..data`, and `..data` is
//! a link to a folder with the time in its name. A new version takes the place of the old one by one rename.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

const DATA: &str = "..data";
const NEXT_DATA: &str = "..data_tmp";

/// A mounted ConfigMap.
#[derive(Debug)]
pub struct ConfigMap {
    folder: PathBuf,
    /// The folder that `..data` names now, and what is in it.
    version: PathBuf,
    names: Vec<String>,
}

impl ConfigMap {
    /// Mounts the first version at `folder`, which is made.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn mount(folder: &Path, files: &[(&str, &[u8])]) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut map = Self { folder: folder.to_owned(), version: PathBuf::new(), names: Vec::new() };
        map.replace(files)?;
        Ok(map)
    }

    /// Where it is mounted.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts another version in place, in the kubelet's order: the new folder with all files, the swap of `..data`, links
    /// for new names, removal of links that lead nowhere now, removal of the old folder.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn replace(&mut self, files: &[(&str, &[u8])]) -> Result<()> {
        self.swap(files).with_context(|| format!("cannot replace the ConfigMap at {}", self.folder.display()))
    }

    fn swap(&mut self, files: &[(&str, &[u8])]) -> Result<()> {
        let version = PathBuf::from(folder_name(SystemTime::now()));
        fs::create_dir(self.folder.join(&version))?;
        for (name, bytes) in files {
            fs::write(self.folder.join(&version).join(name), bytes)?;
        }
        symlink(&version, self.folder.join(NEXT_DATA))?;
        fs::rename(self.folder.join(NEXT_DATA), self.folder.join(DATA))?;
        let names: Vec<String> = files.iter().map(|(name, _)| (*name).to_owned()).collect();
        for name in names.iter().filter(|name| !self.names.contains(name)) {
            symlink(Path::new(DATA).join(name), self.folder.join(name))?;
        }
        for name in self.names.iter().filter(|name| !names.contains(name)) {
            fs::remove_file(self.folder.join(name))?;
        }
        let old = std::mem::replace(&mut self.version, version);
        self.names = names;
        if !old.as_os_str().is_empty() {
            fs::remove_dir_all(self.folder.join(old))?;
        }
        Ok(())
    }
}

/// `..YEAR_MONTH_DAY_HOUR_MINUTE_SECOND.NANOSECONDS`, in UTC.
fn folder_name(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("..{year:04}_{month:02}_{day:02}_{hour:02}_{minute:02}_{second:02}.{:09}", since.subsec_nanos())
}

/// Year, month and day of a day since 1970-01-01.
fn date(mut days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_named_by_its_time() {
        let at = |seconds| folder_name(UNIX_EPOCH + Duration::new(seconds, 7));
        assert_eq!(at(0), "..1970_01_01_00_00_00.000000007");
        assert_eq!(at(951_782_400), "..2000_02_29_00_00_00.000000007");
        assert_eq!(at(1_735_689_599), "..2024_12_31_23_59_59.000000007");
        assert_eq!(at(4_107_542_400), "..2100_03_01_00_00_00.000000007");
    }

    #[test]
    fn a_new_version_takes_the_place_of_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut map = ConfigMap::mount(folder.path(), &[("config.yaml", b"1"), ("a.wasm", b"a")]).unwrap();
        map.replace(&[("config.yaml", b"2"), ("b.wasm", b"b")]).unwrap();
        let read = |name: &str| fs::read(folder.path().join(name)).ok();
        assert_eq!((read("config.yaml"), read("a.wasm"), read("b.wasm")), (Some(b"2".into()), None, Some(b"b".into())));
        assert_eq!(fs::read_link(folder.path().join("b.wasm")).unwrap(), Path::new("..data/b.wasm"));
        assert_eq!(fs::read_link(folder.path().join(DATA)).unwrap(), map.version);
        // `..data`, the folder it names, and one link per file.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    }
}
