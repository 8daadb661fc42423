//! What a text is made of: which parts of names, hosts, values and selectors are renamed, and which punctuation is kept.

use std::net::IpAddr;

use super::vocabulary::{Vocabulary, has_value};
use crate::name::{Labels, Name};
use crate::selector::{Requirement, Selector};
use crate::service_entry::AddressRange;

/// Gives words and addresses other names, or takes note of them: one way through the objects serves both, so that
/// nothing is renamed that was not seen.
pub(super) trait Rename {
    fn vocabulary(&self) -> &Vocabulary;
    /// Kept words stay; see [`super::words`].
    fn word(&mut self, text: &str) -> Name;
    fn address(&mut self, ip: IpAddr) -> IpAddr;
}

/// A name of an object, or any other text that counts as a whole. What has neither letter nor digit says nothing.
pub(super) fn name(by: &mut impl Rename, text: &str) -> Name {
    if text.chars().any(char::is_alphanumeric) { by.word(text) } else { text.into() }
}

/// Several names with slashes between them; before Istio 1.23 a reference was written like that.
pub(super) fn text(by: &mut impl Rename, text: &str) -> Name {
    parts(text, '/', |part| name(by, part))
}

/// A host, label by label, so that `NAME.NAMESPACE.svc.DOMAIN` stays one of its service, and a wildcard stays above what
/// it stands above. Or an address; or the path of a socket.
pub(super) fn host(by: &mut impl Rename, text: &str) -> Name {
    if let Ok(ip) = text.parse::<IpAddr>() {
        let renamed = by.address(ip);
        // Another spelling of an address is another text, and has to stay one.
        let is_canonical = ip.to_string() == text;
        return if is_canonical { renamed.to_string().into() } else { in_full(renamed).into() };
    }
    if let Some(path) = text.strip_prefix("unix://") {
        return format!("unix:///{}", name(by, path)).into();
    }
    parts(text, '.', |label| name(by, label))
}

/// Another way to write it than the usual one.
fn in_full(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => ip.segments().map(|segment| format!("{segment:04x}")).join(":"),
    }
}

fn parts(text: &str, separator: char, mut rename: impl FnMut(&str) -> Name) -> Name {
    if !text.contains(separator) {
        return rename(text);
    }
    let mut renamed = String::with_capacity(text.len());
    for (at, part) in text.split(separator).enumerate() {
        if at > 0 {
            renamed.push(separator);
        }
        renamed.push_str(&rename(part));
    }
    renamed.into()
}

/// An address or `ADDRESS/PREFIX`.
pub(super) fn range(by: &mut impl Rename, range: AddressRange) -> AddressRange {
    let AddressRange { ip, prefix } = range;
    AddressRange { ip: by.address(ip), prefix }
}

/// A word of a fixed list; what is not on it is somebody's own.
pub(super) fn one_of(by: &mut impl Rename, known: &[&str], text: &str) -> Name {
    if known.contains(&text) { text.into() } else { name(by, text) }
}

pub(super) fn key(by: &mut impl Rename, text: &str) -> Name {
    if by.vocabulary().has_key(text) {
        return text.into();
    }
    match text.split_once('/') {
        Some((domain, rest)) => format!("{}/{}", host(by, domain), name(by, rest)).into(),
        None => name(by, text),
    }
}

pub(super) fn value(by: &mut impl Rename, key: &str, text: &str) -> Name {
    parts(text, '/', |part| if has_value(key, part) { part.into() } else { name(by, part) })
}

pub(super) fn labels(by: &mut impl Rename, labels: &Labels) -> Labels {
    labels.iter().map(|(k, v)| (key(by, k), value(by, k, v))).collect()
}

/// Those that nobody reads are dropped: they may hold whole manifests.
pub(super) fn annotations(by: &mut impl Rename, annotations: &Labels) -> Labels {
    let mut kept: Vec<(Name, Name)> = Vec::new();
    for (key, text) in annotations.iter() {
        if by.vocabulary().has_annotation(key) {
            kept.push((key.clone(), value(by, key, text)));
        }
    }
    kept.into_iter().collect()
}

pub(super) fn selector(by: &mut impl Rename, selector: &Selector) -> Selector {
    let Selector { labels: pairs, requirements } = selector;
    Selector { labels: labels(by, pairs), requirements: requirements.iter().map(|it| requirement(by, it)).collect() }
}

fn requirement(by: &mut impl Rename, requirement: &Requirement) -> Requirement {
    let Requirement { key: of, operator, values } = requirement;
    Requirement {
        key: key(by, of),
        operator: one_of(by, &["In", "NotIn", "Exists", "DoesNotExist"], operator),
        values: values.iter().map(|it| value(by, of, it)).collect(),
    }
}

/// The same for every element.
pub(super) fn each<T, U>(all: &[T], rename: impl FnMut(&T) -> U) -> Vec<U> {
    all.iter().map(rename).collect()
}
