//! Reads the output of Rust's test harness: how many passed, failed, were skipped, and which lines are worth showing.

/// What a test prints, as the start of a line, when it could not do its work. The harness takes it for passed.
const SKIPPED: &str = "SKIPPED";

/// Sums over all test programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that ran and passed; those that say SKIPPED are not among them.
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// Those of the test program that is running.
    skipped_here: u64,
    /// Inside the harness's list of what passing tests printed.
    in_successes: bool,
}

impl Tally {
    /// Takes the next line; true if the user should see it.
    pub(crate) fn add(&mut self, line: &str) -> bool {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.in_successes = false;
            // The harness has counted the skipped ones among the passed.
            self.passed += count(result, " passed").saturating_sub(self.skipped_here);
            self.skipped_here = 0;
            self.failed += count(result, " failed");
        } else if line == "failures:" {
            self.in_successes = false;
        } else if line == "successes:" {
            self.in_successes = true;
        }
        if line.starts_with(SKIPPED) && self.in_successes {
            self.skipped += 1;
            self.skipped_here += 1;
            return true;
        }
        !self.in_successes
    }
}

/// The number before `word`, as in "ok. 3 passed; 1 failed".
fn count(result: &str, word: &str) -> u64 {
    let before = result.split_once(word).map_or("", |(before, _)| before);
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_programs_are_added_up() {
        let mut tally = Tally::default();
        tally.add("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        tally.add("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        assert_eq!((tally.passed, tally.failed), (5, 1));
    }

    #[test]
    fn a_skipped_test_is_shown_and_not_counted_as_passed() {
        let mut tally = Tally::default();
        let lines = [
            ("test netns_connect ... ok", true),
            ("successes:", false),
            ("---- netns_connect stdout ----", false),
            ("chatter", false),
            ("SKIPPED netns_connect: not root", true),
            ("successes:", false),
            ("    netns_connect", false),
            ("test result: ok. 2 passed; 0 failed; 0 ignored", true),
        ];
        for (line, shown) in lines {
            assert_eq!(tally.add(line), shown, "{line}");
        }
        assert_eq!((tally.passed, tally.failed, tally.skipped), (1, 0, 1));
    }

    #[test]
    fn output_of_failed_tests_is_shown() {
        let mut tally = Tally::default();
        for line in ["successes:", "---- a stdout ----"] {
            tally.add(line);
        }
        assert!(tally.add("failures:"));
        assert!(tally.add("---- b stdout ----"));
    }
}
