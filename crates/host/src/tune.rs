//! Changing the kernel's settings of network memory, so that it can be understood and undone.
//!
//! ```text
//!   two samples + goal --rules--> Plan --apply--> journal entry, write, read back --> ... --> done
//!        (evidence)                |                  |  first failure: undone in reverse
//!                                  '- lint: what a script's own writes would do        rollback: from the journal
//! ```
//! A [`Plan`] is data: what was found, and which settings are proposed to become what, for which reason. It
//! is made in one place, read by a person, kept in a file, and carried out only on the machine, in the
//! namespace and from the values that it was made for ([`Basis`]). No evidence, and no path that somebody
//! names: no change.
//!
//! Settings are text here as they stand in their files, without the newline: what is undone must be
//! restored byte by byte, and not as parsed numbers print.
//!
//! Kernel: any; what each setting needs is in [`crate::sysctl::KEYS`].

mod apply;
pub mod evidence;
pub mod facts;
mod journal;
pub mod lint;
mod lock;
mod persist;
mod place;
mod plan;
mod refusal;
mod rollback;
mod rules;
mod set_by;

use serde::{Deserialize, Serialize};

use crate::proc::Scope;
use crate::source::Root;
use crate::sysctl::{self, Key};

pub use self::apply::{Applying, Caution, NotApplied, Rehearsal, Terms, check, rehearse};
pub use self::journal::{
    Application, Begin, Entry, History, JOURNAL_SCHEMA, PersistEntry, Record, State, Store,
};
pub use self::lock::Lock;
pub use self::persist::{Persisted, persist};
pub use self::place::{Identity, Place};
pub use self::plan::plan;
pub use self::refusal::{Refusal, refusal};
pub use self::rollback::{
    Drift, End, NotRolledBack, Report, confirm, rollback, rollback_unconfirmed,
};
pub use self::rules::{Ask, Goal};
pub use self::set_by::SetBy;

/// What a plan is called in JSON.
pub const PLAN_SCHEMA: &str = "netmem.tune.plan/1";

/// Whom a change concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::exhaustive_enums, reason = "a setting rules one or the other")]
pub enum Reach {
    /// The whole machine.
    Global,
    /// The network namespace of [`Basis::netns_inode`].
    Namespace,
}

impl Reach {
    /// Whom a setting concerns: the running kernel is asked where `root` is its.
    fn of(root: &Root, key: &Key) -> Self {
        let seen = if root.is_live() { sysctl::scopes().as_ref().ok() } else { None };
        let asked = seen.and_then(|seen| seen.get(key.name)?.scope());
        asked.unwrap_or(key.scope).into()
    }
}

impl From<Scope> for Reach {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Global => Self::Global,
            Scope::Namespace => Self::Namespace,
        }
    }
}

/// How sure a rule is that its proposal helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::exhaustive_enums, reason = "three are enough")]
pub enum Confidence {
    /// It may help; to be tried.
    Low,
    /// The evidence has this cause most of the time.
    Medium,
    /// The counters name this limit.
    High,
}

/// Where, and on what, a plan was made: it holds nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs, reason = "a file's content")]
pub struct Basis {
    /// `/proc/sys/kernel/osrelease`.
    pub kernel_release: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The network namespace's number, as in `net:[4026531840]`.
    pub netns_inode: u64,
    /// Seconds since 1970 when it was made.
    pub made_at_s: u64,
}

/// Something that was seen, whether or not a setting can help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs, reason = "a file's content")]
pub struct Finding {
    /// The rule that looked: `R-SOCK-MAX`.
    pub rule: String,
    /// What is wrong, in a sentence.
    pub what: String,
    /// The figures, each with its source: `UdpRcvbufErrors +4312 in 10 s (/proc/net/snmp)`.
    pub evidence: Vec<String>,
    /// What is not to be changed here by a write: an exact command, or what a program has to do.
    pub advice: Vec<String>,
}

/// A setting that is proposed to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs, reason = "a file's content")]
pub struct Change {
    /// Its name with dots: `net.core.rmem_max`.
    pub key: String,
    /// Whom it concerns, on this kernel.
    pub reach: Reach,
    /// The file's content now, without the newline.
    pub current: String,
    /// What this kernel boots with on this machine; null where that cannot be computed.
    pub default: Option<String>,
    /// What is proposed.
    pub proposed: String,
    /// Who else sets it: `/etc/sysctl.d/99-net.conf:3 = 8388608`.
    pub set_by: Vec<String>,
    /// The rule.
    pub rule: String,
    /// The figures, each with its source.
    pub evidence: Vec<String>,
    /// How the proposal was computed, with its numbers: `2 x 10 Gbit/s x 80 ms / 8 = 200000000`.
    pub formula: String,
    /// What it was limited by: `tcp_mem[1] / 16 = 117964800 bytes`; empty if by nothing.
    pub bound: String,
    /// Where the kernel documents the setting.
    pub citation: String,
    /// How sure the rule is.
    pub confidence: Confidence,
}

#[cfg(test)]
impl Change {
    /// A change of a setting from one value to another, for tests.
    fn of(key: &str, current: &str, proposed: &str) -> Self {
        Self {
            key: key.to_owned(),
            reach: Reach::Global,
            current: current.to_owned(),
            default: None,
            proposed: proposed.to_owned(),
            set_by: Vec::new(),
            rule: "R-TEST".to_owned(),
            evidence: Vec::new(),
            formula: String::new(),
            bound: String::new(),
            citation: String::new(),
            confidence: Confidence::High,
        }
    }
}

/// What is proposed, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs, reason = "a file's content")]
pub struct Plan {
    /// [`PLAN_SCHEMA`].
    pub schema: String,
    /// Where it holds.
    pub basis: Basis,
    /// What it was made for: `throughput`, ...; null if nobody said.
    pub goal: Option<String>,
    /// What was seen.
    pub findings: Vec<Finding>,
    /// What is proposed, in the order in which it is to be written.
    pub changes: Vec<Change>,
    /// What could not be looked at, and why.
    pub not_known: Vec<String>,
}
