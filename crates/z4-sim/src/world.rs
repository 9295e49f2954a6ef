//! The cluster on virtual time: one queue of events, one seed.

use std::collections::{BTreeMap, BTreeSet};

use raft::eraftpb::MessageType;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use z4_check::history::{History, Nature};
use z4_consensus::log::Position;
use z4_consensus::machine::Applied;
use z4_consensus::replica::{Input, Now};
use z4_consensus::{Member, Membership};
use z4_core::Namespace;

use crate::addresses;
use crate::admin::Admin;
use crate::assembly;
use crate::check::Checks;
use crate::clients::Client;
use crate::core_phase::Core;
use crate::disk::greatest_stamp;
use crate::faults::Epoch;
use crate::net::Net;
use crate::options::{Options, CLIENTS_MAX};
use crate::peer::{Life, Peer, Started, Token};
use crate::report::Report;
use crate::sessions::{Consumer, Judge, Wire};
use crate::spaces::{self, SPACES};
use crate::trace::Trace;
use crate::upgrades::Upgrades;

pub(crate) use crate::event::Event;

pub(crate) const MS: u64 = 1_000_000;
/// True time at the start of each run, nanoseconds since the Unix epoch.
const EPOCH_NS: u64 = 1_700_000_000_000_000_000;
/// Ways in which three peers become a cluster, in each seed that begins with three.
const ASSEMBLIES: u64 = 8;
/// Where founded state and log stand.
const FOUNDED: Position = Position { index: 1, term: 1 };

pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) now_ns: u64,
    order: u64,
    /// By time, then by the order in which they were planned. In boxes: the
    /// queue moves them about.
    queue: BTreeMap<(u64, u64), Box<Event>>,
    pub(crate) rng: StdRng,
    pub(crate) net: Net,
    pub(crate) epoch: Epoch,
    pub(crate) peers: BTreeMap<u64, Peer>,
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) clients: Vec<Client>,
    pub(crate) consumers: Vec<Consumer>,
    /// When the faults are over nobody calls LeaseTasks: whatever is due then comes by
    /// the dispatcher, or not at all.
    pub(crate) calls_rest: bool,
    /// Connections of consumers.
    pub(crate) wires: BTreeMap<u64, Wire>,
    pub(crate) judge: Judge,
    /// Connections between peers by which nothing arrives any more.
    pub(crate) broken_links: BTreeSet<u64>,
    pub(crate) attempts: u64,
    pub(crate) requests: u64,
    /// How many new addresses were given out.
    pub(crate) moves: u64,
    /// What clients and consumers saw.
    pub(crate) history: History,
    pub(crate) checks: Checks,
    pub(crate) trace: Trace,
    /// While a minority stays away and the rest must serve.
    pub(crate) core: Option<Core>,
    /// Clients make no new requests, nothing fails any more.
    pub(crate) healed_at_ns: Option<u64>,
    /// By how much machine time was ahead of the clocks then.
    pub(crate) lead_ns: u64,
    pub(crate) admin: Admin,
    pub(crate) upgrades: Upgrades,
    /// Whom a rolling restart has not come to yet.
    pub(crate) rolling: Vec<u64>,
    pub(crate) report: Report,
    pub(crate) failure: Option<String>,
}

/// Simulates a cluster.
///
/// # Errors
/// What was broken, when, and how to see it again.
pub fn run(options: &Options) -> Result<Report, String> {
    crate::mutants::plant(options);
    let mut world = World::new(options.clone())?;
    let result = world.run();
    result.map_err(|what| format!("at {} ms: {what}", world.now_ns / MS))
}

impl World {
    fn new(options: Options) -> Result<Self, String> {
        let mut world = Self {
            rng: StdRng::seed_from_u64(options.seed),
            now_ns: 0,
            order: 0,
            queue: BTreeMap::new(),
            net: Net::default(),
            epoch: Epoch::default(),
            peers: BTreeMap::new(),
            namespaces: spaces::names()?,
            clients: (0..CLIENTS_MAX).map(|_| Client::default()).collect(),
            consumers: Vec::new(),
            calls_rest: false,
            wires: BTreeMap::new(),
            judge: Judge::default(),
            broken_links: BTreeSet::new(),
            attempts: 0,
            requests: 0,
            moves: 0,
            history: History::of(Nature {
                leased: true,
                dies: true,
                forgotten: false,
                ended: false,
            }),
            checks: Checks::new(FOUNDED.index + 1),
            trace: Trace::new(options.print),
            core: None,
            healed_at_ns: None,
            lead_ns: 0,
            admin: Admin::default(),
            upgrades: Upgrades::default(),
            rolling: Vec::new(),
            report: Report::default(),
            failure: None,
            options,
        };
        world.net.heal();
        world.assemble()?;
        let ids = 1..=world.options.peers;
        let members = ids.clone().map(|id| (id, member(id)));
        let membership = Membership {
            cluster_id: *b"simulated cluste",
            members: members.collect(),
            raft_id_next: world.options.peers + 1,
            level: world.found_level(),
            ..Membership::default()
        };
        world.checks.founded(&membership);
        for id in ids {
            let peer = Peer::new(id, world.new_binary(membership.level));
            peer.found(&Applied {
                position: FOUNDED,
                membership: membership.clone(),
                stamp_ns: 0,
            })?;
            world.peers.insert(id, peer);
            world.start(id);
        }
        for space in 0..SPACES.len() {
            let settings = world.settings_of(space, false);
            world.clients[space].todo.push_back(settings);
        }
        for client in 0..world.clients.len() {
            world.at(MS, Event::Client(client));
        }
        world.hire_consumers();
        world.calls_rest = world.rng.gen();
        world.epoch.think_ms = 1_000;
        world.at(2_000 * MS, Event::Epoch);
        world.at(3_000 * MS, Event::Admin);
        world.at(4_000 * MS, Event::Operate);
        let end_ns = world.options.work_ms * MS;
        world.at(end_ns, Event::EndFaults);
        Ok(world)
    }

    /// A cluster of three comes to be by itself; see [`assembly`]. That is over soon and
    /// costs little, so each seed has it happen in several ways.
    fn assemble(&mut self) -> Result<(), String> {
        if self.options.peers != assembly::COUNT as u64 {
            return Ok(());
        }
        for way in 0..ASSEMBLIES {
            let assembled = assembly::assemble(self.options.seed, way)?;
            for (at_ns, line) in assembled.lines {
                self.trace.note(at_ns, format_args!("{line}"));
            }
            for what in assembled.seen {
                self.saw(what);
            }
        }
        Ok(())
    }

    /// Plans an event after a delay in nanoseconds.
    pub(crate) fn at(&mut self, delay_ns: u64, event: Event) {
        self.order += 1;
        self.queue
            .insert((self.now_ns + delay_ns, self.order), Box::new(event));
    }

    /// Plans an event at a random moment between two delays in milliseconds.
    pub(crate) fn within(&mut self, from_ms: u64, to_ms: u64, event: Event) {
        let delay_ns = self.rng.gen_range(from_ms * MS..to_ms * MS);
        self.at(delay_ns, event);
    }

    /// One of some, by chance; `None` of none.
    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() {
            return None;
        }
        all.get(self.rng.gen_range(0..all.len())).copied()
    }

    /// A number below a thousand.
    pub(crate) fn one_of_thousand(&mut self) -> u32 {
        self.rng.gen_range(0..1000)
    }

    /// One chance in so many.
    pub(crate) fn one_in(&mut self, many: u32) -> bool {
        self.rng.gen_range(0..many) == 0
    }

    pub(crate) fn fail(&mut self, what: impl Into<String>) {
        if self.failure.is_none() {
            self.failure = Some(what.into());
        }
    }

    /// The true wall clock.
    pub(crate) fn wall_ns(&self) -> u64 {
        EPOCH_NS + self.now_ns
    }

    /// The clocks of a peer.
    pub(crate) fn clocks(&self, id: u64) -> Now {
        let off_ns = self
            .peers
            .get(&id)
            .map_or(0, |p| p.clock_off_ns(self.now_ns));
        Now {
            wall_ns: self.wall_ns().saturating_add_signed(off_ns),
            monotonic_ns: self.now_ns,
        }
    }

    /// Peers that are not gone for good, in order.
    pub(crate) fn members(&self) -> BTreeSet<u64> {
        let there = self.peers.values().filter(|p| !p.gone);
        there.map(|p| p.raft_id).collect()
    }

    /// Peers that run, in order.
    pub(crate) fn up(&self) -> Vec<u64> {
        let up = self.peers.values().filter(|p| p.run.is_some());
        up.map(|p| p.raft_id).collect()
    }

    /// Entries that are being sent: the greatest stamp among them.
    pub(crate) fn stamp_on_its_way_ns(&self) -> u64 {
        let stamps = self.queue.values().filter_map(|event| match &**event {
            Event::Deliver { message, .. } if message.get_msg_type() == MessageType::MsgAppend => {
                Some(greatest_stamp(&message.entries))
            }
            _ => None,
        });
        stamps.max().unwrap_or_default()
    }

    /// The leader that this peer would send clients to.
    pub(crate) fn leader_known_to(&self, id: u64) -> Option<u64> {
        let run = self.peers.get(&id)?.run.as_ref()?;
        Some(run.replica.glance().leader).filter(|leader| *leader != 0)
    }

    pub(crate) fn start(&mut self, id: u64) {
        let seed = self.rng.gen();
        let keep = self.options.log_keep_entries;
        let rests = |peer: &Peer| peer.run.is_none() && !peer.gone;
        if self.is_away(id) || !self.peers.get(&id).is_some_and(rests) {
            return;
        }
        self.take_address(id);
        self.take_binary(id);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let torn = match peer.start(seed, keep) {
            Ok(Started::Runs { torn }) => torn,
            Ok(Started::TooOld) => return self.too_old_ended(id),
            Err(reason) => return self.fail(format!("peer {id} does not start: {reason}")),
        };
        let (life, low) = (peer.life(), peer.space_low);
        if torn {
            self.saw("a torn write at the end of a log was dropped");
        }
        self.trace.note(self.now_ns, format_args!("start {life:?}"));
        self.take_events(id);
        self.within(0, 50, Event::Tick(life));
        self.within(1, 50, Event::Open(life));
        self.within(500, 1_500, Event::Say(life));
        self.within(50, 500, Event::Flush(life));
        self.within(40, 300, Event::Dial(life));
        if low {
            self.input(id, Input::SpaceLow(true));
        }
        self.plan_round(id);
    }

    pub(crate) fn input(&mut self, id: u64, input: Input<Token>) {
        if let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) {
            run.inbox.push_back(input);
            self.plan_round(id);
        }
    }

    /// The raft thread wakes a little later, so that inputs come in batches.
    pub(crate) fn plan_round(&mut self, id: u64) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let life = peer.life();
        if let Some(run) = peer.run.as_mut().filter(|run| !run.round_planned) {
            run.round_planned = true;
            let delay_ns = self.rng.gen_range(1_000..300_000);
            self.at(delay_ns, Event::Round(life));
        }
    }

    fn run(&mut self) -> Result<Report, String> {
        loop {
            if let Some(what) = self.failure.take() {
                return Err(what);
            }
            let Some(((at_ns, _), event)) = self.queue.pop_first() else {
                return Err("nothing happens any more".into());
            };
            self.now_ns = at_ns;
            self.report.events += 1;
            let is_over = match *event {
                Event::Settled => self.settled()?,
                Event::Lost => {
                    self.lose_quorum()?;
                    true
                }
                event => {
                    self.happen(event);
                    false
                }
            };
            if is_over {
                self.report.simulated_ms = self.now_ns / MS;
                self.report.trace = self.trace.digest();
                return Ok(std::mem::take(&mut self.report));
            }
        }
    }

    /// Whether this life of a peer goes on.
    pub(crate) fn lives(&self, life: Life) -> bool {
        let peer = self.peers.get(&life.0);
        peer.is_some_and(|peer| peer.life() == life && peer.run.is_some())
    }
}

/// A founding voter.
fn member(id: u64) -> Member {
    Member {
        peer_id: format!("peer{id}"),
        address: addresses::text(id),
        voter: true,
    }
}
