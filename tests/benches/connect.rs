//! What a connect costs with 50,000 rules, and how long publishing takes; each figure beside its goal.
//!
//! Two ways: by the kernel's own count of the programs' run time, and as wall time of `connect` in three arms that take turns,
//! so that whatever else the machine does falls on all of them. Not a test: it fails only where it cannot measure.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a bench stops at the first surprise")]

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redirect::{Action, Config, Destination, Entry, Reason, Redirect, RunTime, cgroup2_mount, run_times};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt};

/// Rules in the kernel while connects are measured.
const RULES: u32 = 50_000;
/// Sockets of one round and arm; two moves of this process between cgroups make all of a round.
const ROUND: usize = 150;
const ROUNDS: usize = 60;
const PUBLISHES: usize = 9;
/// The kernel's switch for run-time statistics.
const STATS_SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

fn main() -> io::Result<()> {
    // `cargo test --benches` runs benches with this flag: there is nothing to test here.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED connect: needs root");
        return Ok(());
    }
    let mut bench = Bench::start()?;
    println!("connect, {RULES} rules, kernel {}", fs::read_to_string("/proc/sys/kernel/osrelease")?.trim());
    bench.publish_times();
    bench.publish(RULES);
    bench.program_times()?;
    bench.wall_times()
}

/// A goal; `None` where there is none.
fn report(what: &str, measured: Duration, goal: Option<Duration>) {
    let us = |time: Duration| time.as_nanos() as f64 / 1000.0;
    match goal {
        Some(goal) => {
            let verdict = if measured <= goal { "reached" } else { "MISSED" };
            println!("  {what:<58} {:>10.3} µs   goal {:>8.1} µs   {verdict}", us(measured), us(goal));
        }
        None => println!("  {what:<58} {:>10.3} µs", us(measured)),
    }
}

struct Bench {
    cgroup: PathBuf,
    home: PathBuf,
    config: Config,
    redirect: Option<Redirect>,
    listener: TcpListener,
    waypoint: SocketAddr,
    rules: u64,
}

impl Bench {
    fn start() -> io::Result<Self> {
        let mount = cgroup2_mount().map_err(io::Error::other)?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_owned();
        let unique = format!("wayswitch-bench-{}", std::process::id());
        let cgroup = mount.join(&unique);
        fs::create_dir(&cgroup)?;
        let mut config = Config::new(&cgroup);
        config.pin_dir = Path::new("/sys/fs/bpf").join(unique);
        let redirect = Redirect::open(&config).map_err(io::Error::other)?;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = stream()?;
        rustix::net::bind(&listener, &any)?;
        rustix::net::listen(&listener, 4096)?;
        let listener = TcpListener::from(listener);
        listener.set_nonblocking(true)?;
        let waypoint = listener.local_addr()?;
        Ok(Self { cgroup, home: mount.join(own), config, redirect: Some(redirect), listener, waypoint, rules: 0 })
    }

    fn redirect(&mut self) -> &mut Redirect {
        self.redirect.as_mut().expect("open until dropped")
    }

    /// Returns how long prepare and commit took.
    fn publish(&mut self, count: u32) -> (Duration, Duration) {
        self.rules += 1;
        let (rules, action) = (self.rules, Action::Redirect(self.waypoint));
        let entries: Vec<Entry> = (0..count)
            .map(|n| Entry { destination: Destination::any_port(destination(n)), action, rule_id: n, revision: rules })
            .collect();
        let start = Instant::now();
        let prepared = self.redirect().prepare(rules, entries).expect("prepare");
        let prepare = start.elapsed();
        let start = Instant::now();
        self.redirect().commit(prepared).expect("commit");
        (prepare, start.elapsed())
    }

    fn publish_times(&mut self) {
        println!("publish, median of {PUBLISHES} (prepare: encode, fill, read back, two RCU grace periods)");
        for (count, goal) in [(10_000, Some(Duration::from_millis(50))), (RULES, None)] {
            let (mut prepare, mut commit): (Vec<_>, Vec<_>) = (0..PUBLISHES).map(|_| self.publish(count)).unzip();
            report(&format!("prepare {count} entries"), median(&mut prepare), goal);
            report(&format!("commit {count} entries"), median(&mut commit), None);
        }
    }

    /// By the kernel's own statistics.
    fn program_times(&mut self) -> io::Result<()> {
        let _switch = StatsSwitch::on()?;
        println!("programs, by the kernel's run-time statistics (which are part of the time)");
        let us = |tenths: u64| Some(Duration::from_nanos(tenths * 100));
        for (arm, connect_goal) in [(Arm::Hit, us(8)), (Arm::Miss, us(2))] {
            let (mut connect, mut sockops) = (Vec::new(), Vec::new());
            let mut before = run_times(&self.config.pin_dir).map_err(io::Error::other)?;
            for _ in 0..ROUNDS {
                self.one_by_one(arm)?;
                let after = run_times(&self.config.pin_dir).map_err(io::Error::other)?;
                let connects = after.connect4.runs - before.connect4.runs;
                connect.push(per(before.connect4, after.connect4, connects));
                sockops.push(per(before.sockops, after.sockops, connects));
                before = after;
            }
            let name = format!("{arm:?}").to_lowercase();
            report(&format!("{name}: connect4, median of the means of rounds"), median(&mut connect), connect_goal);
            report(&format!("{name}: sockops, all events of a connection"), median(&mut sockops), None);
        }
        Ok(())
    }

    /// By the clock, all arms in turn.
    fn wall_times(&mut self) -> io::Result<()> {
        println!("connect() by the clock, {} per arm, arms taking turns", ROUND * ROUNDS);
        let arms = [Arm::NoHook, Arm::Miss, Arm::Hit];
        let mut times: [Vec<Duration>; 3] = Default::default();
        let mut over: [Vec<i128>; 3] = Default::default();
        for _ in 0..ROUNDS {
            for turn in self.round(&arms)? {
                for (index, time) in turn.iter().enumerate() {
                    times[index].push(*time);
                    over[index].push(time.as_nanos() as i128 - turn[0].as_nanos() as i128);
                }
            }
        }
        for (arm, times) in arms.iter().zip(&mut times) {
            report(&format!("{arm:?}: median"), median(times), None);
        }
        for (index, what) in [
            (1, "miss over no hook: median of the paired differences"),
            (2, "hit over no hook: median of the paired differences"),
        ] {
            over[index].sort_unstable();
            let middle = over[index][over[index].len() / 2].max(0);
            report(what, Duration::from_nanos(middle as u64), Some(Duration::from_nanos(1500)));
        }
        let stats = self.redirect().stats().map_err(io::Error::other)?;
        println!(
            "counted by the programs: {} hits, {} misses, {} records without room",
            stats.get(Reason::Redirect),
            stats.get(Reason::Miss),
            stats.get(Reason::PairFull)
        );
        Ok(())
    }

    /// A socket, its connect and its end, one after the other, as applications do it.
    fn one_by_one(&mut self, arm: Arm) -> io::Result<()> {
        let inside = Moved::into(&self.cgroup, &self.home)?;
        for n in 0..ROUND {
            for socket in sockets(1)? {
                rustix::net::connect(&socket, &self.goal(arm, n))?;
            }
        }
        drop(inside);
        self.clear()
    }

    /// Takes what arrived out of the listener's queue and the records out of the map.
    fn clear(&mut self) -> io::Result<()> {
        while self.listener.accept().is_ok() {}
        self.redirect().sweep(Duration::ZERO).map_err(io::Error::other)?;
        Ok(())
    }

    fn goal(&self, arm: Arm, n: usize) -> SocketAddr {
        match arm {
            // Far apart, so that each finds its entry out of the caches.
            Arm::Hit => SocketAddr::new(destination((n as u32).wrapping_mul(2_654_435_761) % RULES), 80),
            Arm::Miss | Arm::NoHook => self.waypoint,
        }
    }

    /// Connects a round's sockets, one of each arm in turn, and returns the time of each `connect`.
    fn round(&mut self, arms: &[Arm]) -> io::Result<Vec<Vec<Duration>>> {
        let hooked = arms.iter().filter(|arm| **arm != Arm::NoHook).count();
        let mut inside = {
            let _inside = Moved::into(&self.cgroup, &self.home)?;
            sockets(ROUND * hooked)?.into_iter()
        };
        let mut outside = sockets(ROUND * (arms.len() - hooked))?.into_iter();
        let mut turns = Vec::with_capacity(ROUND);
        let mut used = Vec::new();
        for n in 0..ROUND {
            let mut turn = Vec::with_capacity(arms.len());
            for arm in arms {
                let socket =
                    if *arm == Arm::NoHook { outside.next() } else { inside.next() }.expect("a socket per connect");
                let to = self.goal(*arm, n);
                let start = Instant::now();
                rustix::net::connect(&socket, &to)?;
                turn.push(start.elapsed());
                used.push(socket);
            }
            turns.push(turn);
        }
        drop(used);
        self.clear()?;
        Ok(turns)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(redirect) = self.redirect.take()
            && let Err(error) = redirect.detach()
        {
            eprintln!("{error}");
        }
        if let Err(error) = fs::remove_dir(&self.cgroup) {
            eprintln!("{}: {error}", self.cgroup.display());
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arm {
    /// A socket outside of the cgroup.
    NoHook,
    /// A destination without a rule.
    Miss,
    /// A destination that is redirected.
    Hit,
}

fn destination(n: u32) -> IpAddr {
    IpAddr::from((0x0a40_0000 + n).to_be_bytes())
}

fn stream() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))?)
}

/// Sockets that end by a reset, so that no port stays in TIME_WAIT.
fn sockets(count: usize) -> io::Result<Vec<OwnedFd>> {
    (0..count)
        .map(|_| {
            let socket = stream()?;
            sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
            Ok(socket)
        })
        .collect()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The time of the runs between two looks, shared out.
fn per(before: RunTime, after: RunTime, times: u64) -> Duration {
    Duration::from_nanos(((after.total - before.total).as_nanos() as u64) / times.max(1))
}

/// This process in a cgroup, until dropped.
struct Moved<'a> {
    home: &'a Path,
}

impl<'a> Moved<'a> {
    fn into(cgroup: &Path, home: &'a Path) -> io::Result<Self> {
        fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())?;
        Ok(Self { home })
    }
}

impl Drop for Moved<'_> {
    fn drop(&mut self) {
        fs::write(self.home.join("cgroup.procs"), std::process::id().to_string()).expect("go home");
    }
}

/// The kernel's run-time statistics, on until dropped.
struct StatsSwitch {
    before: String,
}

impl StatsSwitch {
    fn on() -> io::Result<Self> {
        let before = fs::read_to_string(STATS_SWITCH)?;
        fs::write(STATS_SWITCH, "1")?;
        Ok(Self { before })
    }
}

impl Drop for StatsSwitch {
    fn drop(&mut self) {
        if let Err(error) = fs::write(STATS_SWITCH, self.before.trim()) {
            eprintln!("{STATS_SWITCH}: {error}");
        }
    }
}
