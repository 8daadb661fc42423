//! The picture of the dashboard in the documentation, drawn from the dashboard itself: panels with their places, titles and metrics.
//! It has no curves, for there is no data. `WAYSWITCH_BLESS=1` writes it anew.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use deploy_checks::manifest::{list, text};
use regex::Regex;
use serde_json::Value;

const DASHBOARD: &str = "../../deploy/grafana/wayswitch.json";
const PICTURE: &str = "../../docs/dashboard.svg";

/// Pixels of a unit of Grafana's grid, which has 24 columns.
const COLUMN: u64 = 44;
const ROW: u64 = 16;
const COLUMNS: u64 = 24;
/// What is above the grid, and between panels.
const HEAD: u64 = 34;
const GAP: u64 = 4;

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The metrics of a panel, each once.
fn metrics(panel: &Value) -> Result<BTreeSet<String>> {
    let name = Regex::new(r"([a-z][a-z0-9_]*)\{")?;
    let queries = list(panel, "/targets").map(|target| text(target, "/expr").to_owned());
    Ok(queries.flat_map(|query| name.captures_iter(&query).map(|it| it[1].to_owned()).collect::<Vec<_>>()).collect())
}

/// See the module.
fn picture(dashboard: &Value) -> Result<String> {
    let panels: Vec<&Value> = list(dashboard, "/panels").collect();
    let place = |panel: &Value, field: &str| {
        let value = panel.pointer(&format!("/gridPos/{field}")).and_then(Value::as_u64);
        value.with_context(|| format!("{} has no {field}", text(panel, "/title")))
    };
    let bottoms: Vec<u64> = panels.iter().map(|it| Ok(place(it, "y")? + place(it, "h")?)).collect::<Result<_>>()?;
    let (width, height) = (COLUMNS * COLUMN, HEAD + bottoms.into_iter().max().unwrap_or(0) * ROW);
    let title = escaped(text(dashboard, "/title"));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\">\n\
         <title>Layout of the Grafana dashboard {title}: which panel is where, and what it asks for</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#f4f5f5\"/>\n\
         <text x=\"8\" y=\"22\" font-size=\"15\" font-weight=\"bold\">{title}</text>\n\
         <text x=\"{}\" y=\"22\" font-size=\"11\" text-anchor=\"end\" fill=\"#555\">layout, drawn from the file: no live data</text>\n",
        width - 8
    );
    for panel in panels {
        let (x, y) = (place(panel, "x")? * COLUMN, HEAD + place(panel, "y")? * ROW);
        let (w, h) = (place(panel, "w")? * COLUMN - GAP, place(panel, "h")? * ROW - GAP);
        let (kind, title) = (text(panel, "/type"), escaped(text(panel, "/title")));
        if kind == "row" {
            writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" font-size=\"11\" font-weight=\"bold\" fill=\"#333\">{title}</text>",
                x + 6,
                y + 11
            )?;
            continue;
        }
        writeln!(
            svg,
            "<rect x=\"{}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"2\" fill=\"#fff\" stroke=\"#c7c9cc\"/>",
            x + 2
        )?;
        writeln!(svg, "<text x=\"{}\" y=\"{}\" font-size=\"11\">{title}</text>", x + 8, y + 15)?;
        for (number, metric) in (0..).zip(metrics(panel)?) {
            let y = y + 30 + number * 12;
            writeln!(
                svg,
                "<text x=\"{}\" y=\"{y}\" font-size=\"9\" font-family=\"monospace\" fill=\"#555\">{metric}</text>",
                x + 8
            )?;
        }
        writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" font-size=\"9\" text-anchor=\"end\" fill=\"#999\">{kind}</text>",
            x + w - 4,
            y + h - 6
        )?;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

#[test]
fn the_picture_of_the_dashboard_is_that_of_the_dashboard() -> Result<()> {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(at(DASHBOARD))?)?;
    let drawn = picture(&dashboard)?;
    if std::env::var_os("WAYSWITCH_BLESS").is_some_and(|value| value == "1") {
        return Ok(fs::write(at(PICTURE), drawn)?);
    }
    let kept = fs::read_to_string(at(PICTURE)).context("WAYSWITCH_BLESS=1 draws it")?;
    let differing = kept.lines().zip(drawn.lines()).find(|(kept, drawn)| kept != drawn);
    ensure!(kept == drawn, "docs/dashboard.svg is not that of the dashboard (WAYSWITCH_BLESS=1): {differing:#?}");
    Ok(())
}

#[test]
fn every_panel_is_in_it_with_all_that_it_asks_for() -> Result<()> {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(at(DASHBOARD))?)?;
    let drawn = picture(&dashboard)?;
    let panels: Vec<&Value> = list(&dashboard, "/panels").collect();
    ensure!(panels.len() > 20, "{} panels", panels.len());
    for panel in panels {
        let title = text(panel, "/title");
        ensure!(!title.is_empty() && drawn.contains(&format!(">{}</text>", escaped(title))), "{title:?} is missing");
        let metrics = metrics(panel)?;
        ensure!(metrics.is_empty() == (text(panel, "/type") == "row"), "{title}: {metrics:?}");
        ensure!(metrics.iter().all(|metric| drawn.contains(&format!(">{metric}</text>"))), "{title}: {metrics:?}");
    }
    Ok(())
}
