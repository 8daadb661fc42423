//! Everything once: what a command needs that looks at a cluster and goes.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use kube::api::ListParams;
use manifest::{Limits, ObjectReader};
use model::conditions::{KINDS, Said};
use model::store::Event;
use model::{Kind, ObjectKey};

use crate::connect::Cluster;
use crate::error::Error;
use crate::held::Held;
use crate::kinds::{PAGE, about, all, resource};
use crate::raw::Raw;

/// What is there.
#[derive(Debug, Default)]
pub struct Listing {
    /// The objects, as events for an empty store.
    pub events: Vec<Event>,
    /// Objects that could not be read, a line each.
    pub unread: Vec<String>,
    /// Kinds that are not installed: there are none.
    pub absent: Vec<Kind>,
    /// The conditions that objects have of those that decisions have a say in, and that agents did not write.
    pub said: BTreeMap<ObjectKey, Vec<Said>>,
}

impl Cluster {
    /// Lists these kinds, of all namespaces. `progress` is told after each page how many objects there are by then.
    ///
    /// # Errors
    /// A kind that may not be listed, or a server that does not answer. What is not installed is no error.
    pub async fn list(&self, kinds: &[Kind], progress: &(dyn Fn(usize) + Sync)) -> Result<Listing, Error> {
        let count = std::sync::atomic::AtomicUsize::new(0);
        let tell = |more| progress(count.fetch_add(more, std::sync::atomic::Ordering::Relaxed) + more);
        let listings = try_join_all(kinds.iter().map(|kind| self.list_kind(*kind, &tell))).await?;
        Ok(listings.into_iter().fold(Listing::default(), |mut all, one| {
            all.events.extend(one.events);
            all.unread.extend(one.unread);
            all.absent.extend(one.absent);
            all.said.extend(one.said);
            all
        }))
    }

    async fn list_kind(&self, kind: Kind, tell: &(dyn Fn(usize) + Sync)) -> Result<Listing, Error> {
        let resource = resource(kind);
        let api = all(self, &resource);
        let mut reader = ObjectReader::new(Limits::default());
        let mut listing = Listing::default();
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let list = match api.list(&page).await.map_err(|error| about("list", &resource).failed(error)) {
                Ok(list) => list,
                Err(Error::NoSuchKind { .. }) => {
                    listing.absent.push(kind);
                    return Ok(listing);
                }
                Err(error) => return Err(error),
            };
            tell(list.items.len());
            for raw in list.items {
                match reader.read(kind, raw.json()) {
                    Ok(mut object) => {
                        crate::labels::hide(&mut object);
                        let said = said(kind, &raw);
                        if !said.is_empty() {
                            listing.said.insert(object.key(), said);
                        }
                        listing.events.push(Event::Apply(object));
                    }
                    Err(unread) => listing.unread.push(unread.to_string()),
                }
            }
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(listing),
            }
        }
    }
}

/// What others say of it. Most objects have no conditions, and are not read twice.
fn said(kind: Kind, raw: &Raw) -> Vec<Said> {
    if !KINDS.contains(&kind) || !raw.json().contains("\"conditions\"") {
        return Vec::new();
    }
    let of_others = Held::read(kind, 0, raw.json()).conditions.into_iter().filter(|it| !it.is_ours);
    of_others.map(|it| Said { kind: it.kind, status: (*it.status).into(), reason: (*it.reason).into() }).collect()
}
