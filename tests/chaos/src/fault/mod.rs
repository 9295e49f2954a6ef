//! The faults, one a file. Each acts, lasts, and ends, and says whether it was
//! seen to act: one that was not proves nothing.

pub mod clock;
mod corrupt;
mod cut;
mod delay;
mod descriptors;
mod disk;
pub mod disk_full;
pub mod fail_point;
mod garbage;
mod idle;
mod kill;
mod lane;
mod loss;
mod member;
mod mixed;
mod partition;
mod pause;
mod power;
mod restart;
mod slow;
mod stall;
mod transfer;

use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::Rng;

use crate::cluster::Cluster;
use crate::report::seconds;
use z4_e2e::life::record::Record;

/// How long writes may stay away where a quorum was left alone. An election takes
/// 0.5 to 1 s and may fail once or twice, a call to a peer that does not answer
/// 2 s, and the machine has other work to do.
const QUORUM_LIMIT: Duration = Duration::from_secs(10);
/// How long they may stay away after the end of any other fault: peers start, and
/// catch up.
pub const RECOVERY_LIMIT: Duration = Duration::from_secs(60);

/// What a fault works on.
pub struct Stage<'a> {
    /// The peers.
    pub cluster: &'a mut Cluster,
    /// Where the tasks of the round are.
    pub namespace: &'a str,
    /// The clock, and what clients were told.
    pub record: &'a Record,
    /// Chance, of this fault alone.
    pub rng: StdRng,
}

/// What a fault did.
#[derive(Debug)]
pub struct Done {
    /// When it had begun.
    pub from_ns: u64,
    /// From when on writes are to be acknowledged: where a quorum was left
    /// alone that is the beginning, else the end.
    pub mark_ns: u64,
    /// How soon.
    pub limit: Duration,
    /// What shows that it acted; `None` when nothing does.
    pub seen: Option<String>,
}

/// A kind of fault.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// How often it is drawn, against the others.
    pub weight: u32,
    /// Does it, from the first to the last. What fails is a breach: of a
    /// promise that the cluster goes on by itself, mostly.
    pub run: fn(&mut Stage<'_>) -> Result<Done, String>,
}

/// All kinds.
pub const KINDS: &[&[Kind]] = &[
    kill::KINDS,
    power::KINDS,
    pause::KINDS,
    partition::KINDS,
    loss::KINDS,
    delay::KINDS,
    stall::KINDS,
    lane::KINDS,
    cut::KINDS,
    transfer::KINDS,
    restart::KINDS,
    member::KINDS,
    mixed::KINDS,
    corrupt::KINDS,
    disk_full::KINDS,
    disk::KINDS,
    idle::KINDS,
    descriptors::KINDS,
    garbage::KINDS,
    slow::KINDS,
    clock::KINDS,
    fail_point::KINDS,
];

impl Stage<'_> {
    /// Now, on the clock of the record.
    pub fn now_ns(&self) -> u64 {
        self.record.now_ns()
    }

    /// Lets so many milliseconds pass.
    pub fn hold(&mut self, ms: std::ops::Range<u64>) {
        let ms = self.rng.gen_range(ms);
        thread::sleep(Duration::from_millis(ms));
    }

    /// A member that does not lead, by chance.
    ///
    /// # Errors
    /// When none leads.
    pub fn follower(&mut self) -> Result<usize, String> {
        let followers = self.cluster.followers()?;
        let one = followers.choose(&mut self.rng);
        one.copied().ok_or_else(|| "no follower".to_owned())
    }

    /// A member by chance.
    pub fn member(&mut self) -> usize {
        let members = self.cluster.members();
        members.choose(&mut self.rng).copied().unwrap_or(0)
    }

    /// Two members by chance that have something to say to each other: one leads,
    /// mostly.
    ///
    /// # Errors
    /// When none leads.
    pub fn pair(&mut self) -> Result<(usize, usize), String> {
        let members = self.cluster.members();
        let one = if self.rng.gen_bool(0.8) {
            self.cluster.leader()?
        } else {
            self.member()
        };
        let others: Vec<usize> = members.into_iter().filter(|n| *n != one).collect();
        let Some(other) = others.choose(&mut self.rng).copied() else {
            return Err("one member only".into());
        };
        let turned = self.rng.gen_bool(0.5);
        Ok(if turned { (other, one) } else { (one, other) })
    }

    /// The members but one.
    pub fn others(&self, n: usize) -> Vec<usize> {
        let members = self.cluster.members().into_iter();
        members.filter(|other| *other != n).collect()
    }
}

impl Done {
    /// A fault that left a quorum alone: writes are to go on from its beginning.
    pub fn from_start(from_ns: u64, seen: Option<String>) -> Self {
        Self {
            from_ns,
            mark_ns: from_ns,
            limit: QUORUM_LIMIT,
            seen,
        }
    }

    /// A fault whose end writes are counted from.
    pub fn from_end(from_ns: u64, end_ns: u64, seen: Option<String>) -> Self {
        Self {
            from_ns,
            mark_ns: end_ns,
            limit: RECOVERY_LIMIT,
            seen,
        }
    }

    /// What is wrong when writes were acknowledged again at `again_ns` only.
    pub fn late(&self, again_ns: u64) -> Option<String> {
        let took = Duration::from_nanos(again_ns.saturating_sub(self.mark_ns));
        (took > self.limit).then(|| {
            format!(
                "writes were acknowledged again after {} s, at most {} s are allowed",
                seconds(took),
                seconds(self.limit)
            )
        })
    }
}

/// `count` of `what` as a proof, when there are any.
pub fn proof(count: u64, what: &str) -> Option<String> {
    (count > 0).then(|| format!("{count} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_come_back_soon_where_a_quorum_was_left_alone() {
        let second = 1_000_000_000;
        let left = Done::from_start(5 * second, None);
        assert_eq!(left.late(15 * second), None);
        assert!(left.late(15 * second + 1).is_some());
        // Counted from the end, and peers have to start.
        let away = Done::from_end(5 * second, 20 * second, None);
        assert_eq!(away.late(79 * second), None);
        assert!(away.late(81 * second).is_some());
    }
}
