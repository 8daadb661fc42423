//! When it is this node's turn to compile a large component, and with which priority: all nodes hear of it at once, and compiling
//! takes seconds of all cores.

use std::time::Duration;

use sha2::{Digest, Sha256};

/// Components of so many bytes are large: an interpreter is in them. What is smaller is compiled in a fraction of a second.
pub(super) const LARGE: usize = 512 << 10;

/// How nice a thread is that compiles one beside the rules in force: whatever else has to do on this node goes first.
const NICE: i32 = 10;

/// How long this node waits: a share of `spread` that depends on its name alone, so that it is the same after each start.
pub(super) fn wait_of(node: &str, spread: Duration) -> Duration {
    // Not the hash of roll-outs: the first nodes of one would be the first here as well.
    let hash = Sha256::new().chain_update("compile\0").chain_update(node).finalize();
    let share = hash.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    spread.mul_f64(f64::from(share) / f64::from(u32::MAX))
}

/// Does it in a thread that is nice, and waits for it. The threads that it starts are as nice.
///
/// # Errors
/// There is no thread to be had.
pub(super) fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("candidate".to_owned()).spawn_scoped(scope, || {
            // Of the calling thread alone, and not to be taken back without a privilege: so it is a thread of its own.
            if let Err(error) = rustix::process::setpriority_process(None, NICE) {
                tracing::warn!("a large component is compiled with the priority of everything else: {error}");
            }
            work()
        })?;
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_spread_and_each_has_its_place() {
        let spread = Duration::from_secs(8);
        let waits: Vec<Duration> = (0..400).map(|at| wait_of(&format!("node-{at}"), spread)).collect();
        assert_eq!(waits[7], wait_of("node-7", spread));
        for eighth in 0..8 {
            let (from, to) = (Duration::from_secs(eighth), Duration::from_secs(eighth + 1));
            let there = waits.iter().filter(|wait| (from..to).contains(*wait)).count();
            assert!((25..=75).contains(&there), "{there} of 400 between {from:?} and {to:?}");
        }
        assert_eq!(wait_of("node-7", Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn a_thread_aside_is_nice_with_all_that_it_starts_and_who_waits_is_not() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let inside = aside(|| (nice(), std::thread::scope(|scope| scope.spawn(nice).join().unwrap()))).unwrap();
        // Who is nicer than that already stays so.
        let expected = NICE.max(before);
        assert_eq!((inside, nice()), ((expected, expected), before));
    }
}
