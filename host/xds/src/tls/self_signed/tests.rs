//! Certificates of our own through first starts, years, wrong clocks and damage, in real folders under a clock of the tests.
//! No connection is made here.

use std::cell::Cell;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::reload::Reloaded;

const START: i64 = 1_800_000_000;

thread_local! {
    // Each test has its own thread, and so its own clock.
    static NOW: Cell<i64> = const { Cell::new(START) };
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW.get().unsigned_abs())
}

fn at(seconds: i64) {
    NOW.set(seconds);
}

struct Case {
    of: SelfSigned,
    _folder: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let of = SelfSigned {
            private: folder.path().join("private"),
            shared: folder.path().join("shared"),
            names: ["localhost", "127.0.0.1", "::1", "wayswitch.istio-system.svc"].map(String::from).into(),
        };
        Self { of, _folder: folder }
    }

    /// Server certificate and authority, after a look at the folders as a start would have it.
    fn start(&self) -> (Vec<u8>, Vec<u8>) {
        let authority = Authority::open(&self.of, now).unwrap();
        let leaf = authority.parse(&authority.read().unwrap()).unwrap();
        (leaf.cert[0].to_vec(), std::fs::read(self.of.shared.join(ROOT_CERT)).unwrap())
    }

    fn private(&self, name: &str) -> std::path::PathBuf {
        self.of.private.join(name)
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_first_start_makes_all_and_the_next_keeps_it() {
    let case = Case::new();
    let first = case.start();
    assert_eq!(case.start(), first);
    assert_eq!(mode(&case.of.private), 0o700);
    for name in [CA_CERT, CA_KEY, CERT, KEY] {
        assert_eq!(mode(&case.private(name)), 0o600, "{name}");
    }
    assert_eq!(mode(&case.of.shared.join(ROOT_CERT)), 0o644);
    let shared: Vec<_> = std::fs::read_dir(&case.of.shared).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(shared, [ROOT_CERT], "no key where others read");
}

#[test]
fn times_are_those_that_were_promised() {
    let case = Case::new();
    let (leaf, root) = case.start();
    let leaf = validity::of(&CertificateDer::from(leaf)).unwrap();
    let root = validity::of(&CertificateDer::from_pem_slice(&root).unwrap()).unwrap();
    assert_eq!((leaf.from, leaf.until), (START - SKEW, START + 90 * DAY));
    assert_eq!((root.from, root.until), (START - SKEW, START + 3650 * DAY));
    // Past 2049 times are written in another way.
    at(2_700_000_000);
    let late = Case::new();
    let (leaf, _) = late.start();
    assert_eq!(validity::of(&CertificateDer::from(leaf)).unwrap().until, 2_700_000_000 + 90 * DAY);
}

#[test]
fn the_certificate_is_renewed_at_two_thirds_and_the_authority_stays() {
    let case = Case::new();
    let (first, root) = case.start();
    at(START + 59 * DAY);
    assert_eq!(case.start(), (first.clone(), root.clone()));
    at(START + 61 * DAY);
    let (second, same_root) = case.start();
    assert_ne!(second, first);
    assert_eq!(same_root, root);
    assert!(!case.private("cert.pem.damaged").exists(), "nothing was wrong with it");
    // And years later, through many renewals.
    at(START + 3000 * DAY);
    assert_eq!(case.start().1, root);
}

#[test]
fn a_running_server_renews_without_a_restart() {
    let case = Case::new();
    let reloaded = Reloaded::new(Authority::open(&case.of, now).unwrap(), Duration::ZERO).unwrap();
    let first = reloaded.get().cert[0].to_vec();
    assert_eq!(reloaded.get().cert[0].to_vec(), first);
    at(START + 80 * DAY);
    assert_ne!(reloaded.get().cert[0].to_vec(), first);
    assert_eq!(reloaded.problem(), None);
}

#[test]
fn the_authority_is_renewed_before_a_certificate_would_outlive_it() {
    let case = Case::new();
    let (leaf, root) = case.start();
    at(START + 3600 * DAY);
    let (new_leaf, new_root) = case.start();
    assert!(new_root != root && new_leaf != leaf);
}

#[test]
fn a_clock_that_was_wrong_is_survived() {
    at(1000);
    let case = Case::new();
    let (_, root) = case.start();
    at(START);
    let (leaf, new_root) = case.start();
    assert_ne!(root, new_root);
    // Back again: the certificate is of the future, the authority is not looked at for that.
    at(START - 400 * DAY);
    let (earlier, same_root) = case.start();
    assert_ne!(earlier, leaf);
    assert_eq!(same_root, new_root);
    at(i64::MAX / 4);
    case.start();
}

#[test]
fn a_new_name_makes_a_new_certificate_of_the_same_authority() {
    let mut case = Case::new();
    let (first, root) = case.start();
    case.of.names.push("10.0.0.7".into());
    let (second, same_root) = case.start();
    assert_ne!(second, first);
    assert_eq!(same_root, root);
}

#[test]
fn whatever_is_damaged_is_set_aside_and_made_again() {
    let other = Case::new();
    other.start();
    for name in [CA_CERT, CA_KEY, CERT, KEY] {
        let foreign = std::fs::read(other.private(name)).unwrap();
        let cut = foreign[..foreign.len() / 2].to_vec();
        for (how, damage) in [("empty", Vec::new()), ("noise", vec![0xff; 4096]), ("cut", cut), ("foreign", foreign)] {
            let case = Case::new();
            let (leaf, root) = case.start();
            std::fs::write(case.private(name), &damage).unwrap();
            let (new_leaf, new_root) = case.start();
            assert_ne!(new_leaf, leaf, "{name} {how}");
            let authority = name == CA_CERT || name == CA_KEY;
            assert_eq!(new_root != root, authority, "{name} {how}");
            assert_eq!(std::fs::read(case.private(&format!("{name}.damaged"))).unwrap(), damage, "{name} {how}");
            assert_eq!(case.start(), (new_leaf, new_root), "{name} {how}: whole again");
        }
        let case = Case::new();
        let before = case.start();
        std::fs::remove_file(case.private(name)).unwrap();
        assert_ne!(case.start().0, before.0, "without {name}");
    }
}

#[test]
fn a_foreign_pair_is_not_served() {
    // Sound in itself, but not of this authority: ztunnel would refuse it.
    let (case, other) = (Case::new(), Case::new());
    case.start();
    let (foreign, _) = other.start();
    for name in [CERT, KEY] {
        std::fs::copy(other.private(name), case.private(name)).unwrap();
    }
    assert_ne!(case.start().0, foreign);
    assert!(case.private("cert.pem.damaged").exists());
}

#[test]
fn the_root_is_written_again_where_it_is_missing_or_another() {
    let case = Case::new();
    let before = case.start();
    let root = case.of.shared.join(ROOT_CERT);
    std::fs::remove_file(&root).unwrap();
    assert_eq!(case.start(), before);
    std::fs::write(&root, "something else").unwrap();
    assert_eq!(case.start(), before);
}

#[test]
fn an_exposed_key_or_folder_is_refused() {
    let case = Case::new();
    case.start();
    std::fs::set_permissions(case.private(CA_KEY), PermissionsExt::from_mode(0o604)).unwrap();
    let refused = Authority::open(&case.of, now).err();
    assert!(matches!(refused, Some(TlsError::File(FileError::Exposed { mode: 0o604, .. }))), "{refused:?}");
    std::fs::set_permissions(&case.of.private, PermissionsExt::from_mode(0o755)).unwrap();
    let refused = Authority::open(&case.of, now).err();
    assert!(matches!(refused, Some(TlsError::File(FileError::Exposed { mode: 0o755, .. }))), "{refused:?}");
}

#[test]
fn names_are_checked() {
    for names in [vec![], vec!["a b"], vec!["localhost", ""], vec!["localhost"; NAMES_MAX + 1]] {
        let mut case = Case::new();
        case.of.names = names.iter().map(|it| (*it).to_owned()).collect();
        assert!(matches!(Authority::open(&case.of, now), Err(TlsError::Name { .. })), "{names:?}");
    }
}

#[test]
fn agents_that_start_at_once_agree() {
    let case = Case::new();
    let of = &case.of;
    std::thread::scope(|scope| {
        let starts: Vec<_> =
            (0..4).map(|_| scope.spawn(move || Authority::open(of, now).unwrap().read().unwrap())).collect();
        let mut pairs: Vec<_> = starts.into_iter().map(|it| it.join().unwrap()).collect();
        pairs.dedup();
        assert_eq!(pairs.len(), 1);
    });
}

#[test]
fn a_certificate_cut_anywhere_has_no_times() {
    let (leaf, _) = Case::new().start();
    assert!(validity::of(&CertificateDer::from(leaf.clone())).is_some());
    for end in 0..leaf.len() {
        assert_eq!(validity::of(&CertificateDer::from(leaf[..end].to_vec())), None, "cut at {end}");
    }
    for at in 0..leaf.len() {
        let mut changed = leaf.clone();
        changed[at] ^= 0x81;
        validity::of(&CertificateDer::from(changed));
    }
}
