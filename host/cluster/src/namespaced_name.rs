//! What names an object that has a namespace, as flags and messages write it.

use serde::Deserialize;

/// `NAMESPACE/NAME` of an object whose kind is known from where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct NamespacedName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::str::FromStr for NamespacedName {
    type Err = String;

    /// Reads `NAMESPACE/NAME`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(format!("{text:?} is not NAMESPACE/NAME")),
        }
    }
}

impl TryFrom<String> for NamespacedName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parts_are_there_and_nothing_else() {
        let name: NamespacedName = "shop/web".parse().unwrap();
        assert_eq!((&*name.namespace, &*name.name, &*name.to_string()), ("shop", "web", "shop/web"));
        for bad in ["", "web", "/web", "shop/", "shop/web/1"] {
            let error = bad.parse::<NamespacedName>().unwrap_err();
            assert_eq!(error, format!("{bad:?} is not NAMESPACE/NAME"));
            assert!(serde_json::from_value::<NamespacedName>(bad.into()).unwrap_err().to_string().contains(&error));
        }
    }
}
