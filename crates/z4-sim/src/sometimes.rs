//! What must happen now and then.
//!
//! A simulator that never reaches a rare state proves nothing about it, and
//! nobody would notice when a change of the generator made it blind ("sometimes
//! assertions": Antithesis, FoundationDB's `buggify` coverage, TigerBeetle's
//! marks). Each event of this list is counted; a batch of
//! [`BATCH_MIN`] seeds or more that never reached one of them has failed.

use std::collections::BTreeMap;

use crate::world::World;

/// Seeds from which on every event must have been reached.
pub const BATCH_MIN: u64 = 100;

/// All events.
pub const SOMETIMES: &[&str] = &[
    "a backup with leases in it was restored",
    "a call asked for what its consumer holds",
    "a change of a principal was refused",
    "a change of members was lost with its leader",
    "a clock jumped by up to an hour",
    "a command was refused for the level of the cluster",
    "a connection broke in the middle of a proposal",
    "a consumer came back at another peer",
    "a consumer came back at the same peer",
    "a consumer closed its session",
    "a consumer was at two peers at once",
    "a create was answered from a remembered request",
    "a create was repeated across two leaders",
    "a dead letter by age",
    "a dead letter by attempts",
    "a dead letter was tried again",
    "a disk was full while entries were applied",
    "a dispatcher's proposal found the queue full",
    "a founder lost its volume before anybody had joined",
    "a grant came for a session that was gone",
    "a held task waited for the clock of the leader",
    "a late ack found another's lease",
    "a leader crashed with a change of members on its way",
    "a leader did not stamp for its clock",
    "a leader handed over for its clock",
    "a leader lost a tail that was not synced",
    "a leader said that a task is due elsewhere",
    "a leader was cut off when it raised the level",
    "a leader stood still beyond an election",
    "a lease that rode was not applied",
    "a lease was given back ahead of its time",
    "a lease was resumed before it could be given back",
    "a lease was resumed by another session meanwhile",
    "a lease went into the log behind a new task",
    "a lease ended before it could be resumed",
    "a learner was promoted while the network was split",
    "a lease had run out when a backup was made",
    "a lease ran out in the tick of an ack",
    "a member lost its disk and was replaced",
    "a member lost its volume for good",
    "a member was started with a binary that is too old",
    "a member was taken back to an older binary",
    "a minority stayed away and the rest went on",
    "a namespace was deleted with tasks in it",
    "a newcomer joined where the leader had moved",
    "a newcomer was refused for its levels",
    "a peer came back at another address",
    "a peer crashed between a snapshot and the reset of its log",
    "a peer died between the decision to found a cluster and its sync",
    "a peer noticed late that a consumer had left",
    "a peer stood still while its consumer was elsewhere",
    "a peer that is too old for its cluster ended",
    "a peer was low on disk space",
    "a peer was started with an address that is not its own",
    "a principal was deleted",
    "a principal was put",
    "a proposal came after the term that it was made for",
    "a proposal found the queue full",
    "a proposal lost its place to another leader",
    "a read outlived the leader it was asked of",
    "a read was confirmed by a follower",
    "a removed member asked for votes",
    "a session ended in good order",
    "a session's proposal was repeated in doubt",
    "a snapshot jumped over callers",
    "a snapshot jumped over the events of sessions",
    "a snapshot was installed under load",
    "a task was cancelled",
    "a task was leased ahead of its time",
    "a task was leased twice in a row",
    "a token was added",
    "a token was revoked",
    "a torn write at the end of a log was dropped",
    "a volume that was not mounted is there again",
    "addresses were set by hand",
    "all peers came back at other addresses",
    "all peers lost power at once",
    "all peers were restarted in turn",
    "an address changed while members were changing",
    "an empty peer took the place of the member that it was",
    "entries that were not committed were replaced",
    "entries were applied between the cut of a flush and its write",
    "leadership was transferred",
    "leases were taken by a call",
    "machine time stood while a leader's clock was behind",
    "new tasks woke nobody",
    "the clock of a leader stepped back",
    "the clock of a voter was an hour ahead and the rest went on",
    "the leader was removed",
    "the level was held",
    "the level was raised",
    "the sender of a snapshot crashed",
    "three empty peers became a cluster",
    "two peers swapped their addresses",
    "two snapshots in a row at one peer",
];

/// How often each event was reached.
pub type Seen = BTreeMap<&'static str, u64>;

impl World {
    /// An event of the list was reached.
    pub(crate) fn saw(&mut self, what: &'static str) {
        debug_assert!(SOMETIMES.contains(&what), "{what} is not in the list");
        *self.report.seen.entry(what).or_default() += 1;
    }
}
