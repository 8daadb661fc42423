//! Edits of `config.yaml` as text, so that comments and order stay. What comes out is read again and must say what was meant;
//! a text that cannot be edited so is for its author to edit.

use super::config::RulesConfig;

/// What is done to a roll-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// Every node stays with what it runs.
    Pause,
    /// It goes on.
    Resume,
    /// It is taken back: all nodes get what is beside it.
    Undo,
    /// It is done: all nodes get its component.
    Promote,
}

/// The text with the edit.
///
/// # Errors
/// One line: there is no roll-out, nothing to do, or the text is written in a way that cannot be edited safely.
pub(crate) fn edited(text: &str, edit: Edit) -> Result<String, String> {
    let before = RulesConfig::read(text)?;
    let Some(rollout) = &before.rollout else { return Err("there is no rollout in it".to_owned()) };
    let after = match edit {
        Edit::Pause if rollout.paused => return Err("the rollout is paused already".to_owned()),
        Edit::Resume if !rollout.paused => return Err("the rollout is not paused".to_owned()),
        Edit::Pause => with_paused(text, true),
        Edit::Resume => with_paused(text, false),
        Edit::Undo => Some(without(text, "rollout")),
        Edit::Promote => promoted(text),
    };
    let by_hand = || "it is not written in a way that can be edited safely: edit it by hand".to_owned();
    let after = after.ok_or_else(by_hand)?;
    let read = RulesConfig::read(&after).map_err(|_| by_hand())?;
    let is_meant = match (edit, &read.rollout) {
        (Edit::Pause | Edit::Resume, Some(now)) => {
            now.paused == (edit == Edit::Pause)
                && format!("{:?}", before.base()) == format!("{:?}", read.base())
                && format!("{:?}", rollout.variant()) == format!("{:?}", now.variant())
        }
        (Edit::Undo, None) => format!("{:?}", before.base()) == format!("{:?}", read.base()),
        (Edit::Promote, None) => format!("{:?}", rollout.variant()) == format!("{:?}", read.base()),
        _ => false,
    };
    let is_rest_same = format!("{:?}", before.terms()) == format!("{:?}", read.terms());
    if is_meant && is_rest_same { Ok(after) } else { Err(by_hand()) }
}

/// The lines of a key at the left margin, with what is indented below it.
fn block(lines: &[&str], key: &str) -> Option<std::ops::Range<usize>> {
    let start = lines.iter().position(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')))?;
    let inside = |line: &&&str| line.starts_with([' ', '\t']) || line.trim().is_empty();
    let rest = lines.get(start + 1..)?;
    let mut end = start + 1 + rest.iter().take_while(inside).count();
    // Empty lines behind it belong to what follows.
    while end > start + 1 && lines.get(end - 1).is_some_and(|line| line.trim().is_empty()) {
        end -= 1;
    }
    Some(start..end)
}

fn without(text: &str, key: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let Some(gone) = block(&lines, key) else { return text.to_owned() };
    let kept = lines.iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, line)| *line);
    joined(kept)
}

fn with_paused(text: &str, paused: bool) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let rollout = block(&lines, "rollout")?;
    let indent: String =
        lines.get(rollout.start + 1..rollout.end)?.first()?.chars().take_while(|c| *c == ' ').collect();
    let line = format!("{indent}paused: {paused}");
    let old = format!("{indent}paused:");
    let mut out = Vec::new();
    for (at, text) in lines.iter().enumerate() {
        if rollout.contains(&at) && text.starts_with(&old) {
            continue;
        }
        out.push(*text);
        if at == rollout.start && paused {
            out.push(&line);
        }
    }
    Some(joined(out.into_iter()))
}

/// What a component needs: in the roll-out indented, and beside it.
const VARIANT: [&str; 3] = ["component", "sha256", "settings"];

fn promoted(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let rollout = block(&lines, "rollout")?;
    let inner = lines.get(rollout.start + 1..rollout.end)?;
    let indent = inner.first()?.chars().take_while(|c| *c == ' ').count();
    let dedented: Vec<&str> = inner.iter().map(|line| line.get(indent..).unwrap_or_default()).collect();
    let mut rest = without(text, "rollout");
    for key in VARIANT {
        rest = without(&rest, key);
    }
    let taken = VARIANT.iter().filter_map(|key| dedented.get(block(&dedented, key)?)).flatten().copied();
    Some(joined(taken.chain(rest.lines())))
}

fn joined<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# who decides\ncomponent: old.wasm\nsettings:\n  unbound: direct # as ever\n\n# the next\nrollout:\n  \
                        component: new.wasm\n  sha256: ab\n  settings:\n    unbound: blocked\n  share: 25\n\n# the rest\ndenied: blocked\n";

    #[test]
    fn a_pause_leaves_everything_else_as_it_is_and_can_be_taken_back() {
        let paused = edited(TEXT, Edit::Pause).unwrap();
        assert_eq!(paused, TEXT.replace("rollout:\n", "rollout:\n  paused: true\n"));
        assert_eq!(edited(&paused, Edit::Resume).unwrap(), TEXT);
        assert!(edited(&paused, Edit::Pause).unwrap_err().contains("already"));
        assert!(edited(TEXT, Edit::Resume).unwrap_err().contains("not paused"));
    }

    #[test]
    fn one_that_is_undone_leaves_what_was_beside_it() {
        let undone = edited(TEXT, Edit::Undo).unwrap();
        assert_eq!(
            undone,
            "# who decides\ncomponent: old.wasm\nsettings:\n  unbound: direct # as ever\n\n# the next\n\n# the rest\ndenied: blocked\n"
        );
        assert!(edited(&undone, Edit::Undo).unwrap_err().contains("no rollout"));
    }

    #[test]
    fn one_that_is_promoted_takes_the_place_of_what_was_beside_it() {
        let promoted = edited(TEXT, Edit::Promote).unwrap();
        assert_eq!(
            promoted,
            "component: new.wasm\nsha256: ab\nsettings:\n  unbound: blocked\n# who decides\n\n# the next\n\n# the rest\ndenied: blocked\n"
        );
    }

    #[test]
    fn what_cannot_be_edited_safely_is_not() {
        let flow = "component: a\nrollout: {component: b, share: 1}\n";
        assert!(edited(flow, Edit::Pause).unwrap_err().contains("by hand"));
        assert!(edited(flow, Edit::Promote).unwrap_err().contains("by hand"));
        assert_eq!(edited(flow, Edit::Undo).unwrap(), "component: a\n");
        let quoted = "component: a\n\"rollout\":\n  component: b\n  share: 1\n";
        assert!(edited(quoted, Edit::Undo).unwrap_err().contains("by hand"), "what stays is read again");
    }
}
