//! Room on the disks of the cluster: whether what makes it fuller may come in.
//!
//! A peer whose disk is full ends with the next write, and a follower writes what the
//! leader takes in. So each peer tells the others how its disk is, with its raft
//! messages, and the leader refuses creates while itself or any voter that it hears of
//! is low. Everything else goes on: it is small, and most of it makes room in the end.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use z4_consensus::Status;
use z4_proto::generated::peer::DiskSpace as Message;

use crate::errors::Error;
use crate::limits;

/// How the disk of a peer is. All zero: not known, taken for enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DiskSpace {
    /// Free, in bytes, on the fuller of its volumes.
    pub free_bytes: u64,
    /// What must stay free there.
    pub needed_bytes: u64,
    /// Whether it is too little. Not a matter of the two numbers alone: a peer
    /// that was low stays so until there is clearly enough.
    pub is_low: bool,
}

impl DiskSpace {
    fn spare_bytes(&self) -> u64 {
        self.free_bytes.saturating_sub(self.needed_bytes)
    }
}

/// The room on the disks of this peer and of those it hears of. Clones are of
/// one.
#[derive(Clone, Debug, Default)]
pub struct DiskAdmission {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    own: DiskSpace,
    others: HashMap<u64, Heard>,
    /// What was let in between the last looks, in bytes.
    recent: VecDeque<u64>,
    /// What may be written before somebody looks again; `None` while nobody
    /// knows.
    budget: Option<Budget>,
}

/// What may be written between two looks, in bytes.
#[derive(Clone, Copy, Debug)]
struct Budget {
    /// Whose disk it is, if not this peer's own, and how that is.
    raft_id: Option<u64>,
    space: DiskSpace,
    spare_bytes: u64,
    taken_bytes: u64,
    /// Nothing was let in of late: the reserve bears one more, and shows then
    /// whether there is too little.
    idle_bytes: u64,
}

impl Budget {
    fn take(&mut self, bytes: u64) -> bool {
        let fits = self.taken_bytes + bytes <= self.spare_bytes
            || (self.taken_bytes == 0 && bytes <= self.idle_bytes);
        if fits {
            self.taken_bytes += bytes;
        }
        fits
    }
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    space: DiskSpace,
    at: Instant,
}

impl DiskAdmission {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        // These are numbers only, which a panic leaves as they were.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody has looked at this peer's disk. Of the others only voters count:
    /// whoever has no vote does not keep the cluster from taking tasks. The space of
    /// whom creates wait for first: what may come in until the next look has to fit
    /// there, so that look must not be late.
    pub fn looked(&self, own: DiskSpace, is_voter: impl Fn(u64) -> bool) -> DiskSpace {
        let mut shared = self.lock();
        shared.own = own;
        shared.others.retain(|_, heard| heard.is_fresh());
        let others = shared.others.iter();
        let others = others.filter(|(raft_id, _)| is_voter(**raft_id));
        let others = others.map(|(raft_id, heard)| (Some(*raft_id), heard.space));
        let known = others.filter(|(_, space)| space.needed_bytes > 0);
        let all = known.chain([(None, own)]);
        let tightest = all.min_by_key(|(_, space)| space.spare_bytes());
        let (raft_id, space) = tightest.unwrap_or((None, own));
        // What was let in of late may not be on the disk yet, or not have been
        // when another peer looked at its own.
        let taken = shared.budget.map_or(0, |budget| budget.taken_bytes);
        shared.recent.push_back(taken);
        if shared.recent.len() > limits::DISK_LOOKS_KEPT {
            shared.recent.pop_front();
        }
        let on_its_way: u64 = shared.recent.iter().sum();
        shared.budget = (own.needed_bytes > 0).then(|| Budget {
            raft_id,
            space,
            spare_bytes: space.spare_bytes().saturating_sub(on_its_way),
            taken_bytes: 0,
            idle_bytes: match on_its_way {
                0 => space.spare_bytes() + space.needed_bytes / 2,
                _ => 0,
            },
        });
        space
    }

    /// Whether this peer can take a snapshot of so many bytes. It may use half of
    /// what is to stay free: without it the peer never learns of what was ended,
    /// never gives space back, and keeps all others from creates.
    pub(crate) fn fits(&self, bytes: u64) -> bool {
        let own = self.lock().own;
        let left = own.needed_bytes / 2;
        own.needed_bytes == 0 || bytes.saturating_add(left) <= own.free_bytes
    }

    /// A peer has told how its disk is.
    pub(crate) fn heard(&self, raft_id: u64, message: &Message) {
        let space = DiskSpace {
            free_bytes: message.get_free_bytes(),
            needed_bytes: message.get_needed_bytes(),
            is_low: message.get_is_low(),
        };
        let at = Instant::now();
        self.lock().others.insert(raft_id, Heard { space, at });
    }

    /// This peer has too little room, so that nothing is created while it leads or votes.
    pub(crate) fn is_low(&self) -> bool {
        self.lock().own.is_low
    }

    /// What this peer tells others; `None` when it does not know.
    pub(crate) fn to_tell(&self) -> Option<Message> {
        let own = self.lock().own;
        (own != DiskSpace::default()).then(|| {
            let mut message = Message::default();
            message.set_free_bytes(own.free_bytes);
            message.set_needed_bytes(own.needed_bytes);
            message.set_is_low(own.is_low);
            message
        })
    }

    /// Whether a command of so many bytes that stores tasks may come in, at a
    /// peer of this status and name.
    ///
    /// # Errors
    /// [`Error::DiskLow`] with the peer that has no admission.
    pub(crate) fn admit(&self, status: &Status, name: &str, bytes: usize) -> Result<(), Error> {
        let mut shared = self.lock();
        if shared.own.is_low {
            return Err(refusal(name, shared.own));
        }
        if status.leader != status.raft_id {
            return Ok(());
        }
        for (raft_id, member) in &status.membership.members {
            let heard = shared.others.get(raft_id).filter(|heard| {
                // One that is gone cannot be hurt, and must not stop the others.
                member.voter && heard.space.is_low && heard.is_fresh()
            });
            if let Some(heard) = heard {
                return Err(refusal(&member.peer_id, heard.space));
            }
        }
        let cost = limits::DISK_COST_FACTOR * bytes as u64 + limits::DISK_COST_BYTES;
        let Some(budget) = &mut shared.budget else {
            return Ok(());
        };
        if budget.take(cost) {
            return Ok(());
        }
        let other = budget
            .raft_id
            .and_then(|id| status.membership.members.get(&id));
        let name = other.map_or(name, |member| &member.peer_id);
        Err(refusal(name, budget.space))
    }
}

impl Heard {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < limits::DISK_HEARD_MAX
    }
}

fn refusal(peer_id: &str, space: DiskSpace) -> Error {
    Error::DiskLow {
        peer_id: peer_id.to_owned(),
        free_bytes: space.free_bytes,
        needed_bytes: space.needed_bytes,
        retry_after_ms: limits::DISK_RETRY_MS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use z4_consensus::{Identity, Member, Membership};

    const MIB: u64 = 1 << 20;

    fn space(free_mib: u64, is_low: bool) -> DiskSpace {
        DiskSpace {
            free_bytes: free_mib * MIB,
            needed_bytes: 10 * MIB,
            is_low,
        }
    }

    fn all(_: u64) -> bool {
        true
    }

    fn told(space: DiskSpace) -> Message {
        let admission = DiskAdmission::default();
        admission.looked(space, all);
        admission.to_tell().unwrap_or_default()
    }

    /// The status of raft id 1, of three members of which the third learns.
    fn status(leader: u64) -> Status {
        let first = Identity {
            cluster_id: [7; 16],
            raft_id: 1,
            peer_id: "peer1".into(),
        };
        let mut membership = Membership::bootstrap(&first, "h:1");
        for (raft_id, voter) in [(2, true), (3, false)] {
            let member = Member {
                peer_id: format!("peer{raft_id}"),
                address: "h:1".into(),
                voter,
            };
            membership.members.insert(raft_id, member);
        }
        Status {
            raft_id: 1,
            leader,
            membership,
            ..Status::default()
        }
    }

    fn refused(admission: &DiskAdmission, leader: u64) -> Option<String> {
        let admitted = admission.admit(&status(leader), "peer1", 100);
        admitted.err().map(|error| error.to_string())
    }

    #[test]
    fn a_peer_that_does_not_know_its_disk_refuses_nothing() {
        assert_eq!(refused(&DiskAdmission::default(), 1), None);
        assert_eq!(DiskAdmission::default().to_tell(), None);
    }

    #[test]
    fn a_low_peer_refuses_whoever_leads_and_goes_on_when_there_is_room() {
        let admission = DiskAdmission::default();
        admission.looked(space(3, true), all);
        for leader in [1, 2] {
            let said = refused(&admission, leader).unwrap_or_default();
            for part in ["peer1", "3145728", "10485760", "retry in 1000 ms"] {
                assert!(said.contains(part), "{part}: {said}");
            }
        }
        admission.looked(space(100, false), all);
        assert_eq!(refused(&admission, 1), None);
    }

    #[test]
    fn the_leader_refuses_for_a_voter_that_is_low_and_for_no_other() {
        let admission = DiskAdmission::default();
        admission.looked(space(100, false), all);
        admission.heard(3, &told(space(11, true)));
        assert_eq!(refused(&admission, 1), None, "a learner");
        // Nor does it make the others' room smaller.
        for _ in 0..3 {
            admission.looked(space(100, false), |raft_id| raft_id == 2);
            assert_eq!(refused(&admission, 1), None);
            assert_eq!(refused(&admission, 1), None);
        }
        admission.heard(2, &told(space(11, true)));
        let said = refused(&admission, 1).unwrap_or_default();
        assert!(said.contains("peer2"), "{said}");
        assert_eq!(refused(&admission, 2), None, "a follower asks the leader");
        admission.heard(2, &told(space(100, false)));
        assert_eq!(refused(&admission, 1), None);
    }

    #[test]
    fn a_snapshot_that_leaves_too_little_does_not_fit() {
        let admission = DiskAdmission::default();
        assert!(admission.fits(u64::MAX), "nobody has looked");
        admission.looked(space(16, false), all);
        assert!(admission.fits(11 * MIB) && !admission.fits(11 * MIB + 1));
        // It helps a peer that is low already.
        admission.looked(space(9, true), all);
        assert!(admission.fits(4 * MIB) && !admission.fits(4 * MIB + 1));
    }

    #[test]
    fn between_two_looks_no_more_comes_in_than_there_is_room_for() {
        let admission = DiskAdmission::default();
        admission.looked(space(100, false), all);
        // The other has 6 MiB to spare, and each byte counts more than once.
        admission.heard(2, &told(space(16, false)));
        let tightest = admission.looked(space(100, false), all);
        assert_eq!(tightest, space(16, false));
        let admit = || admission.admit(&status(1), "peer1", 1 << 20);
        assert!(admit().is_ok());
        let said = admit().map_err(|error| error.to_string());
        assert!(said.is_err_and(|said| said.contains("peer2")));
        // What was let in may still be on its way.
        for _ in 0..limits::DISK_LOOKS_KEPT {
            admission.looked(space(100, false), all);
            assert!(admit().is_err());
        }
        admission.looked(space(100, false), all);
        assert!(admit().is_ok());
    }

    #[test]
    fn who_has_nothing_to_spare_and_is_not_low_takes_one_more() {
        // Else it would refuse for ever, and never be low.
        let admission = DiskAdmission::default();
        admission.looked(space(10, false), all);
        let admit = |bytes| admission.admit(&status(1), "peer1", bytes);
        assert!(admit(8 << 20).is_err(), "more than the reserve bears");
        assert!(admit(1 << 20).is_ok());
        assert!(admit(1 << 20).is_err());
    }
}
