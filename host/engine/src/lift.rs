//! What a component answered, as values of the model. Nothing is believed yet: `model::batch` checks the answers.

use model::ResolveFailure;
use model::batch::{Answer, AnswerChoice, AnswerTarget, Batch};
use model::decision::{OnUnreachable, Tunnel, TunnelProtocol};
use model::description::{Description, Fields, Reach, Read, Reference, Source};
use model::explain::{Edit, Explanation, FINDINGS_MAX, Finding, Level, gateway_named, shown};

use crate::bindings::exports::wayswitch::waypoint::resolver;
use crate::bindings::wayswitch::waypoint::types as wit;

/// Keys that a component may declare, references, and bytes of each.
const READS_MAX: usize = 256;
const REFERENCES_MAX: usize = 16;
/// The longest label key: a prefix of 253, a slash, a name of 63.
const KEY_BYTES_MAX: usize = 317;

pub(crate) fn answer(decision: wit::Decision) -> Answer {
    let target = |t: wit::Target| AnswerTarget { gateway: t.gateway, address: t.address, weight: t.weight };
    Answer {
        choice: match decision.choice {
            wit::Choice::Keep => AnswerChoice::Keep,
            wit::Choice::Direct => AnswerChoice::Direct,
            wit::Choice::Blocked => AnswerChoice::Blocked,
            wit::Choice::Waypoints(targets) => AnswerChoice::Waypoints(targets.into_iter().map(target).collect()),
        },
        on_unreachable: match decision.on_unreachable {
            wit::OnUnreachable::Fail => OnUnreachable::Fail,
            wit::OnUnreachable::Bypass => OnUnreachable::Bypass,
        },
        reason: decision.reason,
        second_reason: decision.second_reason,
        ingress: decision.ingress,
        tunnel: decision.tunnel.map(|tunnel| Tunnel {
            protocol: match tunnel.app_protocol {
                wit::TunnelProtocol::None => TunnelProtocol::None,
                wit::TunnelProtocol::Proxy => TunnelProtocol::Proxy,
            },
            port: tunnel.port,
        }),
    }
}

/// The author's own word, instead of a trap.
pub(crate) fn failure(failure: &wit::Failure) -> ResolveFailure {
    let what = format!("the component says: {}", shown(&failure.text));
    ResolveFailure { limit: None, what, row: failure.subject.map(|row| row as usize) }
}

/// Checks what a component declared.
pub(crate) fn description(said: resolver::Description) -> Result<Description, String> {
    let count = |what: &str, given: usize, max: usize| {
        (given > max).then(|| format!("declares {given} {what}; at most {max} are possible"))
    };
    if let Some(wrong) = count("reads", said.reads.len(), READS_MAX)
        .or_else(|| count("references", said.references.len(), REFERENCES_MAX))
    {
        return Err(wrong);
    }
    let f = said.fields;
    let reads = said.reads.into_iter().map(|read| Ok(Read { at: source(read.at), key: key(read.key)? }));
    let references = said.references.into_iter().map(|reference| {
        Ok(Reference {
            name_label: key(reference.name_label)?,
            namespace_label: reference.namespace_label.map(key).transpose()?,
            inherit: reference.inherit,
        })
    });
    Ok(Description {
        name: word("name", said.name)?,
        version: word("version", said.version)?,
        reads: reads.collect::<Result<_, String>>()?,
        fields: Fields {
            service_account: f.contains(resolver::Fields::SERVICE_ACCOUNT),
            name: f.contains(resolver::Fields::NAME),
            hosts: f.contains(resolver::Fields::HOSTS),
            upstream: f.contains(resolver::Fields::UPSTREAM),
            endpoints: f.contains(resolver::Fields::ENDPOINTS),
            node_name: f.contains(resolver::Fields::NODE_NAME),
            node_locality: f.contains(resolver::Fields::NODE_LOCALITY),
        },
        references: references.collect::<Result<_, String>>()?,
        reach: match said.reach {
            resolver::Reach::Referenced => Reach::Referenced,
            resolver::Reach::OwnNamespace => Reach::OwnNamespace,
            resolver::Reach::All => Reach::All,
        },
    })
}

fn source(at: resolver::Source) -> Source {
    match at {
        resolver::Source::SubjectLabel => Source::SubjectLabel,
        resolver::Source::SubjectAnnotation => Source::SubjectAnnotation,
        resolver::Source::NamespaceLabel => Source::NamespaceLabel,
        resolver::Source::NamespaceAnnotation => Source::NamespaceAnnotation,
        resolver::Source::GatewayLabel => Source::GatewayLabel,
        resolver::Source::GatewayAnnotation => Source::GatewayAnnotation,
        resolver::Source::ClassLabel => Source::ClassLabel,
        resolver::Source::ClassAnnotation => Source::ClassAnnotation,
        resolver::Source::NodeLabel => Source::NodeLabel,
    }
}

fn key(text: String) -> Result<model::Name, String> {
    let plain = text.bytes().all(|b| b.is_ascii_graphic());
    if text.is_empty() || text.len() > KEY_BYTES_MAX || !plain {
        return Err(format!("declares the key {:?}, which no label can have", shown(&text)));
    }
    Ok(text.into())
}

fn word(what: &str, text: String) -> Result<model::Name, String> {
    let plain = text.chars().all(|c| !c.is_control());
    if text.is_empty() || text.len() > 128 || !plain {
        return Err(format!("its {what} {:?} is not 1 to 128 bytes of plain text", shown(&text)));
    }
    Ok(text.into())
}

/// Findings with the names that the host adds.
pub(crate) fn explanation(batch: &Batch<'_>, said: &wit::Explanation) -> Result<Explanation, ResolveFailure> {
    let wrong = |wrong| ResolveFailure::from((None, wrong));
    let finding = |f: &wit::Finding| {
        Ok(Finding {
            rule: shown(&f.rule),
            at: level(f.at),
            gateway: gateway_named(batch, f.gateway).map_err(wrong)?,
            key: shown(&f.key),
            value: f.value.as_deref().map(shown),
            text: shown(&f.text),
            decisive: f.decisive,
        })
    };
    let edit = |e: &wit::Edit| {
        Ok(Edit {
            at: level(e.at),
            gateway: gateway_named(batch, e.gateway).map_err(wrong)?,
            key: shown(&e.key),
            value: e.value.as_deref().map(shown),
        })
    };
    Ok(Explanation {
        findings: said.findings.iter().take(FINDINGS_MAX).map(finding).collect::<Result<_, ResolveFailure>>()?,
        edits: said.edits.iter().take(FINDINGS_MAX).map(edit).collect::<Result<_, ResolveFailure>>()?,
    })
}

fn level(level: wit::Level) -> Level {
    match level {
        wit::Level::Subject => Level::Subject,
        wit::Level::Namespace => Level::Namespace,
        wit::Level::Gateway => Level::Gateway,
        wit::Level::GatewayClass => Level::GatewayClass,
        wit::Level::Listener => Level::Listener,
        wit::Level::Node => Level::Node,
        wit::Level::Settings => Level::Settings,
    }
}
