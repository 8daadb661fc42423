//! One JSON object of single values, and nothing else of JSON.

/// A value as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scalar {
    Text(String),
    /// A number, `true`, `false` or `null`.
    Other(String),
}

/// Reads the whole text as one object.
pub(super) fn object(text: &str) -> Result<Vec<(String, Scalar)>, String> {
    let mut reader = Reader { rest: text };
    if !reader.take("{") {
        return Err("settings: must be a mapping of keys to values".to_owned());
    }
    let mut pairs: Vec<(String, Scalar)> = Vec::new();
    let mut done = reader.take("}");
    while !done {
        let key = reader.string()?.ok_or_else(malformed)?;
        if !reader.take(":") {
            return Err(malformed());
        }
        let value = reader.scalar(&key)?;
        if pairs.iter().any(|(earlier, _)| *earlier == key) {
            return Err(format!("settings: `{key}` is written twice"));
        }
        pairs.push((key, value));
        done = reader.take("}");
        if !done && !reader.take(",") {
            return Err(malformed());
        }
    }
    if reader.rest.trim_ascii_start().is_empty() { Ok(pairs) } else { Err(malformed()) }
}

fn malformed() -> String {
    "settings: the text is not JSON".to_owned()
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    /// Skips blanks, then the given text if it is next.
    fn take(&mut self, text: &str) -> bool {
        self.rest = self.rest.trim_ascii_start();
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn scalar(&mut self, key: &str) -> Result<Scalar, String> {
        if let Some(text) = self.string()? {
            return Ok(Scalar::Text(text));
        }
        if self.rest.starts_with(['{', '[']) {
            return Err(format!("settings: `{key}` must be a single value, not a mapping or list"));
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).ok_or_else(malformed)?;
        let known = matches!(word, "true" | "false" | "null");
        if !known && word.parse::<i64>().is_err() {
            return Err(format!("settings: `{key}` must be text in quotes, a whole number, true or false"));
        }
        self.rest = rest;
        Ok(Scalar::Other(word.to_owned()))
    }

    /// The string that is next, if one is.
    fn string(&mut self) -> Result<Option<String>, String> {
        if !self.take("\"") {
            return Ok(None);
        }
        let mut text = String::new();
        loop {
            match self.char()? {
                '"' => return Ok(Some(text)),
                '\\' => text.push(self.escape()?),
                plain => text.push(plain),
            }
        }
    }

    fn char(&mut self) -> Result<char, String> {
        let mut chars = self.rest.chars();
        let next = chars.next().ok_or_else(malformed)?;
        self.rest = chars.as_str();
        Ok(next)
    }

    fn escape(&mut self) -> Result<char, String> {
        Ok(match self.char()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(),
            plain @ ('"' | '\\' | '/') => plain,
            _ => return Err(malformed()),
        })
    }

    /// Four hexadecimal digits, or twice that for what UTF-16 writes as a pair.
    fn unicode(&mut self) -> Result<char, String> {
        let first = self.unit()?;
        let mut units = vec![first];
        if (0xd800..0xdc00).contains(&first) {
            if !self.rest.starts_with("\\u") {
                return Err(malformed());
            }
            self.char()?;
            self.char()?;
            units.push(self.unit()?);
        }
        char::decode_utf16(units).next().and_then(Result::ok).ok_or_else(malformed)
    }

    fn unit(&mut self) -> Result<u16, String> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.char()?.to_digit(16).and_then(|digit| u16::try_from(digit).ok());
            unit = unit << 4 | digit.ok_or_else(malformed)?;
        }
        Ok(unit)
    }
}
