//! Building answers in one line each. Which answer is right is the plugin's business.

use crate::{Choice, Decision, Description, Failure, Fields, OnUnreachable, Reach, Read, Source, Target, Tunnel};

impl Decision {
    fn new(choice: Choice, reason: Option<&str>) -> Self {
        Self {
            choice,
            on_unreachable: OnUnreachable::Fail,
            reason: reason.map(str::to_owned),
            second_reason: None,
            ingress: false,
            tunnel: None,
        }
    }

    /// What the control plane said stays as it is: the answer where the labels are unknown.
    #[must_use]
    pub fn keep() -> Self {
        Self::new(Choice::Keep, None)
    }

    /// No waypoint. `reason`: why not, where one was asked for.
    #[must_use]
    pub fn direct(reason: Option<&str>) -> Self {
        Self::new(Choice::Direct, reason)
    }

    /// Connections fail. `reason`: why.
    #[must_use]
    pub fn blocked(reason: Option<&str>) -> Self {
        Self::new(Choice::Blocked, reason)
    }

    /// Through one waypoint. `gateway`: its index in the batch; `address`: an index into its addresses, none where it
    /// has no usable one. While it cannot be reached, connections fail, as in Istio (R13, R92).
    #[must_use]
    pub fn bound(gateway: u32, address: Option<u32>, reason: &str) -> Self {
        Self::new(Choice::Waypoints(vec![Target { gateway, address, weight: 100 }]), Some(reason))
    }

    /// The same, and the rest of 100 percent goes to the first waypoint (R64). `percent`: at most 100. `gateway` and
    /// `address` as in [`Decision::bound`]. Without effect on a decision that is not bound.
    #[must_use]
    pub fn with_second(mut self, gateway: u32, address: Option<u32>, percent: u32) -> Self {
        if let Choice::Waypoints(targets) = &mut self.choice {
            targets.iter_mut().for_each(|first| first.weight = 100_u32.saturating_sub(percent));
            targets.push(Target { gateway, address, weight: percent });
        }
        self
    }

    /// The same; `reason`: why there is no second waypoint, where one was asked for (R65).
    #[must_use]
    pub fn with_second_reason(self, reason: &str) -> Self {
        Self { second_reason: Some(reason.to_owned()), ..self }
    }

    /// The same, but while no waypoint can be reached, connections go past it.
    #[must_use]
    pub fn with_bypass(self) -> Self {
        Self { on_unreachable: OnUnreachable::Bypass, ..self }
    }

    /// The same, and gateways go through the waypoint as well (R70).
    #[must_use]
    pub fn with_ingress(self, ingress: bool) -> Self {
        Self { ingress, ..self }
    }

    /// The same for an instance of a waypoint, which takes its destinations this way (R45).
    #[must_use]
    pub fn with_tunnel(self, tunnel: Option<Tunnel>) -> Self {
        Self { tunnel, ..self }
    }
}

impl Description {
    /// A plugin that reads nothing yet and gets the Gateways its references name (none yet).
    #[must_use]
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            reads: Vec::new(),
            fields: Fields::empty(),
            references: Vec::new(),
            reach: Reach::Referenced,
        }
    }

    /// Also reads these keys there.
    #[must_use]
    pub fn reading(mut self, at: Source, keys: &[&str]) -> Self {
        self.reads.extend(keys.iter().map(|key| Read { at, key: (*key).to_owned() }));
        self
    }
}

impl Failure {
    /// A failure of the whole batch.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { subject: None, text: text.into() }
    }

    /// A failure at one row.
    #[must_use]
    pub fn at(subject: u32, text: impl Into<String>) -> Self {
        Self { subject: Some(subject), text: text.into() }
    }
}
