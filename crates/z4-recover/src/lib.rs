//! What is left of a cluster that has lost its quorum for good.
//!
//! Each surviving disk gives one [`Evidence`]: how far its log and its state had come. A
//! [`Plan`] names the best survivor and says which acknowledged changes are kept for certain,
//! and which may be lost. The crate is pure: `z4-server recover` reads disks and writes
//! evidence, `z4t recover plan` reads evidence, and the simulator checks that a plan never
//! claims more than what is kept.
//!
//! ```
//! use z4_recover::{Evidence, Plan};
//!
//! # fn survivor(peer_id: &str, raft_id: u64, last: (u64, u64), commit_index: u64) -> Evidence {
//! #     let member = |(raft_id, peer_id): (u64, &str)| z4_recover::Member {
//! #         raft_id,
//! #         peer_id: peer_id.into(),
//! #         is_voter: true,
//! #     };
//! #     Evidence {
//! #         cluster_id: [7; 16],
//! #         peer_id: peer_id.into(),
//! #         raft_id,
//! #         term: last.1,
//! #         commit_index,
//! #         applied_index: commit_index,
//! #         last_index: last.0,
//! #         last_term: last.1,
//! #         machine_ns: 0,
//! #         level: 2,
//! #         members: [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")].map(member).into(),
//! #     }
//! # }
//! // Two of five peers are left. The log of the first is longer, and of an earlier term.
//! let survivors = [survivor("a", 1, (900, 3), 800), survivor("b", 2, (850, 4), 840)];
//! let plan = Plan::of(&survivors)?;
//! assert_eq!(plan.best.peer_id, "b");
//! assert_eq!((plan.known_index, plan.kept_index), (840, 850));
//! # Ok::<(), z4_recover::PlanError>(())
//! ```

mod evidence;
mod plan;

pub use evidence::{Evidence, Member, Unread};
pub use plan::{Plan, PlanError};
