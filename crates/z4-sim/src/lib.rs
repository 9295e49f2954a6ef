//! Deterministic simulator of a z4 cluster.
//!
//! A whole cluster in one thread, on virtual time: the replica of
//! `z4-consensus`, the task machine of `z4-storage` over memory, the dispatcher
//! of `z4-core`, a disk that knows what is synced, a network that loses, doubles,
//! delays and splits, clients, consumers and an administrator. One seed draws
//! everything, so a failure is seen again by its seed. The models are
//! FoundationDB's simulation and TigerBeetle's VOPR.
//!
//! `make sim` runs many seeds, `make mutants` shows that it finds mutants: mistakes which
//! are put in on purpose. The promises are those of README, "What z4 promises".
//!
//! | module | what lives there |
//! |---|---|
//! | [`options`] | what is simulated |
//! | [`faults`] | what goes wrong, one kind a file; each can be switched off |
//! | [`disk`] | the raft log on a simulated disk |
//! | `world` | peers, virtual time, the queue of events |
//! | `event` | what can happen, and who is told when it does |
//! | `round`, `install`, `apply` | the work of a peer's threads |
//! | `clients`, `sessions`, `admin`, `spaces` | who uses the cluster, and what for |
//! | `assembly` | empty peers that become a cluster, before all else |
//! | `core_phase` | a minority stays away, the rest must serve |
//! | `settle` | what must be right after the faults |
//! | `backups` | peers are backed up, and clusters begin with the files |
//! | `lost`, `founder` | the quorum is lost for good, and a cluster is made of what is left |
//! | `check` | what must be right at every moment, one property a file |
//! | [`sometimes`] | rare events that must be reached |
//! | [`mutants`] | mutants: mistakes put in on purpose |
//! | [`mod@shrink`], [`failure`] | a run that fails is made smaller |

pub mod disk;
pub mod failure;
pub mod faults;
pub mod mutants;
pub mod options;
pub mod report;
pub mod shrink;
pub mod sometimes;

mod addresses;
mod admin;
mod apply;
mod assembly;
mod backups;
mod check;
mod clients;
mod core_phase;
mod event;
mod founder;
mod install;
mod lost;
mod net;
mod peer;
mod round;
mod sessions;
mod settle;
mod spaces;
mod trace;
mod upgrades;
mod world;

pub use options::Options;
pub use report::Report;
pub use world::run;
