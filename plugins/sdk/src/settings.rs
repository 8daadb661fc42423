//! Reading a plugin's settings: one level of keys with single values, from the JSON text a host passes, or from no text at
//! all. A general JSON reader is left out on purpose: it would be half of a component, and compiling it a third of the
//! time a swap takes. A plugin with nested settings can bring one.

mod json;

use std::cell::RefCell;

use json::Scalar;

/// The settings of one call. Ask for each key there is, then [`Settings::finish`].
#[derive(Debug)]
pub struct Settings {
    written: Vec<(String, Scalar)>,
    /// Every key that was asked for: what may be written.
    known: RefCell<Vec<&'static str>>,
}

impl Settings {
    /// Reads the text; empty text and `null` mean that nothing is written.
    ///
    /// # Errors
    /// One line for the operator: not a mapping, a key written twice, or a value that is itself a mapping or list.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_ascii();
        let written = if text.is_empty() || text == "null" { Vec::new() } else { json::object(text)? };
        Ok(Self { written, known: RefCell::default() })
    }

    /// The text under a key; none where it is not written or null.
    ///
    /// # Errors
    /// One line for the operator, when the value is no text.
    pub fn text(&self, key: &'static str) -> Result<Option<&str>, String> {
        match self.scalar(key) {
            Some(Scalar::Text(text)) => Ok(Some(text)),
            Some(Scalar::Other(word)) if word != "null" => Err(format!("settings: `{key}` must be text, not {word}")),
            Some(Scalar::Other(_)) | None => Ok(None),
        }
    }

    /// What one of the allowed words stands for; none where the key is not written or null.
    ///
    /// # Errors
    /// One line for the operator that lists the allowed words.
    pub fn choice<T: Clone>(&self, key: &'static str, allowed: &[(&str, T)]) -> Result<Option<T>, String> {
        let written = match self.scalar(key) {
            None => return Ok(None),
            Some(Scalar::Other(word)) if word == "null" => return Ok(None),
            Some(Scalar::Text(word) | Scalar::Other(word)) => word,
        };
        let found = allowed.iter().find(|(word, _)| word == written).map(|(_, meaning)| meaning.clone());
        found.map(Some).ok_or_else(|| {
            let words = list(allowed.iter().map(|(word, _)| *word));
            format!("settings: `{key}` must be one of {words}, not `{written}`")
        })
    }

    /// Refuses every key that was never asked for.
    ///
    /// # Errors
    /// One line for the operator that names the key and what is allowed.
    pub fn finish(self) -> Result<(), String> {
        let known = self.known.into_inner();
        match self.written.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, _)) if known.is_empty() => Err(format!("settings: there is no key `{key}`; nothing can be set")),
            Some((key, _)) => {
                Err(format!("settings: there is no key `{key}`; allowed: {}", list(known.iter().copied())))
            }
        }
    }

    fn scalar(&self, key: &'static str) -> Option<&Scalar> {
        self.known.borrow_mut().push(key);
        self.written.iter().find(|(written, _)| written == key).map(|(_, value)| value)
    }
}

/// Refuses any setting: for plugins that have none.
///
/// # Errors
/// One line for the operator.
pub fn none(text: &str) -> Result<(), String> {
    Settings::parse(text)?.finish()
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
