//! The commands that work on files: what they print, where, and their exit statuses, which scripts rely on.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::process::{Output, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests::candidate::artifact;
use tests::demo::agent::command;
use tests::guests;

use crate::node::{bookinfo, copy_bookinfo, expected, named, short};

fn run<S: AsRef<OsStr>>(arguments: &[S]) -> Result<Output> {
    command()?.args(arguments).stdin(Stdio::null()).output().context("cannot run wayswitch")
}

/// Runs it on the example; returns exit status, standard output, standard error.
fn on_bookinfo(arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let mut all = vec![arguments[0].into()];
    all.extend(arguments[1..].iter().map(|argument| OsStr::new(argument).to_owned()));
    all.extend(["-f".into(), bookinfo().into_os_string()]);
    Ok(texts(&run(&all)?))
}

fn texts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A folder with components to name on the command line.
fn components() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("service-account.wasm"), artifact("service-account")?)?;
    fs::write(folder.path().join("istio.wasm"), artifact("istio")?)?;
    fs::write(folder.path().join("traps.wasm"), guests::component("resolve-trap"))?;
    fs::write(folder.path().join("truncated.wasm"), guests::truncated())?;
    Ok(folder)
}

#[test]
fn resolve_decides_bookinfo_as_expected() -> Result<()> {
    let folder = components()?;
    let other = folder.path().join("service-account.wasm").display().to_string();
    for (component, more) in [("istio", vec![]), ("service-account", vec!["--plugin", other.as_str()])] {
        let (status, out, err) = on_bookinfo(&[&["resolve", "-o", "json"], more.as_slice()].concat())?;
        assert_eq!((status, err.as_str()), (Some(0), ""));
        let answer: Value = serde_json::from_str(&out)?;
        assert_eq!(short(&named(&answer)?), expected(component)?, "{component}");
    }
    Ok(())
}

#[test]
fn resolve_prints_a_table_for_people() -> Result<()> {
    let (status, out, _) = on_bookinfo(&["resolve"])?;
    assert_eq!(status, Some(0));
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("OBJECT                              WAYPOINT                    REASON"));
    let mysql = lines.find(|line| line.starts_with("Service bookinfo/ratings-next"));
    assert_eq!(mysql, Some("Service bookinfo/ratings-next       direct                      WaypointIsNotReady"));
    Ok(())
}

#[test]
fn what_is_missing_is_exit_status_2_and_one_line() -> Result<()> {
    for command in [&["resolve"][..], &["explain", "service", "a/b"]] {
        let (status, out, err) = texts(&run(&[command, &["-f", "/nowhere"]].concat())?);
        assert_eq!((status, out.as_str()), (Some(2), ""));
        assert!(err.starts_with("/nowhere: cannot be read; ") && err.lines().count() == 1, "{err}");
    }
    Ok(())
}

#[test]
fn invalid_yaml_beside_valid_ends_it_unless_told_to_go_on() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let manifests = folder.path().join("manifests");
    copy_bookinfo(&manifests)?;
    fs::write(manifests.join("99-broken.yaml"), "kind: Namespace\napiVersion: v1\nmetadata: {name: ok}\n---\na: [b\n")?;
    let path = manifests.display().to_string();
    let (status, out, err) = texts(&run(&["resolve", "-f", &path])?);
    assert_eq!((status, out.as_str()), (Some(2), ""));
    let expected = format!("{path}/99-broken.yaml:5:4: document 2: not valid YAML: ");
    assert!(err.starts_with(&expected) && err.lines().count() == 1, "{err}");

    let (status, out, again) = texts(&run(&["resolve", "-o", "json", "--keep-going", "-f", &path])?);
    assert_eq!((status, again), (Some(0), err));
    let answer: Value = serde_json::from_str(&out)?;
    assert_eq!(short(&named(&answer)?), crate::node::expected("istio")?, "the good ones are all there");
    Ok(())
}

#[test]
fn a_component_that_does_not_work_is_exit_status_1_and_one_line() -> Result<()> {
    let folder = components()?;
    let rows = [
        ("truncated.wasm", "refused at validate: failed to parse WebAssembly module"),
        ("traps.wasm", "wasm trap: wasm `unreachable` instruction executed"),
        ("nowhere.wasm", "No such file or directory"),
    ];
    for (file, reason) in rows {
        let plugin = folder.path().join(file).display().to_string();
        let (status, out, err) = on_bookinfo(&["resolve", "--plugin", &plugin])?;
        assert_eq!((status, out.as_str()), (Some(1), ""), "{file}");
        assert!(err.starts_with("wayswitch: ") && err.contains(reason) && err.lines().count() == 1, "{file}: {err}");
    }
    let (status, _, err) = on_bookinfo(&["resolve", "--settings", r#"{"unbound":1}"#])?;
    assert_eq!(status, Some(1));
    assert!(err.contains("refused at describe") && err.contains("`unbound` must be one of"), "{err}");
    Ok(())
}

const RATINGS: &str = "\
Service bookinfo/ratings: mesh-infra/shared-waypoint (WaypointAccepted)
> R15   Service bookinfo/ratings istio.io/use-waypoint=shared-waypoint: names a waypoint of the namespace in the label beside it
  R11   listener of mesh-infra/shared-waypoint allowedRoutes.namespaces.from=Selector: its selector matches the subject's namespace
  R4    Gateway mesh-infra/shared-waypoint istio.io/waypoint-for=all: serves services
  R6    Gateway mesh-infra/shared-waypoint status.addresses=127.0.0.23: reached by its first IP address
It would change with one of:
  kubectl label service ratings -n bookinfo --overwrite istio.io/use-waypoint=none
    then: direct
";

const LOYALTY: &str = "\
Service legacy/loyalty: direct (AttachmentDenied)
  R15   Service legacy/loyalty istio.io/use-waypoint=waypoint: names a waypoint of the namespace in the label beside it
> R20   listener of bookinfo/waypoint allowedRoutes.namespaces.from=Same: admits its own namespace only
  unbound settings unbound=direct: what cannot be bound goes past the waypoint
It would change with one of:
  kubectl patch gateways.gateway.networking.k8s.io waypoint -n bookinfo --type=json -p \
'[{\"op\":\"add\",\"path\":\"/spec/listeners/0/allowedRoutes/namespaces/from\",\"value\":\"All\"}]'
    then: bookinfo/waypoint (WaypointAccepted)
  kubectl label service loyalty -n legacy --overwrite istio.io/use-waypoint=none
    then: direct
";

#[test]
fn explain_names_rule_object_and_label() -> Result<()> {
    for (object, expected) in [("bookinfo/ratings", RATINGS), ("legacy/loyalty", LOYALTY)] {
        let (status, out, err) = on_bookinfo(&["explain", "service", object])?;
        assert_eq!((status, err.as_str()), (Some(0), ""));
        assert_eq!(out, expected);
    }
    let (_, out, _) = on_bookinfo(&["explain", "pod", "bookinfo/ratings-v1", "-o", "json"])?;
    let answer: Value = serde_json::from_str(&out)?;
    assert_eq!(answer["decisions"][0]["reason"], "UnsupportedTrafficType");
    assert!(answer["findings"].as_array().is_some_and(|findings| !findings.is_empty()));
    Ok(())
}

#[test]
fn explain_of_what_is_not_there_says_so() -> Result<()> {
    let rows = [
        (["explain", "service", "bookinfo/nobody"], 1, "wayswitch: Service bookinfo/nobody has no decision"),
        (["explain", "service", "bookinfo"], 1, "wayswitch: \"bookinfo\" is not NAMESPACE/NAME"),
        (["explain", "gateway", "a/b"], 2, "unknown kind \"gateway\": "),
    ];
    for (arguments, expected_status, text) in rows {
        let (status, out, err) = on_bookinfo(&arguments)?;
        assert_eq!((status, out.as_str()), (Some(expected_status), ""), "{err}");
        assert!(err.contains(text), "{err}");
    }
    // What is there and not published is explained too.
    let (status, out, err) = on_bookinfo(&["explain", "service", "bookinfo/postal-codes"])?;
    assert_eq!((status, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("Service bookinfo/postal-codes has no decision: ") && out.ends_with(" (R32)\n"), "{out}");
    Ok(())
}

#[test]
fn inspect_says_what_a_component_is_and_reads() -> Result<()> {
    let folder = components()?;
    let file = folder.path().join("istio.wasm").display().to_string();
    let (status, out, _) = texts(&run(&["plugin", "inspect", &file])?);
    assert_eq!(status, Some(0));
    let lines = [
        "name        istio 0.1.0",
        "world       waypoint-resolver (wayswitch:waypoint/resolver@0.1.0)",
        "imports     wayswitch:waypoint/types@0.1.0 (types only)",
        "candidates  Referenced",
        "reference   istio.io/use-waypoint (namespace: istio.io/use-waypoint-namespace, also of the namespace)",
        "reads       SubjectLabel istio.io/use-waypoint",
        "reads       GatewayLabel istio.io/waypoint-for",
    ];
    for line in lines {
        assert!(out.lines().any(|printed| printed == line), "{line} is missing:\n{out}");
    }
    let (_, json, _) = texts(&run(&["plugin", "inspect", "-o", "json", &file])?);
    let json: Value = serde_json::from_str(&json)?;
    let digest = json["facts"]["digest"].as_str().context("no digest")?;
    assert!(digest.len() == 64 && out.contains(&format!("sha256      {digest}")), "{out}");

    // The built-in component is the same one.
    let (_, built_in, _) = texts(&run(&["plugin", "inspect", "-o", "json"])?);
    assert_eq!(serde_json::from_str::<Value>(&built_in)?["facts"]["digest"], digest);

    let other = folder.path().join("service-account.wasm").display().to_string();
    let (_, out, _) = texts(&run(&["plugin", "inspect", &other])?);
    assert!(out.contains("field       service-account: one question more per service account"), "{out}");
    let manifests = bookinfo().display().to_string();
    let (_, out, _) = texts(&run(&["plugin", "inspect", &file, "-f", &manifests])?);
    let questions = out.lines().last().unwrap_or_default();
    assert!(questions.starts_with("questions ") && questions.ends_with("for 26 objects of these manifests"), "{out}");
    let (status, out, err) = texts(&run(&["plugin", "inspect", "/nowhere.wasm"])?);
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(err.starts_with("wayswitch: cannot read /nowhere.wasm: ") && err.lines().count() == 1, "{err}");
    Ok(())
}

#[test]
fn every_command_has_a_help_that_names_what_it_takes() -> Result<()> {
    let rows: &[(&[&str], &[&str])] = &[
        (&[], &["agent", "resolve", "explain", "plugin", "detach", "completions"]),
        (
            &["agent"],
            &[
                "--config",
                "--filename",
                "--rules",
                "--components",
                "--admin",
                "--cgroup",
                "--pin-dir",
                "--before-rules",
                "--record-passed",
                "--debounce-ms",
                "--node-name",
                "--log-format",
                "WAYSWITCH_RULES",
                "Never for pods that are enrolled with a ztunnel",
            ],
        ),
        (&["resolve"], &["--filename", "--keep-going", "--plugin", "--settings", "--output", "--cluster-domain"]),
        (&["explain"], &["<KIND>", "<OBJECT>", "NAMESPACE/NAME", "--plugin"]),
        (&["plugin"], &["inspect"]),
        (&["plugin", "inspect"], &["[FILE]", "--settings", "the built-in one where none is named"]),
        (&["detach"], &["--pin-dir", "Take everything out of the kernel"]),
        (&["completions"], &["bash", "zsh", "fish"]),
    ];
    for (command, words) in rows {
        let (status, out, err) = texts(&run(&[*command, &["--help"]].concat())?);
        assert_eq!((status, err.as_str()), (Some(0), ""), "{command:?}");
        // Help is wrapped to the width of the terminal.
        let out = out.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in *words {
            assert!(out.contains(word), "{command:?} --help does not say {word}: {out}");
        }
    }
    let (status, version, _) = texts(&run(&["--version"])?);
    assert_eq!((status, version), (Some(0), format!("wayswitch {}\n", env!("CARGO_PKG_VERSION"))));
    let (status, script, _) = texts(&run(&["completions", "bash"])?);
    assert!(status == Some(0) && script.contains("_wayswitch"));
    Ok(())
}

#[test]
fn without_files_and_without_a_cluster_one_line_says_both() -> Result<()> {
    let (status, out, err) = texts(&run(&["resolve"])?);
    assert_eq!((status, out.as_str(), err.lines().count()), (Some(2), "", 1), "{err}");
    assert!(err.starts_with("no cluster: ") && err.ends_with("manifests are named with -f\n"), "{err}");
    Ok(())
}

#[test]
fn a_command_line_that_makes_no_sense_is_exit_status_2() -> Result<()> {
    for arguments in [&[][..], &["decide"], &["resolve", "-f", "x", "--outputs", "json"]] {
        let (status, out, err) = texts(&run(arguments)?);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(err.contains("Usage: wayswitch"), "{err}");
    }
    Ok(())
}

#[test]
fn the_conformance_cases_about_the_command_hold() -> Result<()> {
    let cases: Vec<_> = tests::conformance::cases()?.into_iter().filter(|case| case.is_about_the_command()).collect();
    assert!(cases.len() >= 2, "{} cases have flags or an exit status", cases.len());
    for case in cases {
        let mut arguments: Vec<OsString> = vec!["resolve".into(), "-o".into(), "json".into(), "-f".into()];
        arguments.push(case.manifest.clone().into());
        arguments.extend(case.args.iter().map(OsString::from));
        let (status, out, err) = texts(&run(&arguments)?);
        assert_eq!(status.map(i64::from), Some(case.exit), "{}: {err}", case.id);
        if case.exit == 0 {
            let compared = case.compare(&serde_json::from_str(&out)?, |_| true);
            assert!(compared.count > 0 && compared.failures.is_empty(), "{}: {:?}", case.id, compared.failures);
        } else {
            assert!(out.is_empty() && err.lines().count() == 1, "{}: {out}{err}", case.id);
        }
    }
    Ok(())
}
