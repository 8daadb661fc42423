//! Keys and words, as an operator writes them.

use wayswitch_sdk::OnUnreachable;

use super::super::version::{MINORS, Version};
use super::{CanaryVisibility, ExcludeGateways, Required, Settings, Unbound, parse};

const ISTIOS_WAY: Settings = Settings {
    unbound: Unbound::Direct,
    unreachable: OnUnreachable::Fail,
    required: Required::Honoured,
    istio: Version::of_minor(31),
    exclude_gateways: ExcludeGateways::Istio,
    canary_visibility: CanaryVisibility::Istio,
};

#[test]
fn nothing_written_means_istios_way() {
    let defaults = [
        "",
        "{}",
        "null",
        r#"{"unbound":"direct","unreachable":"fail","required":"honoured","istio":"1.31"}"#,
        r#"{"exclude-gateways":"istio","canary-visibility":"istio"}"#,
    ];
    for text in defaults {
        assert_eq!(parse(text), Ok(ISTIOS_WAY), "{text}");
    }
}

#[test]
fn each_key_sets_its_own_field_and_no_other() {
    let default = ISTIOS_WAY;
    let rows = [
        (r#"{"unbound":"blocked"}"#, Settings { unbound: Unbound::Blocked, ..default }),
        (r#"{"unreachable":"bypass"}"#, Settings { unreachable: OnUnreachable::Bypass, ..default }),
        (r#"{"required":"ignored"}"#, Settings { required: Required::Ignored, ..default }),
        (r#"{"exclude-gateways":"all"}"#, Settings { exclude_gateways: ExcludeGateways::All, ..default }),
        (r#"{"canary-visibility":"checked"}"#, Settings { canary_visibility: CanaryVisibility::Checked, ..default }),
    ];
    for (text, expected) in rows {
        assert_ne!(expected, default, "{text}");
        assert_eq!(parse(text), Ok(expected), "{text}");
    }
    for (word, minor) in MINORS {
        let istio = Version::of_minor(minor);
        assert_eq!(parse(&format!(r#"{{"istio":"{word}"}}"#)), Ok(Settings { istio, ..default }));
    }
}

#[test]
fn an_error_names_the_key_or_value_and_what_is_allowed() {
    let keys = "`unbound`, `unreachable`, `required`, `exclude-gateways`, `canary-visibility`, `istio`";
    let levels = MINORS.map(|(word, _)| format!("`{word}`")).join(", ");
    let rows = [
        (r#"{"unbond":"direct"}"#, format!("there is no key `unbond`; allowed: {keys}")),
        (r#"{"unbound":"deny"}"#, "`unbound` must be one of `direct`, `blocked`, not `deny`".to_owned()),
        (r#"{"unbound":"direct","unbound":"direct"}"#, "`unbound` is written twice".to_owned()),
        (r#"{"istio":"1.32"}"#, format!("`istio` must be one of {levels}, not `1.32`")),
        (r#"{"istio":"1.3"}"#, format!("`istio` must be one of {levels}, not `1.3`")),
        // A number that YAML has shortened: 1.30 is 1.3 there.
        (r#"{"istio":1.3}"#, "`istio` must be text in quotes, a whole number, true or false".to_owned()),
        (r#"{"required":true}"#, "`required` must be one of `honoured`, `ignored`, not `true`".to_owned()),
        ("[]", "must be a mapping of keys to values".to_owned()),
    ];
    for (text, error) in rows {
        assert_eq!(parse(text), Err(format!("settings: {error}")), "{text}");
    }
}
