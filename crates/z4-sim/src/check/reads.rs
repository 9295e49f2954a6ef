//! Promise 5: a read sees what was acknowledged before it was asked.

use z4_core::TaskId;

/// A read that was answered.
pub(crate) struct Answer {
    pub(crate) peer: u64,
    /// The index that the replica confirmed.
    pub(crate) confirmed: u64,
    /// What the peer has applied.
    pub(crate) applied: u64,
    /// The highest acknowledged index when the read was asked.
    pub(crate) floor: u64,
    pub(crate) task: TaskId,
    pub(crate) found: bool,
}

#[derive(Default)]
pub(crate) struct Reads {
    acked: u64,
}

impl Reads {
    /// A client was told of a change at this index.
    pub(crate) fn acked(&mut self, index: u64) {
        self.acked = self.acked.max(index);
    }

    /// The highest index that a client was told of.
    pub(crate) fn floor(&self) -> u64 {
        self.acked
    }

    /// Checks an answer; `ended_at` is the index at which the task was acked.
    pub(crate) fn check(&self, answer: &Answer, ended_at: Option<u64>) -> Result<(), String> {
        let Answer {
            peer,
            confirmed,
            applied,
            floor,
            task,
            found,
        } = answer;
        if applied < floor || applied < confirmed {
            return Err(format!(
                "promise 5: peer {peer} answers a read at {applied}, confirmed at {confirmed}; \
                 {floor} was acknowledged before it was asked"
            ));
        }
        let ended = ended_at.is_some_and(|index| index <= *applied);
        if *found == ended {
            return Err(format!(
                "promise 5: peer {peer} at {applied}: task {task} found {found}, acked {ended_at:?}"
            ));
        }
        Ok(())
    }
}
