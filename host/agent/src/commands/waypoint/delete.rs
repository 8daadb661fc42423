//! `waypoint delete`: shows who still names what is to go, and asks.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use cluster::connect::Cluster;
use cluster::error::Error;
use cluster::waypoint::{Deletion, Waypoint, delete, list, references};
use model::gateway::GatewayKey;
use model::referrers::{Referrer, in_words, referrers};
use model::store::Event;
use model::{Kind, ObjectKey};

use super::status::unknown;
use super::{in_cluster, would};
use crate::cli::{DeleteFlags, DryRun, scope};

/// Referrers of one waypoint that are named.
const NAMED_MAX: usize = 10;

/// What became of the command.
enum Done {
    /// It is over; whether all went as wanted.
    Over(bool),
    /// The API server would delete these; whether all names were known.
    Would(Vec<GatewayKey>, bool),
}

/// Deletes what is meant, unless somebody still names it and nobody says that this is meant as well.
pub(super) fn run(flags: &DeleteFlags) -> anyhow::Result<ExitCode> {
    let done =
        in_cluster(&flags.terms.cluster, flags.namespace.as_ref(), async |cluster| delete_meant(cluster, flags).await);
    match done? {
        Done::Over(fine) => Ok(status(fine)),
        Done::Would(keys, fine) => {
            let gone =
                |GatewayKey { namespace, name }| Event::Delete(ObjectKey { kind: Kind::Gateway, namespace, name });
            let code = would::print("Once they are gone:", &flags.terms, |_| keys.into_iter().map(gone).collect())?;
            Ok(if fine { code } else { ExitCode::FAILURE })
        }
    }
}

async fn delete_meant(cluster: &Cluster, flags: &DeleteFlags) -> anyhow::Result<Done> {
    let scope = scope(flags.all_namespaces, &cluster.namespace);
    let (waypoints, unread) = list(cluster, &scope).await?;
    for problem in unread {
        eprintln!("warning: {problem}");
    }
    let unknown = unknown(&flags.names, &waypoints, &scope);
    for name in &unknown {
        eprintln!("there is no waypoint {name} {scope}");
    }
    let all_known = unknown.is_empty();
    let meant = meant(waypoints, flags);
    if meant.is_empty() {
        if all_known {
            eprintln!("no such waypoints {scope}");
        }
        return Ok(Done::Over(all_known));
    }
    let mut out = std::io::stdout().lock();
    if let Some(how) = flags.dry_run {
        let keys = would_go(&mut out, cluster, &meant, how).await?;
        return Ok(if how == DryRun::Server { Done::Would(keys, all_known) } else { Done::Over(all_known) });
    }
    if !flags.force && !may_go(cluster, &meant).await? {
        return Ok(Done::Over(false));
    }
    let done = delete(cluster, &meant, false).await;
    let all_went = report(&mut out, &done)?;
    out.flush()?;
    Ok(Done::Over(all_went && all_known))
}

fn status(fine: bool) -> ExitCode {
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn meant(mut waypoints: Vec<Waypoint>, flags: &DeleteFlags) -> Vec<Waypoint> {
    if !flags.names.is_empty() {
        waypoints.retain(|it| flags.names.iter().any(|name| **name == *it.gateway.meta.name));
        return waypoints;
    }
    waypoints.retain(|it| *it.gateway.class == *flags.class);
    waypoints.retain(|it| flags.revision.as_deref().is_none_or(|revision| it.revision() == revision));
    waypoints
}

/// Whether nobody names them, or the user says yes all the same.
async fn may_go(cluster: &Cluster, meant: &[Waypoint]) -> anyhow::Result<bool> {
    let (store, unread) = match references(cluster).await {
        Ok(found) => found,
        Err(error) => {
            eprintln!("nothing was deleted: who names them cannot be seen: {error}; --force deletes without looking");
            return Ok(false);
        }
    };
    let unseen = !unread.is_empty();
    for problem in unread {
        eprintln!("warning: {problem}");
    }
    let named = referrers(&store);
    let list = |it: &Waypoint| named.get(&it.key()).map(|list| (it.key(), list.as_slice()));
    let named: Vec<(GatewayKey, &[Referrer])> = meant.iter().filter_map(list).collect();
    if named.is_empty() && !unseen {
        return Ok(true);
    }
    let mut err = std::io::stderr().lock();
    err.write_all(shown(&named).as_bytes())?;
    if !std::io::stdin().is_terminal() {
        writeln!(err, "nothing was deleted: --force deletes all the same")?;
        return Ok(false);
    }
    let yes = ask(&mut std::io::stdin().lock(), &mut err, meant.len())?;
    if !yes {
        writeln!(err, "nothing was deleted")?;
    }
    Ok(yes)
}

/// Who names what, and what that means.
fn shown(named: &[(GatewayKey, &[Referrer])]) -> String {
    let mut text = String::new();
    for (key, list) in named {
        text.push_str(&format!("waypoint {key} is named by {}:\n", in_words(list)));
        for referrer in list.iter().take(NAMED_MAX) {
            text.push_str(&format!("  {referrer}\n"));
        }
        if list.len() > NAMED_MAX {
            text.push_str(&format!("  and {} more\n", list.len() - NAMED_MAX));
        }
    }
    if !named.is_empty() {
        text.push_str("Their labels stay. Istio sends traffic of who names a waypoint that is not there past it.\n");
    }
    text
}

fn ask(input: &mut impl BufRead, out: &mut impl Write, count: usize) -> std::io::Result<bool> {
    let what = if count == 1 { "it".to_owned() } else { format!("all {count}") };
    write!(out, "Delete {what}? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

async fn would_go(
    out: &mut impl Write,
    cluster: &Cluster,
    meant: &[Waypoint],
    how: DryRun,
) -> anyhow::Result<Vec<GatewayKey>> {
    if how == DryRun::Server
        && let Some(error) = delete(cluster, meant, true).await.into_iter().find_map(|(_, done)| done.err())
    {
        return Err(error.into());
    }
    let keys: Vec<GatewayKey> = meant.iter().map(Waypoint::key).collect();
    keys.iter().try_for_each(|key| writeln!(out, "would delete waypoint {key}"))?;
    out.flush()?;
    Ok(keys)
}

/// A line each; whether all of them are gone.
fn report(out: &mut impl Write, done: &[(GatewayKey, Result<Deletion, Error>)]) -> std::io::Result<bool> {
    let mut all = true;
    for (key, result) in done {
        match result {
            Ok(Deletion::Deleted) => writeln!(out, "waypoint {key} deleted")?,
            Ok(Deletion::Gone) => writeln!(out, "waypoint {key} was deleted by somebody else")?,
            Ok(Deletion::Replaced) => {
                all = false;
                eprintln!("waypoint {key} is another one by now: it was left alone");
            }
            Err(error) => {
                all = false;
                eprintln!("waypoint {key}: {error}");
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use model::waypoint_view::Role;
    use serde_json::json;

    use super::super::list::tests::waypoint;
    use super::*;

    #[test]
    fn who_names_it_is_shown_with_what_follows() {
        let by = |name: String| Referrer {
            object: ObjectKey::new(Kind::Service, "shop", &name),
            part: None,
            role: Role::Primary,
        };
        let list: Vec<Referrer> = (0..12).map(|at| by(format!("s{at:02}"))).collect();
        let text = shown(&[(GatewayKey::new("shop", "w"), &list)]);
        assert!(text.starts_with("waypoint shop/w is named by 12 Services:\n  Service shop/s00\n"), "{text}");
        assert!(text.contains("  Service shop/s09\n  and 2 more\nTheir labels stay."), "{text}");
        assert_eq!(shown(&[]), "");
    }

    #[test]
    fn only_a_clear_yes_deletes() {
        let answer = |text: &str| {
            let mut out = Vec::new();
            let yes = ask(&mut text.as_bytes(), &mut out, 2).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), "Delete all 2? [y/N] ");
            yes
        };
        assert!(answer("y\n") && answer(" YES \n"));
        assert!(!answer("\n") && !answer("") && !answer("no\n") && !answer("yy\n"));
    }

    #[test]
    fn all_means_those_of_the_class_and_a_name_means_any() {
        use clap::Parser;
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            flags: DeleteFlags,
        }
        let waypoints = || {
            let of = |name: &str, class: &str, labels| {
                waypoint(json!({ "metadata": { "namespace": "shop", "name": name,
                "labels": labels }, "spec": { "gatewayClassName": class } }))
            };
            vec![
                of("a", "istio-waypoint", json!({})),
                of("b", "istio-waypoint", json!({ "istio.io/rev": "next" })),
                of("c", "own", json!({ "istio.io/waypoint-for": "all" })),
            ]
        };
        let names = |line: &str| {
            let flags = Line::try_parse_from(std::iter::once("delete").chain(line.split_whitespace())).unwrap().flags;
            let names: Vec<String> =
                meant(waypoints(), &flags).iter().map(|it| it.gateway.meta.name.to_string()).collect();
            names.join(" ")
        };
        assert_eq!(names("--all"), "a b");
        assert_eq!(names("--all --revision next"), "b");
        assert_eq!(names("-r default"), "a");
        assert_eq!(names("--all --class own"), "c");
        assert_eq!(names("c a x"), "a c");
    }
}
