//! What a checker says when a promise is broken.

use std::fmt;

/// Which rule was broken. The names are stable: tests and reports go by them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rule {
    /// No order of the operations explains the answers.
    NotLinearizable,
    /// An operation that began after another had returned has a lower index.
    IndexFell,
    /// An acknowledged task was never delivered.
    NeverDelivered,
    /// An acknowledged task is gone, and nobody ended it.
    Lost,
    /// A task was delivered that nobody can have created.
    NeverCreated,
    /// A task was delivered before its time.
    Early,
    /// A task was delivered after it was acknowledged, cancelled or purged.
    AfterEnd,
    /// One lease was handed out twice, and the second was not said to be a
    /// resumption.
    SameLeaseTwice,
    /// One lease was handed to two consumers.
    TwoHolders,
    /// A task was leased again, and nothing had ended the lease before.
    LeaseOverlap,
    /// The count of deliveries or attempts of a task did not rise.
    AttemptsFell,
    /// A later lease of a task has no greater token.
    TokenFell,
    /// A lease was ended or extended by a token that was not the live one.
    OldTokenTaken,
    /// A lease that lived was refused to its holder.
    LiveLeaseRefused,
    /// A task ended twice.
    EndedTwice,
    /// A task is a dead letter, and nothing that may kill it had happened.
    DiedWithoutCause,
    /// A task was tried again after its last attempt had failed.
    DiedTooLate,
    /// One request id was answered with two sets of tasks.
    RequestSplit,
    /// One create made two tasks, or two creates share one.
    MadeTwice,
    /// A create that was surely refused made a task.
    MadeThoughRefused,
    /// The counts of a namespace do not add up.
    CountsDiffer,
    /// The counts of a namespace are not what its clients know.
    CountsUnknown,
    /// Two peers differ at one index.
    HashDiffers,
}

/// A broken promise: the rule, and a text for a person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// What was seen, with ids and times.
    pub text: String,
}

impl Violation {
    pub(crate) fn new(rule: Rule, text: impl Into<String>) -> Self {
        Self {
            rule,
            text: text.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.text)
    }
}

impl std::error::Error for Violation {}
