//! The levels that this release knows, and what each of them brought.
//!
//! A level names what may stand in the log, in rows, in snapshots and in messages between
//! peers. Whoever adds to one of these adds it to the newest level, if no release knows that
//! level yet, or to a new one (`RELEASES` at the root of the repository names them all), and
//! sees to it that nothing of it is written or sent in a cluster of a lesser level.

/// Each level and what it brought.
pub const TABLE: [(u32, &str); 2] = [
    (1, "all that releases know that do not speak of levels"),
    (
        2,
        "the members have a level, which SetLevel raises; AddLearner says which levels a \
         newcomer knows",
    ),
];

/// The least level that this release can serve.
pub const LEVEL_MIN: u32 = 1;
/// The greatest level that this release can serve. A new cluster has it.
pub const LEVEL_MAX: u32 = 2;

const _: () = assert!(LEVEL_MIN <= LEVEL_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_up_to_the_greatest_is_told_of() {
        let told: Vec<u32> = TABLE.iter().map(|(level, _)| *level).collect();
        let known: Vec<u32> = (1..=LEVEL_MAX).collect();
        assert_eq!(told, known);
    }
}
