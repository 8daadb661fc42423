//! What readers see of leading and writing back.

use std::sync::Arc;
use std::time::Duration;

use model::ObjectKey;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::boot::BootTime;
use crate::conditions::Differs;
use crate::leader::Standing;

/// After this long without any progress, with something to do, a leader is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// A condition of an object of which somebody else says something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// The object.
    pub object: ObjectKey,
    pub(crate) differs: Arc<[Differs]>,
}

impl Disagreement {
    /// One line for each condition.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.differs.iter().map(|it| {
            let said = |text: &Option<String>| text.clone().unwrap_or_else(|| "not there".to_owned());
            format!("{} {}: {}, decided here: {}", self.object, it.kind.as_str(), said(&it.theirs), said(&it.ours))
        })
    }
}

/// See the module. Counters are those of this process.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Something is to be written or compared, if this agent leads.
    pub is_on: bool,
    /// How it stands with leading.
    pub standing: Standing,
    /// When a write was taken last.
    pub last_write: Option<BootTime>,
    /// When there was nothing left to write or look at last.
    pub last_round: Option<BootTime>,
    /// When anything got on last: an answer, or nothing left to do.
    pub progress: Option<BootTime>,
    /// Writes that were taken.
    pub writes: u64,
    /// Writes that were not: the object had changed, or a field is somebody else's.
    pub refused: u64,
    /// Writes that were not sent because the lease had run out.
    pub late: u64,
    /// Writes that failed for another reason.
    pub failed: u64,
    /// Objects that are to be looked at, and writes under way.
    pub pending: usize,
    /// Objects whose conditions somebody else sees differently.
    pub disagreeing: usize,
    /// Objects whose label is somebody else's and says something else.
    pub labels_in_the_way: usize,
    /// The first of the disagreements.
    pub disagreements: Arc<[Disagreement]>,
    /// What is wrong now, a line each.
    pub problems: Vec<String>,
}

impl Seen {
    /// Whether this agent leads at this moment.
    pub fn is_leader(&self) -> bool {
        self.standing.until.is_some_and(|until| BootTime::now() < until)
    }

    /// Since how long a leader with something to do got nowhere; none where all is well.
    pub fn stuck(&self) -> Option<Duration> {
        let idle = BootTime::now().since(self.progress.or(self.standing.since)?);
        (self.is_leader() && self.pending > 0 && idle >= STUCK_AFTER).then_some(idle)
    }

    /// For `/conditions`.
    pub fn to_json(&self) -> Value {
        let now = BootTime::now();
        let ago = |at: Option<BootTime>| at.map(|at| now.since(at).as_secs());
        let lines: Vec<String> = self.disagreements.iter().flat_map(Disagreement::lines).collect();
        let standing = if self.is_leader() { self.standing.clone() } else { Standing::default() };
        json!({ "leader": self.is_leader(), "holder": self.standing.holder,
            "leadingSeconds": ago(standing.since), "renewedSecondsAgo": ago(standing.renewed),
            "lastWriteSecondsAgo": ago(self.last_write), "lastRoundSecondsAgo": ago(self.last_round),
            "stuckSeconds": self.stuck().map(|it| it.as_secs()),
            "writes": self.writes, "refused": self.refused, "late": self.late, "failed": self.failed,
            "pending": self.pending, "disagreeing": self.disagreeing, "labelsInTheWay": self.labels_in_the_way,
            "disagreements": lines, "problems": self.problems })
    }

    pub(super) fn stand(&mut self, standing: &Standing) {
        self.standing = standing.clone();
        if standing.until.is_none() {
            // What the next leader does is seen there.
            (self.pending, self.disagreeing, self.labels_in_the_way) = (0, 0, 0);
            (self.disagreements, self.problems, self.progress) = (Arc::default(), Vec::new(), None);
        }
    }

    pub(super) fn publish(seen: &watch::Sender<Arc<Self>>, change: impl FnOnce(&mut Self)) {
        seen.send_modify(|it| change(Arc::make_mut(it)));
    }
}
