//! AuthorizationPolicies, as they are written.

use model::AuthorizationPolicy;
use model::policy::{Condition, Field, PolicyTarget, Rule};

use super::Context;
use super::meta::{Scope, meta};
use crate::problem::Misfit;
use crate::view::View;

pub(super) fn authorization_policy(root: &View<'_, '_>, with: &Context<'_>) -> Result<AuthorizationPolicy, Misfit> {
    let meta = meta(root, Scope::Namespace, with)?;
    let mut policy = AuthorizationPolicy { meta, ..AuthorizationPolicy::named("", "") };
    let Some(spec) = root.field("spec")? else {
        return Ok(policy);
    };
    policy.selector = match spec.field("selector")? {
        Some(selector) => Some(selector.labels_field("matchLabels", with)?),
        None => None,
    };
    policy.targets = spec.list_field("targetRefs", |view| target(&view, with))?;
    // The old spelling for a single one (R105).
    if let Some(view) = spec.field("targetRef")? {
        policy.targets.push(target(&view, with)?);
    }
    if let Some(action) = spec.text_field("action")?.filter(|action| !action.is_empty()) {
        policy.action = with.name(action);
    }
    policy.rules = spec.list_field("rules", |view| rule(&view, with))?;
    Ok(policy)
}

fn target(view: &View<'_, '_>, with: &Context<'_>) -> Result<PolicyTarget, Misfit> {
    let namespace = view.text_field("namespace")?.filter(|namespace| !namespace.is_empty());
    Ok(PolicyTarget {
        group: view.name_field("group", with)?,
        kind: view.name_field("kind", with)?,
        namespace: namespace.map(|namespace| with.name(namespace)),
        name: view.name_field("name", with)?,
    })
}

fn rule(view: &View<'_, '_>, with: &Context<'_>) -> Result<Rule, Misfit> {
    Ok(Rule {
        from: view.list_field("from", |view| fields(&view, "source", with))?,
        to: view.list_field("to", |view| fields(&view, "operation", with))?,
        when: view.list_field("when", |view| {
            Ok(Condition {
                key: view.name_field("key", with)?,
                values: view.names_field("values", with)?,
                not_values: view.names_field("notValues", with)?,
            })
        })?,
    })
}

/// All fields of a source or an operation, in the order of their names: every one is a list of texts. An empty list is the
/// same as none, as it is for Istio.
fn fields(view: &View<'_, '_>, name: &str, with: &Context<'_>) -> Result<Vec<Field>, Misfit> {
    let mut fields = view.map_field(name, |name, view| {
        let values = view.list(|value| value.text().map(|text| with.name(text)))?;
        Ok(Field { name: with.name(name), values })
    })?;
    fields.retain(|field| !field.values.is_empty());
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(fields)
}
