//! Why a connection takes its path, and which changes give it another.

use std::sync::Arc;

use model::table::RowKey;
use model::traffic::{self, Destination, Leg, NoClient, Path, Verdict};
use serde_json::{Map, Value, json};

use super::{Explainer, Means};

/// Destinations of one path for whose decisions edits are looked for: workloads of a headless Service may be many.
const DECISIONS_MAX: usize = 4;

/// A path and what would change it.
#[derive(Clone, Debug)]
pub struct PathExplained {
    /// The path.
    pub path: Path,
    /// Changes that give it another, those that lead through a waypoint first.
    pub offers: Vec<PathOffer>,
    /// The destination as it was asked for.
    pub to: Destination,
}

/// A change that gives a connection another path.
#[derive(Clone, Debug)]
pub struct PathOffer {
    /// What is changed.
    pub means: Means,
    /// The path then.
    pub promises: Path,
}

impl Explainer<'_> {
    /// Explains the path from a Pod to a destination.
    ///
    /// # Errors
    /// When there is no such Pod, or it is no workload.
    pub fn path(&self, from: (&str, &str), to: &Destination) -> Result<PathExplained, NoClient> {
        let path = traffic::path(self.store, &|row| self.decided(row), from, to)?;
        let mut offers: Vec<PathOffer> = Vec::new();
        for means in self.candidates(&path) {
            let then = means.then(self, |asking, store| {
                let decided = |row: &RowKey| asking.decide(store, row).ok().flatten().map(Arc::new);
                traffic::path(store, &decided, from, to)
            });
            // Settings that are refused, or a client that is none any more, are nothing to offer.
            if let Ok(Ok(promises)) = then
                && !fares_alike(&path, &promises)
            {
                offers.push(PathOffer { means, promises });
            }
        }
        offers.sort_by_key(|offer| !leads_through(&offer.promises));
        Ok(PathExplained { path, offers, to: to.clone() })
    }

    /// What may help: about the client, and about the decisions that it met; each once.
    fn candidates(&self, path: &Path) -> Vec<Means> {
        let mut all: Vec<Means> =
            traffic::remedies(self.store, path).into_iter().map(|change| Means::Object(Box::new(change))).collect();
        for row in path.legs.iter().filter_map(|leg| leg.decided_by.as_ref()).take(DECISIONS_MAX) {
            for offer in self.row(row).map(|explained| explained.offers).unwrap_or_default() {
                if !all.contains(&offer.means) {
                    all.push(offer.means);
                }
            }
        }
        all
    }
}

fn fares_alike(before: &Path, after: &Path) -> bool {
    let fares = |path: &Path| path.legs.iter().map(|leg| (leg.to.clone(), leg.verdict.clone())).collect::<Vec<_>>();
    fares(before) == fares(after)
}

fn leads_through(path: &Path) -> bool {
    path.legs.iter().any(|leg| matches!(leg.verdict, Verdict::Through { .. }))
}

impl PathExplained {
    /// For programs. The verdict of all legs is at the top, `differs` where there is none.
    pub fn to_json(&self) -> Value {
        let leg = |leg: &Leg| {
            let mut fields = object(json!(leg.verdict));
            fields.insert("to".to_owned(), json!(leg.to));
            Value::Object(fields)
        };
        let edit = |offer: &PathOffer| {
            let mut fields = offer.means.to_json();
            let mut promises = verdict(&offer.promises);
            promises.insert("legs".to_owned(), offer.promises.legs.iter().map(leg).collect());
            fields.insert("promises".to_owned(), Value::Object(promises));
            Value::Object(fields)
        };
        let mut fields = verdict(&self.path);
        let beside = [
            ("client", json!(self.path.client)),
            ("to", json!(self.to.to_string())),
            ("steps", json!(self.path.steps)),
            ("legs", json!(self.path.legs)),
            ("edits", self.offers.iter().map(edit).collect()),
            ("advice", json!(self.path.advice)),
        ];
        fields.extend(beside.into_iter().map(|(key, value)| (key.to_owned(), value)));
        Value::Object(fields)
    }
}

fn verdict(path: &Path) -> Map<String, Value> {
    match path.verdict() {
        Some(verdict) => object(json!(verdict)),
        None => [("verdict".to_owned(), json!("differs"))].into_iter().collect(),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
