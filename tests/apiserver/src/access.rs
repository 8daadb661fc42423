//! Who may do what: tokens, and rules as plain as tests need them. RBAC's objects are not read.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::refusal::{Refusal, Subject};

/// What a request asks for, in the words of RBAC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) verb: String,
    pub(crate) group: String,
    /// With its subresource: `pods/status`.
    pub(crate) resource: String,
    /// Empty at the cluster scope.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// One rule; `*` and empty match everything.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    user: String,
    verb: String,
    group: String,
    resource: String,
}

/// Rules that allow, of one ClusterRole (no namespace) or Role.
#[derive(Clone, Debug)]
struct Grant {
    namespace: Option<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    verbs: Vec<String>,
    names: Vec<String>,
}

/// Everything about access. Without tokens everybody is the default user; without grants a user may do everything.
#[derive(Debug, Default)]
pub(crate) struct Access {
    default_user: String,
    tokens: BTreeMap<String, String>,
    forbidden: Vec<Rule>,
    grants: BTreeMap<String, Vec<Grant>>,
}

fn strings(rule: &Value, field: &str) -> Vec<String> {
    let all = rule.get(field).and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn fits(pattern: &str, found: &str) -> bool {
    pattern == "*" || pattern == found
}

impl Access {
    pub(crate) fn new(default_user: &str) -> Self {
        Self { default_user: default_user.to_owned(), ..Self::default() }
    }

    pub(crate) fn accept(&mut self, token: &str, user: &str) {
        self.tokens.insert(token.to_owned(), user.to_owned());
    }

    pub(crate) fn revoke(&mut self, token: &str) {
        // A token stays necessary: what is left may be none at all.
        self.tokens.insert(token.to_owned(), String::new());
    }

    pub(crate) fn user_of(&self, token: &str) -> Option<&str> {
        self.tokens.get(token).map(String::as_str).filter(|user| !user.is_empty())
    }

    /// Who sends this `Authorization` header.
    pub(crate) fn authenticate(&self, header: Option<&str>) -> Result<String, Refusal> {
        if self.tokens.is_empty() {
            return Ok(self.default_user.clone());
        }
        let token = header.and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default();
        self.user_of(token).map(str::to_owned).ok_or(Refusal::Unauthorized)
    }

    pub(crate) fn forbid(&mut self, user: &str, verb: &str, group: &str, resource: &str) {
        let rule = Rule { user: user.into(), verb: verb.into(), group: group.into(), resource: resource.into() };
        if !self.forbidden.contains(&rule) {
            self.forbidden.push(rule);
        }
    }

    pub(crate) fn permit(&mut self, user: &str, verb: &str, group: &str, resource: &str) {
        let rule = Rule { user: user.into(), verb: verb.into(), group: group.into(), resource: resource.into() };
        self.forbidden.retain(|found| *found != rule);
    }

    /// Adds the `rules` of a role; from the first on the user may do nothing else.
    pub(crate) fn grant(&mut self, user: &str, namespace: Option<&str>, rules: &Value) {
        let grants = self.grants.entry(user.to_owned()).or_default();
        for rule in rules.as_array().into_iter().flatten() {
            grants.push(Grant {
                namespace: namespace.map(str::to_owned),
                groups: strings(rule, "apiGroups"),
                resources: strings(rule, "resources"),
                verbs: strings(rule, "verbs"),
                names: strings(rule, "resourceNames"),
            });
        }
    }

    pub(crate) fn is_allowed(&self, user: &str, asked: &Attributes) -> bool {
        let is_forbidden = self.forbidden.iter().any(|rule| {
            fits(&rule.user, user)
                && fits(&rule.verb, &asked.verb)
                && fits(&rule.group, &asked.group)
                && fits(&rule.resource, &asked.resource)
        });
        let is_granted = self.grants.get(user).is_none_or(|grants| grants.iter().any(|grant| grant.covers(asked)));
        !is_forbidden && is_granted
    }

    pub(crate) fn authorize(&self, user: &str, asked: &Attributes) -> Result<(), Refusal> {
        if self.is_allowed(user, asked) {
            return Ok(());
        }
        let plural = asked.resource.split('/').next().unwrap_or_default();
        let dot = if asked.group.is_empty() { "" } else { "." };
        let qualified = format!("{plural}{dot}{}", asked.group);
        let object = if asked.name.is_empty() { qualified } else { format!("{qualified} {:?}", asked.name) };
        let scope = if asked.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {:?}", asked.namespace)
        };
        let message = format!(
            "{object} is forbidden: User {user:?} cannot {} resource {:?} in API group {:?} {scope}",
            asked.verb, asked.resource, asked.group
        );
        let subject =
            Subject { group: asked.group.as_str().into(), plural: plural.into(), name: asked.name.as_str().into() };
        Err(Refusal::Forbidden { subject, message })
    }
}

impl Grant {
    fn covers(&self, asked: &Attributes) -> bool {
        let any = |patterns: &[String], found: &str| patterns.iter().any(|pattern| fits(pattern, found));
        self.namespace.as_ref().is_none_or(|namespace| *namespace == asked.namespace)
            && any(&self.groups, &asked.group)
            && any(&self.resources, &asked.resource)
            && any(&self.verbs, &asked.verb)
            && (self.names.is_empty() || self.names.contains(&asked.name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(verb: &str, resource: &str, namespace: &str, name: &str) -> Attributes {
        Attributes {
            verb: verb.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        }
    }

    #[test]
    fn what_is_forbidden_is_said_as_the_api_server_says_it() {
        let mut access = Access::new("admin");
        access.forbid("*", "list", "", "pods");
        let refusal = access.authorize("system:serviceaccount:a:b", &asked("list", "pods", "", "")).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "pods is forbidden: User \"system:serviceaccount:a:b\" cannot list resource \"pods\" in API group \"\" at the cluster scope"
        );
        let refusal = {
            access.forbid("*", "get", "", "pods");
            access.authorize("u", &asked("get", "pods", "n", "x")).unwrap_err()
        };
        assert_eq!(
            refusal.to_string(),
            "pods \"x\" is forbidden: User \"u\" cannot get resource \"pods\" in API group \"\" in the namespace \"n\""
        );
        access.permit("*", "list", "", "pods");
        assert_eq!(access.authorize("u", &asked("list", "pods", "", "")), Ok(()));
    }

    #[test]
    fn a_user_with_grants_may_do_nothing_else() {
        let mut access = Access::new("admin");
        access.grant("u", None, &json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]));
        access.grant(
            "u",
            Some("n"),
            &json!([{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["c"], "verbs": ["*"]}]),
        );
        for (verb, resource, namespace, name, expected) in [
            ("list", "pods", "", "", true),
            ("watch", "pods", "", "", false),
            ("patch", "configmaps", "n", "c", true),
            ("patch", "configmaps", "m", "c", false),
            ("patch", "configmaps", "n", "d", false),
        ] {
            assert_eq!(access.is_allowed("u", &asked(verb, resource, namespace, name)), expected, "{verb} {resource}");
        }
        assert!(access.is_allowed("v", &asked("delete", "nodes", "", "n")));
    }

    #[test]
    fn a_revoked_token_is_unauthorized_and_a_new_one_is_not() {
        let mut access = Access::new("admin");
        assert_eq!(access.authenticate(None), Ok("admin".to_owned()));
        access.accept("t1", "u");
        assert_eq!(access.authenticate(None), Err(Refusal::Unauthorized));
        assert_eq!(access.authenticate(Some("Bearer t1")), Ok("u".to_owned()));
        access.revoke("t1");
        assert_eq!(access.authenticate(Some("Bearer t1")), Err(Refusal::Unauthorized));
        access.accept("t2", "u");
        assert_eq!(access.authenticate(Some("Bearer t2")), Ok("u".to_owned()));
    }
}
