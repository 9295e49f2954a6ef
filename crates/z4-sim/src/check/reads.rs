//! Promise 5: a read sees what was acknowledged before it was asked. Here by the
//! index of the log that it was answered at; what it saw of the task is judged
//! with the history of all clients.

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

    /// A peer that has applied up to `applied` answers a read that was confirmed
    /// at `confirmed` and asked when `floor` had been acknowledged.
    pub(crate) fn check(
        &self,
        peer: u64,
        confirmed: u64,
        applied: u64,
        floor: u64,
    ) -> Result<(), String> {
        if applied >= floor && applied >= confirmed {
            return Ok(());
        }
        Err(format!(
            "promise 5: peer {peer} answers a read at {applied}, confirmed at {confirmed}; {floor} \
             was acknowledged before it was asked"
        ))
    }
}
