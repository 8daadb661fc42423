//! What programs do about an entry that changes under them. The moment itself lasts nanoseconds, so the entry is spoilt
//! here from the inside, which no caller of this crate can. Everything else about the kernel is in `tests/`.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use ebpf_common::{META_DIRTY, Reason};
use rustix::net::{AddressFamily, SocketType, connect, socket};

use crate::entry::{Action, Destination, Entry};
use crate::maps::slot;
use crate::{Config, Redirect, cgroup2_mount};

const ECONNREFUSED: i32 = 111;
const EHOSTUNREACH: i32 = 113;

/// A socket made while the process is in the cgroup belongs to it for ever.
fn socket_in(cgroup: &Path) -> std::os::fd::OwnedFd {
    let enter = |cgroup: &Path| fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap().to_owned();
    enter(cgroup);
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None);
    enter(&cgroup2_mount().unwrap().join(own));
    socket.unwrap()
}

fn errno(result: Result<(), rustix::io::Errno>) -> Option<i32> {
    result.err().map(|error| error.raw_os_error())
}

fn spoil(redirect: &mut Redirect, dirty: bool) {
    let slot = slot(redirect.maps.epoch().unwrap());
    let mut meta = redirect.maps.meta(slot).unwrap();
    meta.flags = if dirty { meta.flags | META_DIRTY } else { meta.flags & !META_DIRTY };
    redirect.maps.set_meta(slot, meta).unwrap();
}

#[test]
fn a_torn_entry_is_refused_while_keys_change() {
    let permitted = rustix::process::geteuid().is_root() && cgroup2_mount().is_ok();
    let unique = format!("wayswitch-test-{}-torn", std::process::id());
    if !permitted || fs::create_dir(cgroup2_mount().unwrap().join(&unique)).is_err() {
        assert!(
            std::env::var_os("WAYSWITCH_REQUIRE_KERNEL").is_none_or(|value| value != "1"),
            "needs root and cgroup2"
        );
        println!("SKIPPED torn entry: needs root and cgroup2");
        return;
    }
    let cgroup = cgroup2_mount().unwrap().join(&unique);
    let mut config = Config::new(&cgroup);
    config.pin_dir = Path::new("/sys/fs/bpf").join(unique);
    // What is asserted comes after everything is gone again.
    let result = torn(&config, &cgroup);
    fs::remove_dir(&cgroup).unwrap();
    let (whole, torn, counted, again) = result.unwrap();
    assert_eq!(whole, Some(EHOSTUNREACH), "the rule's own error");
    assert_eq!((torn, counted), (Some(ECONNREFUSED), 1), "neither the rule's error nor a way past it");
    assert_eq!(again, Some(EHOSTUNREACH), "no key changes any more: the seal is not looked at");
}

type Outcome = (Option<i32>, Option<i32>, u64, Option<i32>);

fn torn(config: &Config, cgroup: &Path) -> io::Result<Outcome> {
    let mut redirect = Redirect::open(config).map_err(io::Error::other)?;
    let to: SocketAddr = "10.96.0.1:80".parse().map_err(io::Error::other)?;
    let entry =
        Entry { destination: Destination::any_port(to.ip()), action: Action::Deny(113), rule_id: 1, revision: 1 };
    let prepared = redirect.prepare(1, [entry]).map_err(io::Error::other)?;
    redirect.commit(prepared).map_err(io::Error::other)?;
    let socket = socket_in(cgroup);
    spoil(&mut redirect, true);
    let whole = errno(connect(&socket, &to));

    let (key, mut value) = entry.encode(1).map_err(io::Error::other)?;
    value.revision += 1;
    redirect.live.as_mut().unwrap().rules.insert(key, value, 0).map_err(io::Error::other)?;
    let torn = errno(connect(&socket, &to));
    let counted = redirect.stats().map_err(io::Error::other)?.get(Reason::Torn);
    spoil(&mut redirect, false);
    let again = errno(connect(&socket, &to));
    redirect.detach().map_err(io::Error::other)?;
    Ok((whole, torn, counted, again))
}
