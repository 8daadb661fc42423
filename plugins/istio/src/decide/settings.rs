//! What an operator may set: what happens to a subject whose reference leads nowhere. Everything else is Istio's.

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Settings {
    pub(super) unbound: Unbound,
}

/// What a subject gets that asked for a waypoint (by its own label or its namespace's) and cannot be bound to it. Opting
/// out and not asking are direct under either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Unbound {
    /// As Istio: past the waypoint, straight to the destination.
    #[default]
    Direct,
    /// Connections fail until the reference can be bound: nothing passes a waypoint it was meant to go through. This
    /// holds for pods too while an inherited waypoint is not ready, since what it will serve is not final before.
    Blocked,
}

/// The key and its words.
const UNBOUND: &str = "unbound";
const WORDS: [(&str, Unbound); 2] = [("direct", Unbound::Direct), ("blocked", Unbound::Blocked)];

pub(super) fn parse(text: &str) -> Result<Settings, String> {
    let settings = wayswitch_sdk::settings::Settings::parse(text)?;
    let unbound = settings.choice(UNBOUND, &WORDS)?.unwrap_or_default();
    settings.finish()?;
    Ok(Settings { unbound })
}

#[cfg(test)]
mod tests {
    use super::{Settings, Unbound, parse};

    #[test]
    fn nothing_written_means_istios_way() {
        for text in ["", "{}", r#"{"unbound":"direct"}"#] {
            assert_eq!(parse(text), Ok(Settings { unbound: Unbound::Direct }), "{text}");
        }
        assert_eq!(parse(r#"{"unbound":"blocked"}"#), Ok(Settings { unbound: Unbound::Blocked }));
    }

    #[test]
    fn an_error_names_the_key_or_value_and_what_is_allowed() {
        let rows = [
            (r#"{"unbond":"direct"}"#, "there is no key `unbond`; allowed: `unbound`"),
            (r#"{"unbound":"deny"}"#, "`unbound` must be one of `direct`, `blocked`, not `deny`"),
            (r#"{"unbound":"direct","unbound":"direct"}"#, "`unbound` is written twice"),
            ("[]", "must be a mapping of keys to values"),
        ];
        for (text, error) in rows {
            assert_eq!(parse(text), Err(format!("settings: {error}")), "{text}");
        }
    }
}
