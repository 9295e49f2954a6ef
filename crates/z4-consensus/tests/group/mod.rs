//! A small group of replicas that does nothing by itself: scripts say what is
//! delivered, written, applied.

// By its path: to depend on the simulator would bring the storage crate below
// this one.
#[path = "../../../z4-sim/src/disk.rs"]
#[allow(dead_code)]
pub mod disk;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use disk::SimLog;
use raft::eraftpb::{Entry, EntryType, HardState, Message, MessageType};
use z4_consensus::counter::{Counter, CounterDisk};
use z4_consensus::log::{LogStore, Position};
use z4_consensus::machine::{Applied, Committed, StateMachine};
use z4_consensus::proposals::{Asked, Envelope};
use z4_consensus::replica::{Answer, Config, Input, Now, Persist, Work};
use z4_consensus::{Change, Levels, Member, Membership, Replica, SaidLevels};

/// The levels of all peers here.
const LEVELS: Levels = Levels { min: 1, max: 2 };

/// A peer, with the work that waits to be done for it.
struct Peer {
    log: Arc<SimLog>,
    disk: CounterDisk,
    run: Option<Running>,
}

struct Running {
    replica: Replica<SimLog, String>,
    machine: Counter,
    writes: VecDeque<Persist>,
    entries: VecDeque<Committed>,
}

/// The group.
pub struct Group {
    peers: BTreeMap<u64, Peer>,
    net: VecDeque<Message>,
    clock_ms: u64,
    out: String,
}

const START: Position = Position { index: 1, term: 1 };

fn member(id: u64, voter: bool) -> Member {
    Member {
        peer_id: format!("peer{id}"),
        address: format!("a:{id}"),
        voter,
    }
}

impl Group {
    /// `count` voters behind a log that begins at index 1, term 1.
    pub fn new(count: u64) -> Self {
        let mut group = Self {
            peers: BTreeMap::new(),
            net: VecDeque::new(),
            clock_ms: 0,
            out: String::new(),
        };
        let membership = Membership {
            members: (1..=count).map(|id| (id, member(id, true))).collect(),
            raft_id_next: count + 1,
            level: 1,
            ..Membership::default()
        };
        let hard_state = HardState {
            term: 1,
            commit: 1,
            ..HardState::default()
        };
        for id in 1..=count {
            let peer = group.newcomer(id);
            let applied = Applied {
                position: START,
                membership: membership.clone(),
                stamp_ns: 0,
            };
            peer.disk.durable.lock().unwrap().0 = applied;
            peer.log.reset(START, &hard_state).unwrap();
            group.start(id);
        }
        group
    }

    fn newcomer(&mut self, id: u64) -> &mut Peer {
        self.peers.entry(id).or_insert_with(|| Peer {
            log: Arc::new(SimLog::new()),
            disk: CounterDisk::default(),
            run: None,
        })
    }

    fn start(&mut self, id: u64) {
        let peer = self.newcomer(id);
        let machine = Counter::open(&peer.disk);
        let config = Config {
            raft_id: id,
            address: String::new(),
            seed: 0,
            own: SaidLevels {
                levels: LEVELS,
                version: String::new(),
                is_held: false,
            },
            log_keep_entries: 4,
            max_clock_offset_ns: 500_000_000,
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        match Replica::new(config, Arc::clone(&peer.log), machine.applied(), &logger) {
            Ok(replica) => {
                peer.run = Some(Running {
                    replica,
                    machine,
                    writes: VecDeque::new(),
                    entries: VecDeque::new(),
                });
                self.works(id);
            }
            Err(reason) => self.say(format!("{id} does not start: {reason}")),
        }
    }

    fn say(&mut self, line: String) {
        let _ = writeln!(self.out, "{line}");
    }

    fn now(&self) -> Now {
        Now {
            wall_ns: self.clock_ms * 1_000_000,
            monotonic_ns: self.clock_ms * 1_000_000,
        }
    }

    fn step(&mut self, id: u64, input: Input<String>) {
        let now = self.now();
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return self.say(format!("{id} does not run"));
        };
        run.replica.step(input, now);
        self.works(id);
    }

    fn works(&mut self, id: u64) {
        while let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) {
            let work = run.replica.work();
            for (from, refused) in run.replica.take_refused() {
                self.say(format!("{id} refuses {from}: {refused}"));
            }
            match work {
                Some(work) => self.work(id, work),
                None => return,
            }
        }
    }

    fn work(&mut self, id: u64, work: Work<String>) {
        if let Some(reason) = &work.stop {
            self.say(format!("{id} stops: {reason}"));
        }
        for message in work.send {
            self.say(format!("{id} sends {}", describe(&message)));
            self.net.push_back(message);
        }
        for answer in work.answers {
            self.say(match answer {
                Answer::Propose(token, error) => format!("{id} answers {token}: {error}"),
                Answer::Admin(token, Ok(())) => format!("{id} answers {token}: done"),
                Answer::Admin(token, Err(error)) => format!("{id} answers {token}: {error}"),
                Answer::Read(token, Ok(index)) => format!("{id} answers {token}: read at {index}"),
                Answer::Read(token, Err(error)) => format!("{id} answers {token}: {error}"),
            });
        }
        if let Some(members) = &work.members {
            self.say(format!("{id} has members {}", describe_members(members)));
        }
        if let Some((position, hard_state)) = work.install {
            self.say(format!("{id} installs {}", at(position)));
            let now = self.now();
            let peer = self.peers.get_mut(&id).unwrap();
            let run = peer.run.as_mut().unwrap();
            run.machine.install(position).unwrap();
            peer.log.reset(position, &hard_state).unwrap();
            let applied = run.machine.applied().clone();
            run.replica.step(Input::Installed(applied), now);
        }
        if let Some(persist) = work.persist {
            self.say(format!("{id} writes {}", describe_write(&persist)));
            self.running(id).writes.push_back(persist);
        }
        if let Some(through) = work.cut {
            self.say(format!("{id} cuts its log at {}", at(through)));
            self.peers[&id].log.cut_through(through).unwrap();
        }
        for waiting in work.waiting {
            let tokens: Vec<_> = waiting.tokens.iter().map(|(t, _)| t.as_str()).collect();
            let (position, tokens) = (at(waiting.position), tokens.join(" "));
            self.say(format!("{id} appends {position} for {tokens}"));
        }
        for entry in work.apply {
            self.say(format!("{id} commits {}", describe_committed(&entry)));
            self.running(id).entries.push_back(entry);
        }
        if work.checkpoint {
            let applied = self.running(id).machine.checkpoint().unwrap();
            self.say(format!("{id} makes a snapshot at {}", at(applied.position)));
            let now = self.now();
            let run = self.running(id);
            run.replica.step(Input::Checkpointed(applied), now);
        }
        for position in work.drop_snapshots {
            self.say(format!("{id} drops the snapshot at {}", at(position)));
            self.running(id).machine.drop_snapshot(position);
        }
    }

    fn running(&mut self, id: u64) -> &mut Running {
        let peer = self.peers.get_mut(&id).expect("a peer of the script");
        peer.run.as_mut().expect("a peer that runs")
    }

    /// Runs one line of a script; gives what happened.
    pub fn run(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let id = |at: usize| words[at].parse::<u64>().expect("a raft id");
        match words[0] {
            "tick" => {
                for _ in 0..words.get(2).map_or(1, |w| w.parse().expect("a count")) {
                    self.clock_ms += 50;
                    self.step(id(1), Input::Tick);
                }
            }
            "campaign" => {
                // Ticks until it asks for votes.
                for _ in 0..40 {
                    if self.running(id(1)).replica.status().role
                        != z4_consensus::status::Role::Follower
                    {
                        break;
                    }
                    self.clock_ms += 50;
                    self.step(id(1), Input::Tick);
                }
            }
            "propose" => {
                let asked = Asked {
                    command: words[2].as_bytes().to_vec(),
                    units: 0,
                    token: words[2].to_owned(),
                };
                self.step(id(1), Input::Propose(vec![asked]));
            }
            "read" => {
                let deadline_ns = self.now().monotonic_ns + 1_000_000_000;
                let token = words[2].to_owned();
                self.step(id(1), Input::Read { deadline_ns, token });
            }
            "add" | "promote" | "remove" => {
                let raft_id = id(2);
                let change = match words[0] {
                    "add" => Change::AddLearner {
                        raft_id,
                        peer_id: format!("peer{raft_id}"),
                        address: format!("a:{raft_id}"),
                        levels: None,
                    },
                    "promote" => Change::Promote { raft_id },
                    _ => Change::Remove { raft_id },
                };
                self.step(id(1), Input::Change(change, line.to_owned()));
            }
            "transfer" => self.step(id(1), Input::Transfer(id(2), line.to_owned())),
            "start" => self.start(id(1)),
            "crash" => {
                let peer = self.peers.get_mut(&id(1)).expect("a peer");
                peer.run = None;
                peer.log.crash(0, None);
            }
            "flush" => {
                let position = self.running(id(1)).machine.flusher()().unwrap();
                self.step(id(1), Input::Flushed(position));
            }
            "persist" => self.persist(id(1)),
            "apply" => self.apply(id(1)),
            "deliver" => self.deliver(&words[1..]),
            "drop" => {
                let lost = self.take(&words[1..]);
                self.say(format!("{} lost", lost.len()));
            }
            "settle" => self.settle(),
            "elect" => {
                self.run(&format!("campaign {}", words[1]));
                self.settle();
                self.out.clear();
                self.say(format!("{} leads", words[1]));
            }
            "load" => {
                let count: u64 = words[2].parse().expect("a count");
                for number in 0..count {
                    self.run(&format!("propose {} {number}", words[1]));
                    self.settle();
                }
                self.out.clear();
            }
            "status" => self.status(),
            verb => panic!("no verb {verb}"),
        }
        std::mem::take(&mut self.out)
    }

    /// All writes of a peer reach its disk.
    fn persist(&mut self, id: u64) {
        let log = Arc::clone(&self.peers[&id].log);
        let mut last = None;
        for persist in self.running(id).writes.drain(..) {
            log.write(&persist.write).unwrap();
            last = Some(persist.number);
        }
        log.sync();
        if let Some(number) = last {
            self.step(id, Input::Persisted { number });
        }
    }

    /// A peer applies all that is committed.
    fn apply(&mut self, id: u64) {
        let run = self.running(id);
        let entries: Vec<_> = run.entries.drain(..).collect();
        let Some(last) = entries.last().map(|e| e.position.index) else {
            return;
        };
        run.machine.apply(entries).unwrap();
        self.step(id, Input::Applied { index: last });
    }

    /// Takes messages off the net: all, those to one peer, or from one to
    /// another (`1->2`).
    fn take(&mut self, words: &[&str]) -> Vec<Message> {
        let wanted = |m: &Message| match words.first() {
            None => true,
            Some(way) => match way.split_once("->") {
                Some((from, to)) => m.from.to_string() == from && m.to.to_string() == to,
                None => m.to.to_string() == **way,
            },
        };
        let (taken, left) = std::mem::take(&mut self.net)
            .into_iter()
            .partition::<Vec<_>, _>(wanted);
        self.net = left.into();
        taken
    }

    fn deliver(&mut self, words: &[&str]) {
        for message in self.take(words) {
            let (from, to) = (message.from, message.to);
            if self.peers.get(&to).is_none_or(|p| p.run.is_none()) {
                self.say(format!("{to} does not run"));
                continue;
            }
            if message.get_msg_type() == MessageType::MsgSnapshot {
                let made = self.peers[&from].disk.snapshots.lock().unwrap().clone();
                *self.peers[&to].disk.incoming.lock().unwrap() = made;
                self.step(to, Input::Snapshot { from, message });
                self.step(from, Input::SnapshotSent { to, ok: true });
            } else {
                self.step(to, Input::Message { from, message });
            }
        }
    }

    /// Delivers, writes and applies until nothing more happens.
    fn settle(&mut self) {
        for _ in 0..100 {
            self.deliver(&[]);
            let ids: Vec<u64> = self.peers.keys().copied().collect();
            let mut busy = false;
            for id in ids {
                if self.peers[&id].run.is_some() {
                    busy |= !self.running(id).writes.is_empty();
                    self.persist(id);
                    busy |= !self.running(id).entries.is_empty();
                    self.apply(id);
                }
            }
            if !busy && self.net.is_empty() {
                return;
            }
        }
        self.say("it does not settle".into());
    }

    fn status(&mut self) {
        let mut lines = Vec::new();
        for (id, peer) in &self.peers {
            let Some(run) = &peer.run else {
                lines.push(format!("{id} does not run"));
                continue;
            };
            let status = run.replica.status();
            lines.push(format!(
                "{id} {:?} term {} leader {} last {} commit {} applied {} has [{}]",
                status.role,
                status.term,
                status.leader,
                status.last_index,
                status.commit_index,
                status.applied_index,
                shown(&run.machine.value.text)
            ));
        }
        for line in lines {
            self.say(line);
        }
    }
}

/// The commands that a counter has seen; of many, the last.
fn shown(text: &[String]) -> String {
    match text {
        [] | [_] | [_, _] | [_, _, _] => text.join(" "),
        [.., last] => format!("{} commands, {last} the last", text.len()),
    }
}

fn at(position: Position) -> String {
    format!("{}/{}", position.index, position.term)
}

fn describe(message: &Message) -> String {
    let kind = format!("{:?}", message.get_msg_type());
    let mut text = format!("{}->{} {}", message.from, message.to, &kind[3..]);
    let _ = write!(text, " term {}", message.term);
    let shown = [("index", message.index), ("commit", message.commit)];
    for (name, value) in shown.into_iter().filter(|(_, value)| *value > 0) {
        let _ = write!(text, " {name} {value}");
    }
    if message.reject {
        text += " reject";
    }
    let metadata = message.get_snapshot().get_metadata();
    if metadata.index > 0 {
        let _ = write!(text, " snapshot {}/{}", metadata.index, metadata.term);
    }
    let read = matches!(
        message.get_msg_type(),
        MessageType::MsgReadIndex | MessageType::MsgReadIndexResp
    );
    if !read && !message.entries.is_empty() {
        let entries: Vec<_> = message.entries.iter().map(describe_entry).collect();
        let _ = write!(text, " [{}]", entries.join(", "));
    }
    text
}

fn describe_entry(entry: &Entry) -> String {
    let what = match entry.get_entry_type() {
        EntryType::EntryNormal if entry.data.is_empty() => "empty".to_owned(),
        EntryType::EntryNormal => {
            let commands = Envelope::decode(&entry.data).expect("an envelope").commands;
            let commands = commands
                .iter()
                .map(|c| String::from_utf8_lossy(c).into_owned());
            commands.collect::<Vec<_>>().join(" ")
        }
        _ => "members".to_owned(),
    };
    format!("{}/{} {what}", entry.index, entry.term)
}

fn describe_write(persist: &Persist) -> String {
    let entries: Vec<_> = persist.write.entries.iter().map(describe_entry).collect();
    let mut text = format!("[{}]", entries.join(", "));
    if let Some(hard_state) = &persist.write.hard_state {
        let (term, vote, commit) = (hard_state.term, hard_state.vote, hard_state.commit);
        let _ = write!(text, " term {term} vote {vote} commit {commit}");
    }
    if !persist.write.sync {
        text += " without sync";
    }
    text
}

fn describe_committed(entry: &Committed) -> String {
    let commands = entry.commands.iter().map(|c| String::from_utf8_lossy(c));
    let mut text = at(entry.position);
    for command in commands {
        let _ = write!(text, " {command}");
    }
    if let Some(membership) = &entry.membership {
        let _ = write!(text, " members {}", describe_members(membership));
    }
    text
}

fn describe_members(membership: &Membership) -> String {
    let ids = membership.members.iter().map(|(id, member)| {
        let kind = if member.voter { "" } else { "?" };
        format!("{id}{kind}")
    });
    format!("({})", ids.collect::<Vec<_>>().join(" "))
}
