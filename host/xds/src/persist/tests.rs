//! Of what comes back from the disk: all of it, or nothing and why.

use cap_std::ambient_authority;
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const BYTES_MAX: u64 = 1 << 20;

fn folder() -> (TempDir, Dir) {
    let folder = TempDir::new().unwrap();
    let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
    (folder, dir)
}

fn resource(name: &str, version: &str, body: &[u8]) -> UpstreamResource {
    UpstreamResource { name: name.into(), version: version.into(), body: Bytes::copy_from_slice(body) }
}

fn mesh() -> SavedMesh {
    SavedMesh {
        saved_at: 1_700_000_000,
        addresses: vec![resource("c//Pod/shop/é", "", b""), resource("shop/cart", "v1", b"body")],
        authorizations: vec![resource("shop/deny", "", b"\0\xff")],
    }
}

fn put(folder: &Dir, mesh: &SavedMesh) {
    let types = ResourceType::ALL.map(|of| (of, mesh.of(of).iter().cloned().collect()));
    save(folder, mesh.saved_at, &types).unwrap();
}

#[test]
fn what_is_saved_comes_back_and_only_the_owner_may_read_it() {
    let (path, folder) = folder();
    assert_eq!(load(&folder, BYTES_MAX).unwrap(), Loaded::Nothing);
    put(&folder, &SavedMesh::default());
    put(&folder, &mesh());
    assert_eq!(load(&folder, BYTES_MAX).unwrap(), Loaded::Mesh(mesh()));
    let names: Vec<_> = std::fs::read_dir(path.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [FILE], "nothing is left behind");
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.path().join(FILE).metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn every_cut_and_every_flip_is_noticed() {
    let (_path, folder) = folder();
    put(&folder, &mesh());
    let whole = folder.read(FILE).unwrap();
    let damaged = Loaded::SetAside { why: Unusable::Damaged, now: DAMAGED };
    for length in 0..whole.len() {
        folder.write(FILE, &whole[..length]).unwrap();
        assert_eq!(load(&folder, BYTES_MAX).unwrap(), damaged, "cut to {length}");
    }
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        folder.write(FILE, &flipped).unwrap();
        assert_eq!(load(&folder, BYTES_MAX).unwrap(), damaged, "bit {bit}");
        assert_eq!(folder.read(DAMAGED).unwrap(), flipped, "people can look at it");
        assert_eq!(load(&folder, BYTES_MAX).unwrap(), Loaded::Nothing);
    }
    folder.write(FILE, [whole.as_slice(), b"x"].concat()).unwrap();
    assert_eq!(load(&folder, BYTES_MAX).unwrap(), damaged, "longer");
}

/// With a checksum that fits.
fn sealed(content: &[u8]) -> Vec<u8> {
    [content, Sha256::digest(content).as_slice()].concat()
}

#[test]
fn what_a_newer_agent_wrote_is_kept_for_it() {
    let (_path, folder) = folder();
    let newer = sealed(&[MAGIC.as_slice(), &9u32.to_le_bytes(), b"whatever it has"].concat());
    folder.write(FILE, &newer).unwrap();
    let expected = Loaded::SetAside { why: Unusable::Newer { format: 9 }, now: NEWER };
    assert_eq!(load(&folder, BYTES_MAX).unwrap(), expected);
    assert_eq!(folder.read(NEWER).unwrap(), newer);
    assert!(Unusable::Newer { format: 9 }.to_string().contains("format 9"));
}

#[test]
fn a_file_above_the_limit_is_not_read() {
    let (_path, folder) = folder();
    put(&folder, &mesh());
    let bytes = folder.metadata(FILE).unwrap().len();
    assert_eq!(load(&folder, bytes).unwrap(), Loaded::Mesh(mesh()));
    let why = Unusable::TooLarge { bytes, bytes_max: bytes - 1 };
    assert_eq!(load(&folder, bytes - 1).unwrap(), Loaded::SetAside { why, now: DAMAGED });
}

#[test]
fn a_failed_write_leaves_the_mesh_saved_before() {
    let (_path, folder) = folder();
    put(&folder, &mesh());
    // A folder in the way of the second file.
    folder.create_dir(NEW).unwrap();
    let failed = save(&folder, 0, &[]).unwrap_err();
    assert_eq!(failed.doing, "open");
    assert_eq!(load(&folder, BYTES_MAX).unwrap(), Loaded::Mesh(mesh()));
}

#[test]
fn an_interrupted_write_is_neither_read_nor_in_the_way() {
    let (_path, folder) = folder();
    put(&folder, &mesh());
    folder.write(NEW, vec![1; 9_999]).unwrap();
    assert_eq!(load(&folder, BYTES_MAX).unwrap(), Loaded::Mesh(mesh()));
    put(&folder, &SavedMesh::default());
    assert_eq!(load(&folder, BYTES_MAX).unwrap(), Loaded::Mesh(SavedMesh::default()));
}

proptest! {
    /// The checksum keeps accidents out, not people: what it fits on is read with the same care.
    #[test]
    fn sealed_nonsense_is_damaged_and_takes_no_room(content in vec(any::<u8>(), 0..200)) {
        let head = [MAGIC.as_slice(), &FORMAT.to_le_bytes(), &[0; 8], &1u32.to_le_bytes()].concat();
        let url = ResourceType::Address.url().as_bytes();
        let url = [&(url.len() as u32).to_le_bytes(), url].concat();
        let many = u32::MAX.to_le_bytes();
        for content in [content.clone(), [head.clone(), content.clone()].concat(), [head, url, many.into(), content].concat()] {
            prop_assert_eq!(parse(&sealed(&content)), Err(Unusable::Damaged));
        }
    }
}
