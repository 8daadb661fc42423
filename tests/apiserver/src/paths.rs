//! From a request line to what is meant: route and query. Knows no store.

use std::collections::BTreeMap;

/// What a path means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Version,
    Health,
    ApiVersions,
    ApiGroups,
    ApiGroup(String),
    Resources { group: String, version: String },
    OpenApi,
    OpenApiOf { group: String, version: String },
    Objects(Place),
    Unknown,
}

/// A collection, an object, or a subresource of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: String,
}

impl Route {
    pub(crate) fn parse(path: &str) -> Self {
        let parts: Vec<String> =
            path.split('/').filter(|part| !part.is_empty()).map(|part| decode(part, false)).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["version"] => Self::Version,
            ["healthz" | "livez" | "readyz", ..] => Self::Health,
            ["api"] => Self::ApiVersions,
            ["apis"] => Self::ApiGroups,
            ["apis", group] => Self::ApiGroup((*group).to_owned()),
            ["api", version] => Self::Resources { group: String::new(), version: (*version).to_owned() },
            ["apis", group, version] => Self::Resources { group: (*group).to_owned(), version: (*version).to_owned() },
            ["openapi", "v3"] => Self::OpenApi,
            ["openapi", "v3", "api", version] => {
                Self::OpenApiOf { group: String::new(), version: (*version).to_owned() }
            }
            ["openapi", "v3", "apis", group, version] => {
                Self::OpenApiOf { group: (*group).to_owned(), version: (*version).to_owned() }
            }
            ["api", version, rest @ ..] => objects("", version, rest),
            ["apis", group, version, rest @ ..] => objects(group, version, rest),
            _ => Self::Unknown,
        }
    }
}

fn objects(group: &str, version: &str, rest: &[&str]) -> Route {
    let (namespace, rest) = match rest {
        // A namespace itself, and its subresources.
        ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => (None, rest),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
        _ => (None, rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (*plural, None, ""),
        [plural, name] => (*plural, Some((*name).to_owned()), ""),
        [plural, name, subresource] => (*plural, Some((*name).to_owned()), *subresource),
        _ => return Route::Unknown,
    };
    Route::Objects(Place {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: plural.to_owned(),
        namespace,
        name,
        subresource: subresource.to_owned(),
    })
}

/// Query parameters; of several with one name the last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        Self(
            text.split('&')
                .filter(|part| !part.is_empty())
                .map(|part| part.split_once('=').unwrap_or((part, "")))
                .map(|(name, value)| (decode(name, true), decode(value, true)))
                .collect(),
        )
    }

    /// Empty is absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value == "true" || value == "1")
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }
}

/// Percent signs, and plus signs in queries.
fn decode(text: &str, is_query: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut ahead = rest.clone();
                let digits = [ahead.next(), ahead.next()].map(|digit| digit.and_then(|d| char::from(d).to_digit(16)));
                if let [Some(high), Some(low)] = digits {
                    bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                    rest = ahead;
                } else {
                    bytes.push(byte);
                }
            }
            b'+' if is_query => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, namespace: Option<&str>, plural: &str, name: Option<&str>, subresource: &str) {
        let Route::Objects(place) = Route::parse(path) else { panic!("{path} is no object") };
        let found = (place.namespace.as_deref(), place.plural.as_str(), place.name.as_deref(), &*place.subresource);
        assert_eq!(found, (namespace, plural, name, subresource), "{path}");
    }

    #[test]
    fn namespaces_are_both_objects_and_places() {
        check("/api/v1/namespaces", None, "namespaces", None, "");
        check("/api/v1/namespaces/a", None, "namespaces", Some("a"), "");
        check("/api/v1/namespaces/a/status", None, "namespaces", Some("a"), "status");
        check("/api/v1/namespaces/a/pods", Some("a"), "pods", None, "");
        check("/api/v1/namespaces/a/pods/p/status", Some("a"), "pods", Some("p"), "status");
        check("/apis/gateway.networking.k8s.io/v1/gateways", None, "gateways", None, "");
        check("/apis/coordination.k8s.io/v1/namespaces/a/leases/l", Some("a"), "leases", Some("l"), "");
    }

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("labelSelector=a+in%20%28b%2Cc%29&watch=1&limit=5&empty=");
        assert_eq!(query.get("labelSelector"), Some("a in (b,c)"));
        assert!(query.is_on("watch"));
        assert_eq!((query.number("limit"), query.get("empty")), (Some(5), None));
    }
}
