//! Failures of runs, and what their words say.

/// Letters by which failures are told apart.
const KIND_LETTERS: usize = 20;

/// Tells whether two failures are of one kind: they begin alike, once times, numbers
/// and ids are left out.
#[must_use]
pub fn is_alike(one: &str, other: &str) -> bool {
    kind(one) == kind(other)
}

/// The simulated time of a failure in milliseconds; `None` where the run ended by
/// a panic, which does not tell it.
#[must_use]
pub fn at_ms(failure: &str) -> Option<u64> {
    let (digits, _) = failure.strip_prefix("at ")?.split_once(" ms: ")?;
    digits.parse().ok()
}

/// The beginning of a failure, without the words that have a digit: an id has one.
fn kind(failure: &str) -> String {
    let text = match at_ms(failure) {
        Some(_) => failure.split_once("ms: ").map_or(failure, |(_, rest)| rest),
        None => failure,
    };
    let words = text.split_whitespace();
    let words: Vec<_> = words
        .filter(|word| !word.contains(|c: char| c.is_ascii_digit()))
        .collect();
    words.join(" ").chars().take(KIND_LETTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_one_kind_differ_in_time_and_ids_alone() {
        let one = "at 7100 ms: promise 1: task 05TQ3R8ZXGJ0 was acknowledged and is gone";
        let other = "at 93 ms: promise 1: task 05TQ9B1CFKQ7 was acknowledged and is gone";
        assert!(is_alike(one, other));
        let third = "at 93 ms: promise 1: request r12 made two tasks";
        assert!(!is_alike(one, third));
        // A panic that happens to say the same is another failure.
        let panic = one.replace("at 7100 ms: ", "panic: ");
        assert!(!is_alike(one, &panic));
    }

    #[test]
    fn the_time_of_a_failure_is_read() {
        assert_eq!(at_ms("at 7100 ms: liveness: no peer leads"), Some(7_100));
        assert_eq!(at_ms("panic: at 7 ms: no"), None);
        assert_eq!(at_ms("two runs of this seed differ"), None);
    }
}
