//! What goes wrong, and when.
//!
//! Time before the end is cut into epochs of 8 to 40 seconds. Each draws which
//! faults are about, how often, and how busy clients are, so that a run meets
//! faults alone, faults together, and quiet times in which changes of members
//! get through (swarm testing: Groce et al., ISSTA 2012). Each fault can be
//! switched off, by [`Faults::without`]. One that is switched off is drawn all the same
//! and does not act, so that a run without it is the same one until it would have acted.

mod clock;
mod crash;
mod disk;
mod full;
mod network;
mod pause;
mod restart;

use std::collections::BTreeSet;

use rand::Rng;

pub(crate) use full::Full;

use crate::world::{Event, World, MS};

/// One way in which things go wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// Power loss at a peer: `faults/crash.rs`.
    Crash,
    /// Power loss at all peers at once: `faults/crash.rs`.
    Blackout,
    /// Death of the process, what was written survives: `faults/crash.rs`.
    Kill,
    /// Peers cut off from each other: `faults/network.rs`.
    Partition,
    /// Messages pass in one direction only: `faults/network.rs`.
    OneWay,
    /// Messages get lost: `faults/network.rs`.
    Loss,
    /// Messages come twice: `faults/network.rs`.
    Duplicate,
    /// Messages are late, and overtake each other: `faults/network.rs`.
    Delay,
    /// Replies to clients get lost: `faults/network.rs`.
    LostReply,
    /// A process stands still: `faults/pause.rs`.
    Pause,
    /// A wall clock jumps, backwards too: `faults/clock.rs`.
    ClockJump,
    /// A wall clock is fast or slow: `faults/clock.rs`.
    ClockDrift,
    /// Syncs take long: `faults/disk.rs`.
    SlowDisk,
    /// Disk space runs low: `faults/disk.rs`.
    LowSpace,
    /// A write fails for want of space: `faults/full.rs`.
    DiskFull,
    /// A member loses its disk for good and is replaced: `admin.rs`.
    Wipe,
    /// A peer comes back at another address: `addresses.rs`.
    Address,
    /// Peers come back with other binaries: `upgrades.rs`.
    Upgrade,
    /// Members come and go: `admin.rs`.
    Members,
    /// Leadership is transferred: `admin.rs`.
    Transfer,
    /// Peers are stopped and started in turn: `faults/restart.rs`.
    Rolling,
    /// A client forgets what it was at: `clients/mod.rs`.
    ClientCrash,
    /// A consumer forgets what it holds: `sessions/behaviour.rs`.
    ConsumerCrash,
    /// A consumer holds tasks past their leases: `sessions/behaviour.rs`.
    ConsumerStall,
}

impl Fault {
    /// All of them, with their names on the command line.
    pub const ALL: [(Self, &'static str); 24] = [
        (Self::Crash, "crash"),
        (Self::Blackout, "blackout"),
        (Self::Kill, "kill"),
        (Self::Partition, "partition"),
        (Self::OneWay, "one-way"),
        (Self::Loss, "loss"),
        (Self::Duplicate, "duplicate"),
        (Self::Delay, "delay"),
        (Self::LostReply, "lost-reply"),
        (Self::Pause, "pause"),
        (Self::ClockJump, "clock-jump"),
        (Self::ClockDrift, "clock-drift"),
        (Self::SlowDisk, "slow-disk"),
        (Self::LowSpace, "low-space"),
        (Self::DiskFull, "disk-full"),
        (Self::Wipe, "wipe"),
        (Self::Address, "address"),
        (Self::Upgrade, "upgrade"),
        (Self::Members, "members"),
        (Self::Transfer, "transfer"),
        (Self::Rolling, "rolling"),
        (Self::ClientCrash, "client-crash"),
        (Self::ConsumerCrash, "consumer-crash"),
        (Self::ConsumerStall, "consumer-stall"),
    ];
}

/// A set of faults.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Faults(BTreeSet<Fault>);

impl Faults {
    /// Every fault.
    #[must_use]
    pub fn all() -> Self {
        Self(Fault::ALL.iter().map(|(fault, _)| *fault).collect())
    }

    /// No fault.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// All but the fault of this name.
    ///
    /// # Errors
    /// The names there are, when it is none of them.
    pub fn without(mut self, name: &str) -> Result<Self, String> {
        let Some((fault, _)) = Fault::ALL.iter().find(|(_, known)| *known == name) else {
            let names: Vec<_> = Fault::ALL.iter().map(|(_, name)| *name).collect();
            return Err(format!(
                "there is no fault {name}; there are {}",
                names.join(", ")
            ));
        };
        self.0.remove(fault);
        Ok(self)
    }

    /// Takes the fault of this name out, if it is in.
    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|fault| name_of(*fault) != name);
    }

    /// The names of those in the set, in the order of [`Fault::ALL`].
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        let there = Fault::ALL.iter().filter(|(fault, _)| self.has(*fault));
        there.map(|(_, name)| *name)
    }

    /// Whether this fault is in the set.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }
}

/// Which faults are about now, and how often.
#[derive(Debug, Default)]
pub(crate) struct Epoch {
    /// The faults of the epoch, also those that are switched off.
    drawn: Faults,
    /// Which epoch of the run this is: a fault planned in an earlier one is
    /// dropped.
    number: u64,
    gap_ms: (u64, u64),
    /// How long clients think between requests, at most.
    pub(crate) think_ms: u64,
}

impl Epoch {
    /// The place of this epoch in the run, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl World {
    /// Whether a fault is about now.
    pub(crate) fn about(&self, fault: Fault) -> bool {
        !self.calm() && self.epoch.drawn.has(fault) && self.options.faults.has(fault)
    }

    /// The next epoch begins.
    pub(crate) fn next_epoch(&mut self) {
        if self.calm() {
            return;
        }
        self.within(8_000, 40_000, Event::Epoch);
        let calm = self.rng.gen_range(0..5) == 0;
        let one_in = [2, 3, 6][self.rng.gen_range(0..3)];
        let mut drawn = Faults::none();
        for (fault, _) in Fault::ALL {
            let is_drawn = self.rng.gen_range(0..one_in) == 0;
            if is_drawn && !calm {
                drawn.0.insert(fault);
            }
        }
        let gaps = [(100, 800), (500, 3_000), (500, 3_000), (2_000, 9_000)];
        self.epoch = Epoch {
            number: self.epoch.number + 1,
            gap_ms: gaps[self.rng.gen_range(0..gaps.len())],
            think_ms: [300, 2_000, 4_000, 4_000][self.rng.gen_range(0..4)],
            drawn,
        };
        self.trace.note(
            self.now_ns,
            format_args!("epoch {} draws {:?}", self.epoch.number, self.epoch.drawn),
        );
        self.back_up();
        self.network_epoch();
        self.clock_epoch();
        self.disk_epoch();
        let (from_ms, to_ms) = self.epoch.gap_ms;
        self.within(from_ms, to_ms, Event::Fault(self.epoch.number));
    }

    /// One sudden fault of those that are about, and the plan for the next.
    pub(crate) fn fault(&mut self, epoch: u64) {
        if self.calm() || epoch != self.epoch.number {
            return;
        }
        let (from_ms, to_ms) = self.epoch.gap_ms;
        self.within(from_ms, to_ms, Event::Fault(epoch));
        let sudden = [
            Fault::Crash,
            Fault::Crash,
            Fault::Kill,
            Fault::Blackout,
            Fault::Partition,
            Fault::Partition,
            Fault::OneWay,
            Fault::Pause,
            Fault::ClockJump,
            Fault::SlowDisk,
            Fault::LowSpace,
            Fault::DiskFull,
            Fault::Rolling,
            Fault::Address,
            Fault::ClientCrash,
            Fault::ConsumerCrash,
            Fault::ConsumerStall,
        ];
        let drawn = |fault: &Fault| self.epoch.drawn.has(*fault);
        let drawn: Vec<_> = sudden.into_iter().filter(drawn).collect();
        let Some(fault) = self.one_of(&drawn) else {
            return;
        };
        let ids: Vec<u64> = self.members().into_iter().collect();
        let Some(id) = self.one_of(&ids) else { return };
        if !self.about(fault) {
            return;
        }
        self.trace
            .note(self.now_ns, format_args!("fault {fault:?} at {id}"));
        *self.report.faults.entry(name_of(fault)).or_default() += 1;
        match fault {
            Fault::Crash => self.crash_fault(id),
            Fault::Kill => self.kill_fault(id),
            Fault::Blackout => self.blackout(&ids),
            Fault::Partition => self.partition(id, &ids),
            Fault::OneWay => self.one_way(id, &ids),
            Fault::Pause => self.pause(id),
            Fault::ClockJump => self.clock_jump(id),
            Fault::SlowDisk => self.disk_stall(id),
            Fault::LowSpace => self.low_space(id),
            Fault::DiskFull => self.disk_full(id),
            Fault::Rolling => self.rolling_restart(),
            Fault::Address => self.move_addresses(id, &ids),
            Fault::ClientCrash => self.client_crash(),
            Fault::ConsumerCrash => self.consumer_crash(),
            Fault::ConsumerStall => self.consumer_stall(),
            // These last for an epoch or have moments of their own: none is sudden.
            Fault::Loss
            | Fault::Duplicate
            | Fault::Delay
            | Fault::LostReply
            | Fault::ClockDrift
            | Fault::Wipe
            | Fault::Upgrade
            | Fault::Members
            | Fault::Transfer => {}
        }
    }

    /// Nothing new goes wrong, and what lasts is over.
    pub(crate) fn end_epoch(&mut self) {
        self.epoch.think_ms = 500;
        self.epoch.drawn = Faults::none();
        self.net.heal();
        self.heal_clocks();
        self.heal_disks();
        self.heal_pauses();
    }

    /// The end of all faults: from here on the cluster must settle.
    pub(crate) fn heal(&mut self) {
        self.trace.note(self.now_ns, format_args!("healed"));
        self.core = None;
        self.healed_at_ns = Some(self.now_ns);
        self.end_epoch();
        self.mend_settings();
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            self.start(id);
        }
        self.finish_upgrades();
        self.set_addresses();
        self.lead_ns = self.lead_now_ns();
        self.last_wishes();
        self.at(500 * MS, Event::Settled);
    }
}

pub(crate) fn name_of(fault: Fault) -> &'static str {
    let named = Fault::ALL.iter().find(|(known, _)| *known == fault);
    named.map_or("unnamed", |(_, name)| *name)
}
