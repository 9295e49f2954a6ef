//! The namespaces of a simulated cluster, each with settings of its own, so that
//! every rule of a namespace is met.

use z4_core::command::{NamespacePatch, SetNamespace};
use z4_core::state::RateLimit;
use z4_core::{Command, Namespace};

use crate::clients::Op;
use crate::world::World;

/// Plain: what is created is delivered.
pub(crate) const ALPHA: usize = 0;
/// Few attempts, few dead letters kept, request ids remembered for a short time.
pub(crate) const BETA: usize = 1;
/// Limits on leases and on their rate; paused now and then.
pub(crate) const GAMMA: usize = 2;
/// Deleted now and then, with all that is in it.
pub(crate) const DELTA: usize = 3;

/// Their names; one begins like another.
pub(crate) const SPACES: [&str; 4] = ["a", "a.b", "gamma", "delta"];
/// How long requests are remembered in [`BETA`], in milliseconds.
pub(crate) const BETA_DEDUPE_MS: u64 = 60_000;
/// How long they are remembered anywhere in a run whose clocks jump by an hour,
/// in milliseconds: no try of a request is so far from another.
const HOURS_DEDUPE_MS: u64 = 3 * 3_600_000;
/// Most live leases in [`GAMMA`].
pub(crate) const GAMMA_LEASED_MAX: u64 = 6;

/// The namespaces.
///
/// # Errors
/// When a name is not one.
pub(crate) fn names() -> Result<Vec<Namespace>, String> {
    let names: Result<Vec<_>, _> = SPACES.iter().map(|n| Namespace::new(n)).collect();
    names.map_err(|e| e.to_string())
}

impl World {
    /// The settings of a namespace; `last` those for the time after the faults,
    /// when everything must end soon.
    pub(crate) fn settings_of(&self, space: usize, last: bool) -> Op {
        let mut patch = NamespacePatch {
            backoff_min_ms: Some(100),
            backoff_max_ms: Some(3_000),
            paused: last.then_some(false),
            ..NamespacePatch::default()
        };
        match space {
            BETA => {
                patch.max_attempts = Some(3);
                patch.dead_keep_count = Some(15);
                patch.dedupe_ms = Some(BETA_DEDUPE_MS);
            }
            GAMMA => {
                patch.leased_max = Some(if last { 0 } else { GAMMA_LEASED_MAX });
                // 20 a second, in a period of its own.
                patch.rate = Some(RateLimit {
                    count: if last { 0 } else { 140 },
                    period_ms: 7_000,
                });
                patch.rate_burst = Some(4);
            }
            _ => {}
        }
        if self.options.hours {
            patch.dedupe_ms = Some(HOURS_DEDUPE_MS);
        }
        Op::Settings(Command::SetNamespace(SetNamespace {
            namespace: self.namespaces[space].clone(),
            patch,
        }))
    }
}
