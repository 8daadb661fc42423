//! The rules written down a second time, as plainly as they can be: no sharing, no short cuts, one subject at a time. What
//! the universe compares every decision with.

use wayswitch_sdk::{Batch, Gateway, Listener, Namespace, Pair, Subject, SubjectKind, Visibility};

use super::super::keys;

/// The settings of a batch, and their text.
#[derive(Debug, Clone, Default)]
pub(super) struct Terms {
    /// 1.x.
    pub(super) minor: u8,
    pub(super) blocked: bool,
    pub(super) bypass: bool,
    pub(super) ignored: bool,
    pub(super) all_gateways: bool,
    pub(super) checked: bool,
}

impl Terms {
    pub(super) fn text(&self) -> String {
        let word = |yes: bool, pair: &str| if yes { pair.to_owned() } else { String::new() };
        let words = [
            word(self.minor != 31, &format!(r#""istio":"1.{}""#, self.minor)),
            word(self.blocked, r#""unbound":"blocked""#),
            word(self.bypass, r#""unreachable":"bypass""#),
            word(self.ignored, r#""required":"ignored""#),
            word(self.all_gateways, r#""exclude-gateways":"all""#),
            word(self.checked, r#""canary-visibility":"checked""#),
        ];
        let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
        if words.is_empty() { String::new() } else { format!("{{{}}}", words.join(",")) }
    }
}

fn find<'a>(pairs: &'a [Pair], key: &str) -> Option<&'a str> {
    pairs.iter().find(|pair| pair.key == key).map(|pair| pair.value.as_str())
}

/// One subject of a batch with what concerns it.
pub(super) struct Asked<'a> {
    pub(super) batch: &'a Batch,
    pub(super) subject: &'a Subject,
    pub(super) terms: &'a Terms,
}

enum Reference<'a> {
    Absent,
    OptOut,
    To(&'a str, &'a str),
}

impl<'a> Asked<'a> {
    fn namespace(&self) -> &'a Namespace {
        &self.batch.namespaces[self.subject.namespace as usize]
    }

    fn inherited_labels(&self) -> &'a [Pair] {
        if self.namespace().known { &self.namespace().labels } else { &[] }
    }

    fn inherited_annotations(&self) -> &'a [Pair] {
        if self.namespace().known { &self.namespace().annotations } else { &[] }
    }

    fn is_service(&self) -> bool {
        matches!(self.subject.kind, SubjectKind::Service | SubjectKind::ServiceEntry)
    }

    fn in_set(&self, namespace: &str, name: &str) -> Option<&'a Gateway> {
        let mut gateways = self.batch.gateways.iter();
        gateways.find(|it| it.namespace == namespace && it.name == name && !it.addresses.is_empty())
    }

    fn reference(&self, labels: &'a [Pair]) -> Reference<'a> {
        let own = self.namespace().name.as_str();
        let Some(value) = find(labels, keys::USE_WAYPOINT) else { return Reference::Absent };
        if self.terms.minor >= 23 {
            return match value {
                "none" => Reference::OptOut,
                name => Reference::To(find(labels, keys::USE_WAYPOINT_NAMESPACE).unwrap_or(own), name),
            };
        }
        if value == "none" || value == "~" || value.ends_with("/none") {
            return Reference::OptOut;
        }
        match value.split('/').collect::<Vec<_>>()[..] {
            [name] => Reference::To(own, name),
            [namespace, name] => Reference::To(namespace, name),
            _ => Reference::Absent,
        }
    }

    fn admitted(&self, gateway: &Gateway) -> bool {
        if self.terms.minor < 23 {
            return true;
        }
        let hbone = |it: &&Listener| it.port == 15008 && it.app_protocol == "HBONE";
        let bound = match find(&gateway.annotations, keys::INBOUND_BINDING) {
            Some("PROXY/1") if self.terms.minor >= 26 => gateway.listeners.iter().find(|it| it.port == 1),
            Some("PROXY") if self.terms.minor >= 26 => {
                gateway.listeners.iter().find(|it| it.app_protocol == "istio.io/PROXY")
            }
            _ => None,
        };
        let listener = bound.or_else(|| gateway.listeners.iter().find(hbone));
        match listener.and_then(|listener| listener.admits_from.as_deref()) {
            Some("All") => true,
            Some("Selector") => {
                let selector = listener.and_then(|listener| listener.selector);
                self.namespace().selected_by.iter().any(|id| Some(*id) == selector)
            }
            _ => gateway.namespace == self.namespace().name,
        }
    }

    fn address(&self, gateway: &Gateway) -> String {
        let hostname = gateway.addresses.iter().position(|it| it.kind.as_deref() == Some("Hostname"));
        let ip = gateway
            .addresses
            .iter()
            .position(|it| it.kind.as_deref() == Some("IPAddress") && it.value.parse::<std::net::IpAddr>().is_ok());
        let address = hostname.filter(|_| self.terms.minor >= 24).or(ip);
        address.map_or("-".to_owned(), |index| index.to_string())
    }

    /// The reason against a waypoint of this name; else the waypoint.
    fn waypoint(&self, namespace: &str, name: &str) -> Result<&'a Gateway, &'static str> {
        let found = self.in_set(namespace, name).ok_or("WaypointIsNotReady")?;
        if !self.admitted(found) {
            return Err("AttachmentDenied");
        }
        let wanted = if self.is_service() { "service" } else { "workload" };
        if ![wanted, "all"].contains(&kind_of(found)) {
            return Err("UnsupportedTrafficType");
        }
        Ok(found)
    }

    fn foreign(&self, gateway: &Gateway) -> bool {
        self.subject.visibility == Visibility::OwnNamespace && gateway.namespace != self.namespace().name
    }

    fn required(&self) -> bool {
        let own = self.subject.labels.as_deref().and_then(|labels| find(labels, keys::REQUIRED));
        let said = own.or_else(|| find(self.inherited_labels(), keys::REQUIRED));
        match said.filter(|_| !self.terms.ignored) {
            None | Some("none" | "false") => false,
            Some("service") => self.is_service(),
            Some("workload") => !self.is_service(),
            Some(_) => true,
        }
    }

    fn without(&self, reason: Option<&str>) -> String {
        let blocked = self.required() || (reason.is_some() && self.terms.blocked);
        let reason = reason.or(if self.required() { Some("WaypointRequired") } else { None });
        let choice = if blocked { "blocked" } else { "direct" };
        reason.map_or(choice.to_owned(), |reason| format!("{choice} {reason}"))
    }

    /// The second waypoint's share, or the reason against it.
    fn second(
        &self,
        labels: &'a [Pair],
        primary: &Gateway,
        explicit: bool,
    ) -> Result<Option<(&'a Gateway, u32)>, &str> {
        let inherited = if explicit { &[] } else { self.inherited_labels() };
        let from = if find(labels, keys::CANARY).is_some() { labels } else { inherited };
        let name = find(from, keys::CANARY).unwrap_or_default();
        if !self.is_service() || self.terms.minor < 31 || ["", "none"].contains(&name) {
            return Ok(None);
        }
        let namespace = find(from, keys::CANARY_NAMESPACE).unwrap_or(&self.namespace().name);
        if (namespace, name) == (primary.namespace.as_str(), primary.name.as_str()) {
            return Err("CanarySameAsPrimary");
        }
        let own = self.subject.annotations.as_deref().and_then(|it| find(it, keys::CANARY_WEIGHT));
        let inherited = find(self.inherited_annotations(), keys::CANARY_WEIGHT).filter(|_| !explicit);
        // Every weight of the universe; those that the grammar knows are tested where it is.
        let weight = match own.or(inherited) {
            None | Some("0") => 0,
            Some("+10") => 10,
            Some("100") => 100,
            _ => return Err("CanaryInvalidWeight"),
        };
        let second = self.waypoint(namespace, name)?;
        if self.terms.checked && self.foreign(second) {
            return Err("CrossNamespaceWaypointForbidden");
        }
        Ok(Some((second, weight)))
    }

    fn bound(&self, labels: &'a [Pair], primary: &Gateway, explicit: bool) -> String {
        let place = |it: &Gateway| format!("{}/{} {}", it.namespace, it.name, self.address(it));
        let mut line = match self.second(labels, primary, explicit) {
            Ok(None) => format!("{} WaypointAccepted", place(primary)),
            Ok(Some((second, weight))) => {
                format!("{} {}% {} {weight}% WaypointAccepted", place(primary), 100 - weight, place(second))
            }
            Err(reason) => format!("{} WaypointAccepted second {reason}", place(primary)),
        };
        if self.terms.bypass && !self.required() {
            line.push_str(" bypass");
        }
        let inherited = find(self.inherited_labels(), keys::INGRESS_USE_WAYPOINT).filter(|_| self.terms.minor >= 25);
        let ingress = find(labels, keys::INGRESS_USE_WAYPOINT).or(inherited);
        if self.is_service() && self.terms.minor >= 24 && ingress == Some("true") {
            line.push_str(" ingress");
        }
        line
    }

    /// The expected line.
    pub(super) fn line(&self) -> String {
        if matches!(self.subject.kind, SubjectKind::ImpliedEndpoint | SubjectKind::SliceEndpoint) {
            return "direct".to_owned();
        }
        let Some(labels) = self.subject.labels.as_deref() else {
            return "keep".to_owned();
        };
        if let Some(by) = find(labels, keys::MANAGED).filter(|_| self.is_service())
            && (self.terms.all_gateways || [keys::MESH_CONTROLLER, keys::EAST_WEST_CONTROLLER].contains(&by))
        {
            return "direct".to_owned();
        }
        let instance = find(labels, keys::GATEWAY_NAME).filter(|_| !self.is_service());
        if let Some(instance) = instance.and_then(|name| self.in_set(&self.namespace().name, name)) {
            return match find(&instance.annotations, keys::INBOUND_BINDING) {
                Some("PROXY") => "direct tunnel PROXY/0".to_owned(),
                Some(binding) => format!("direct tunnel {binding}"),
                None => "direct".to_owned(),
            };
        }
        let own = self.reference(labels);
        let explicit = !matches!(own, Reference::Absent);
        let reference = if explicit { own } else { self.reference(self.inherited_labels()) };
        let Reference::To(namespace, name) = reference else {
            return self.without(None);
        };
        match self.waypoint(namespace, name) {
            Err("UnsupportedTrafficType") if !self.is_service() && !explicit && self.terms.minor >= 30 => {
                self.without(None)
            }
            Err(reason) => self.without(Some(reason)),
            Ok(found) if self.terms.minor >= 31 && self.foreign(found) => {
                self.without(Some("CrossNamespaceWaypointForbidden"))
            }
            Ok(found) => self.bound(labels, found, explicit),
        }
    }
}

/// Which traffic, as the Gateway or its class says.
fn kind_of(gateway: &Gateway) -> &str {
    let class = gateway.gateway_class.as_ref().and_then(|class| find(&class.labels, keys::WAYPOINT_FOR));
    find(&gateway.labels, keys::WAYPOINT_FOR).or(class).unwrap_or("service")
}
