//! Changes as commands for an operator's shell. What nobody can edit is said as a comment.

use model::object::Kind;
use model::whatif::{Place, Write};
use model::{Object, ObjectKey};
use serde_json::json;

use super::Means;

/// One line; several commands where several places have to be written.
pub(super) fn command(means: &Means) -> String {
    match means {
        Means::Object(change) => {
            let commands: Vec<String> = change.writes.iter().map(|write| one(&change.object, write)).collect();
            commands.join(" && ")
        }
        Means::Settings(settings) => comment(&format!("in config.yaml: settings: {settings}")),
    }
}

fn one(object: &Object, Write { place, value }: &Write) -> String {
    let key = object.key();
    let of = target(&key);
    let pair = |name: &str| match value {
        Some(value) => quoted(&format!("{name}={value}")),
        None => quoted(&format!("{name}-")),
    };
    match place {
        Place::Label(name) => format!("kubectl label {of} --overwrite {}", pair(name)),
        Place::Annotation(name) => format!("kubectl annotate {of} --overwrite {}", pair(name)),
        Place::SpecLabel(name) => patch(&of, &format!("/spec/labels/{}", escaped(name)), value.as_deref()),
        Place::AdmitsFrom { listener } => {
            // The API server has written the fields above it.
            patch(&of, &format!("/spec/listeners/{listener}/allowedRoutes/namespaces/from"), value.as_deref())
        }
        Place::EndpointLabel { address, key } => {
            // A patch would have to know the position in the list, which is not kept.
            let label = match value {
                Some(value) => format!("set {key}: {value}"),
                None => format!("remove {key}"),
            };
            format!("kubectl edit {of} {}", comment(&format!("spec.endpoints, address {address}, labels: {label}")))
        }
        Place::Addresses => {
            let value = value.as_deref().unwrap_or("nothing");
            comment(&format!("the controller of {key} has to report status.addresses: {value}"))
        }
    }
}

/// Kind, name and namespace; kinds that several groups have are named with theirs.
fn target(key: &ObjectKey) -> String {
    let kind = match key.kind {
        Kind::Namespace => "namespace",
        Kind::GatewayClass => "gatewayclass",
        Kind::Gateway => "gateways.gateway.networking.k8s.io",
        Kind::Service => "service",
        Kind::Pod => "pod",
        Kind::ServiceEntry => "serviceentry",
        Kind::WorkloadEntry => "workloadentry",
        Kind::EndpointSlice => "endpointslice",
        Kind::AuthorizationPolicy => "authorizationpolicy",
        Kind::Node => "node",
        Kind::PeerAuthentication => "peerauthentication",
    };
    let name = quoted(&key.name);
    if key.kind.is_cluster_scoped() {
        return format!("{kind} {name}");
    }
    format!("{kind} {name} -n {}", quoted(&key.namespace))
}

fn patch(of: &str, path: &str, value: Option<&str>) -> String {
    let operation = match value {
        Some(value) => json!([{ "op": "add", "path": path, "value": value }]),
        None => json!([{ "op": "remove", "path": path }]),
    };
    format!("kubectl patch {of} --type=json -p {}", quoted(&operation.to_string()))
}

/// A key as part of a JSON pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Text as one word of a shell: names and values come from manifests, and may be anything.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/:=@%+,-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", one_line(text).replace('\'', r"'\''"))
}

/// What a shell leaves alone up to the end of the line.
fn comment(text: &str) -> String {
    format!("# {}", one_line(text))
}

/// Without line breaks, and anything else that a terminal would act on.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use model::service_entry::ServiceEntry;
    use model::whatif::Change;
    use model::{Gateway, Meta, Namespace, Service, WorkloadEntry};

    use super::*;

    fn check(object: Object, place: Place, value: Option<&str>, expected: &str) {
        let write = Write { place, value: value.map(Into::into) };
        let change = Change { object, writes: vec![write] };
        assert_eq!(command(&Means::Object(Box::new(change))), expected);
    }

    #[test]
    fn each_change_is_a_command_that_can_be_pasted() {
        let service = || Object::Service(Service::named("shop", "cart"));
        let via = || Place::Label("istio.io/use-waypoint".into());
        let gateway = || {
            let meta = Meta::named("shop", "w");
            Object::Gateway(Gateway { meta, class: "c".into(), listeners: Vec::new(), addresses: Vec::new() })
        };
        check(service(), via(), Some("w"), "kubectl label service cart -n shop --overwrite istio.io/use-waypoint=w");
        check(service(), via(), None, "kubectl label service cart -n shop --overwrite istio.io/use-waypoint-");
        check(
            Object::Namespace(Namespace { meta: Meta::named("", "shop") }),
            via(),
            Some("a b'c"),
            r"kubectl label namespace shop --overwrite 'istio.io/use-waypoint=a b'\''c'",
        );
        check(
            service(),
            Place::Annotation("a".into()),
            Some("10"),
            "kubectl annotate service cart -n shop --overwrite a=10",
        );
        check(
            Object::WorkloadEntry(WorkloadEntry::named("shop", "vm")),
            Place::SpecLabel("istio.io/use-waypoint".into()),
            None,
            r#"kubectl patch workloadentry vm -n shop --type=json -p '[{"op":"remove","path":"/spec/labels/istio.io~1use-waypoint"}]'"#,
        );
        check(
            gateway(),
            Place::AdmitsFrom { listener: 1 },
            Some("All"),
            r#"kubectl patch gateways.gateway.networking.k8s.io w -n shop --type=json -p '[{"op":"add","path":"/spec/listeners/1/allowedRoutes/namespaces/from","value":"All"}]'"#,
        );
        check(
            gateway(),
            Place::Addresses,
            Some("Hostname=w.shop"),
            "# the controller of Gateway shop/w has to report status.addresses: Hostname=w.shop",
        );
        check(
            Object::ServiceEntry(ServiceEntry::named("shop", "api")),
            Place::EndpointLabel { address: "10.0.0.1".into(), key: "a".into() },
            Some("b"),
            "kubectl edit serviceentry api -n shop # spec.endpoints, address 10.0.0.1, labels: set a: b",
        );
    }

    #[test]
    fn what_comes_from_a_manifest_stays_one_word_of_the_shell() {
        for (text, expected) in [("a;b", "'a;b'"), ("$(x)", "'$(x)'"), ("a\nb", "'a b'"), ("", "''"), ("'", r"''\'''")]
        {
            assert_eq!(quoted(text), expected);
        }
        assert_eq!(comment("a\nrm -r b"), "# a rm -r b");
    }
}
