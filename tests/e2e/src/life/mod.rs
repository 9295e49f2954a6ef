//! The whole life of many tasks under faults: producers create, consumers of all
//! kinds take leases and end them in all ways, leaders are killed; then everything
//! that anybody was told is laid beside what became of the tasks, by
//! [`z4_check::told`].
//!
//! | file | what |
//! |---|---|
//! | `conversation` | one `Consume` stream |
//! | `work` | clients of all kinds, good and bad |
//! | `record` | what they were told |
//! | `end` | every task ends, and all members hold one state |

pub mod conversation;
pub mod end;
pub mod record;
pub mod work;

use std::thread;
use std::time::{Duration, Instant};

use z4_check::told::{judge, Verdict};
use z4_core::state::NamespaceCounts;

use crate::client::Client;
use crate::cluster::Cluster;
pub use end::stats;
use record::Record;
use work::{Crew, Ways, Work};

/// What to do.
pub struct Plan {
    /// For how long creates are made and things break.
    pub length: Duration,
    /// How often the leader is killed.
    pub kill_every: Duration,
    /// Who is at work.
    pub crew: Crew,
    /// The whims of them all follow from it.
    pub seed: u64,
}

/// What was seen.
#[derive(Debug)]
pub struct Outcome {
    /// Times that the leader was killed.
    pub kills: usize,
    /// What the rules say of it.
    pub verdict: Verdict,
    /// Ends of leases that were refused: others had the tasks, or were done.
    pub refused: usize,
    /// The namespace at the end.
    pub counts: NamespaceCounts,
    /// From the end of the faults until no task was waiting or leased.
    pub settled_after: Duration,
    /// The state hash that all members agree on.
    pub state_hash: String,
}

/// Runs a plan on a cluster of three; everything is checked, and what is broken
/// is in the verdict.
///
/// # Errors
/// When tasks do not end within a minute after the faults, or when the members'
/// states differ.
///
/// # Panics
/// When the cluster does not come back from a fault.
pub fn run(cluster: &mut Cluster, namespace: &str, plan: &Plan) -> Result<Outcome, String> {
    let clients = cluster.clients();
    end::furnish(&clients, namespace)?;
    let record = Record::new(Instant::now());
    let mut work = Work::start(&ways(&clients), namespace, &record, &plan.crew, plan.seed);
    let kills = kill_leaders(cluster, plan);
    work.calm();
    let (settled_after, counts) = end::drain(&clients, namespace)?;
    work.finish();
    let state_hash = end::verify(&clients)?;
    let dead = end::dead(&clients, namespace, &record)?;
    let told = record.told();
    let refused = told.ops.iter().filter(|op| op.is_refused_end()).count();
    Ok(Outcome {
        kills,
        verdict: judge(namespace, &told, &dead, &counts),
        refused,
        counts,
        settled_after,
        state_hash,
    })
}

/// The ways to peers that nothing stands before.
fn ways(clients: &[Client]) -> Ways {
    Ways {
        clients: clients.to_vec(),
        risky: clients.to_vec(),
        members: work::Places::default(),
    }
}

fn kill_leaders(cluster: &mut Cluster, plan: &Plan) -> usize {
    let (start, mut kills) = (Instant::now(), 0);
    while start.elapsed() < plan.length {
        let next = plan.kill_every * (kills as u32 + 1);
        if next >= plan.length {
            thread::sleep(plan.length.saturating_sub(start.elapsed()));
            break;
        }
        thread::sleep(next.saturating_sub(start.elapsed()));
        let leader = cluster.wait_leader();
        cluster.peers[leader].kill();
        kills += 1;
        // Long enough that another leads before it is back.
        thread::sleep(Duration::from_millis(1_000));
        cluster.start_missing();
    }
    kills
}
