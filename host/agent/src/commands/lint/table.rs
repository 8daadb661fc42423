//! Findings for people: a line each, the fix below it, and how many there are.

use std::io::Write;

use model::explain::shown;
use model::lint::Severity;

use super::Located;

const BOLD: &str = "\u{1b}[1m";
const FAINT: &str = "\u{1b}[2m";
const RESET: &str = "\u{1b}[0m";

fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "\u{1b}[31;1m",
        Severity::Warning => "\u{1b}[33;1m",
        Severity::Info => "\u{1b}[36m",
    }
}

pub(super) fn print(out: &mut impl Write, found: &[Located<'_>], colours: bool) -> std::io::Result<()> {
    let paint = |code: &'static str| if colours { code } else { "" };
    let (bold, faint, reset) = (paint(BOLD), paint(FAINT), paint(RESET));
    for Located { finding, place, .. } in found {
        let severity = finding.severity;
        match place {
            // A file may be called anything; texts of findings are fit to be shown.
            Some(place) => write!(out, "{bold}{}:{}{reset}: ", shown(&place.file), place.line)?,
            None => write!(out, "{bold}{}{reset}: ", finding.object)?,
        }
        writeln!(
            out,
            "{}{severity}{reset} {bold}{}{reset}: {}",
            paint(colour(severity)),
            finding.code.id,
            finding.text
        )?;
        writeln!(out, "    {faint}fix:{reset} {} {faint}[{}]{reset}", finding.fix, finding.code.rule)?;
    }
    let count = |severity| found.iter().filter(|it| it.finding.severity == severity).count();
    let plural = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let infos = count(Severity::Info);
    match found.is_empty() {
        true => writeln!(out, "nothing found"),
        false => writeln!(out, "{}, {}, {infos} for information", plural(errors, "error"), plural(warnings, "warning")),
    }
}

#[cfg(test)]
mod tests {
    use model::lint::Finding;
    use model::{Kind, ObjectKey};

    use super::*;
    use crate::commands::mesh::Place;

    fn printed(file: &str, colours: bool) -> String {
        let code = model::lint::code("refused").unwrap();
        let object = ObjectKey::new(Kind::Service, "shop", "cart");
        let (text, fix) = ("what is wrong".to_owned(), "what to do".to_owned());
        let severity = code.severity;
        let finding = Finding { code, severity, object, related: Vec::new(), field: String::new(), text, fix };
        let place = Place { file: file.into(), line: 7 };
        let mut out = Vec::new();
        print(&mut out, &[Located { finding, place: Some(&place), related: Vec::new() }], colours).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_finding_is_a_line_with_its_fix_below_and_a_summary() {
        let expected = "a.yaml:7: warning refused: what is wrong\n    fix: what to do [R80]\n\
                        0 errors, 1 warning, 0 for information\n";
        assert_eq!(printed("a.yaml", false), expected);
    }

    #[test]
    fn there_are_colours_only_where_they_are_wanted() {
        assert!(printed("a.yaml", true).contains("\u{1b}[33;1mwarning\u{1b}[0m"));
        assert!(!printed("a\u{1b}[31m.yaml", false).contains('\u{1b}'), "not even by the name of a file");
    }
}
