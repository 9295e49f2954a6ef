//! How long a task waits after a failure.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::state::NamespaceConfig;
use crate::task::TaskId;

/// The wait after the `failures`-th failure of a task, in milliseconds: the
/// namespace's least wait, doubled with each failure, up to its longest. A
/// quarter of it is jitter, so that what failed together does not come back
/// together; it comes from the task's id and the count, so that all replicas
/// agree. The result is never outside the two limits.
pub(super) fn backoff_ms(config: &NamespaceConfig, id: TaskId, failures: u32) -> u64 {
    let (min_ms, max_ms) = (config.backoff_min_ms, config.backoff_max_ms);
    let doublings = failures.saturating_sub(1);
    let doubled = u128::from(min_ms) << doublings.min(63);
    let base_ms = u64::try_from(doubled).unwrap_or(u64::MAX).min(max_ms);
    let spread_ms = base_ms / 4;
    let hash = xxh3_64_with_seed(id.as_bytes(), u64::from(failures));
    // The high half of the product is even over 0 to spread_ms.
    let product = u128::from(hash) * (u128::from(spread_ms) + 1);
    let jitter_ms = (product >> 64) as u64;
    if base_ms + spread_ms <= max_ms {
        base_ms + jitter_ms
    } else {
        (base_ms - jitter_ms).max(min_ms.min(max_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(min_ms: u64, max_ms: u64) -> NamespaceConfig {
        NamespaceConfig {
            backoff_min_ms: min_ms,
            backoff_max_ms: max_ms,
            ..NamespaceConfig::default()
        }
    }

    #[test]
    fn it_doubles_between_its_limits() {
        let config = config(1_000, 60_000);
        for n in 0..100 {
            let id = TaskId::new(n, n, 0);
            for failures in [1, 2, 3, 4, 5, 6, 7, 8, 63, 64, 65, u32::MAX] {
                let wait_ms = backoff_ms(&config, id, failures);
                let base_ms = 1_000 * 2u64.pow(failures.min(7) - 1).min(60);
                assert!((1_000..=60_000).contains(&wait_ms), "{wait_ms}");
                assert!(wait_ms.abs_diff(base_ms) <= base_ms / 4, "{wait_ms}");
            }
        }
    }

    #[test]
    fn tasks_that_failed_together_come_apart_again() {
        let config = config(1_000, 60_000);
        for failures in [1, 3, 20] {
            let waits = (0..1_000).map(|n| backoff_ms(&config, TaskId::new(7, 7, n), failures));
            let waits: std::collections::BTreeSet<_> = waits.collect();
            assert!(waits.len() > 150, "{} waits", waits.len());
        }
    }

    #[test]
    fn no_wait_and_one_wait_are_what_they_say() {
        let id = TaskId::new(1, 2, 3);
        for failures in [1, 2, 50] {
            assert_eq!(backoff_ms(&config(0, 0), id, failures), 0);
            assert_eq!(backoff_ms(&config(0, 500), id, failures), 0);
            assert_eq!(backoff_ms(&config(500, 500), id, failures), 500);
        }
    }
}
