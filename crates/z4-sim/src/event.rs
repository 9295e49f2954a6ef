//! What can happen in a simulated cluster, and who is told when it does.

use raft::eraftpb::Message;
use z4_consensus::clocks::ClockSample;
use z4_consensus::proposals::Asked;
use z4_consensus::replica::Input;
use z4_consensus::ProposeError;
use z4_core::Outcome;
use z4_delivery::{ClockReading, SessionId, Ticket};

use crate::clients::Reply;
use crate::peer::{Life, Peer, Token};
use crate::sessions::{Down, EndReply, Up};
use crate::world::{World, MS};

/// How often it is looked whether a peer stands still any longer.
const PAUSE_LOOK_NS: u64 = 250 * MS;

/// What happens at a moment.
pub(crate) enum Event {
    Tick(Life),
    Round(Life),
    LogDone(Life, u64),
    Apply(Life),
    Flush(Life),
    /// A turn of the delivery thread; with a time: it was waited for until then.
    Turn {
        life: Life,
        at_ns: Option<u64>,
    },
    ToSessions {
        life: Life,
        input: Box<z4_delivery::Input<String>>,
    },
    OpenSession {
        life: Life,
        wire: u64,
        open: z4_delivery::Open,
    },
    Up {
        life: Life,
        wire: u64,
        up: Up,
    },
    Write {
        life: Life,
        session: SessionId,
    },
    Withdraw {
        life: Life,
        session: SessionId,
    },
    Flushed {
        life: Life,
        session: SessionId,
    },
    LetGo {
        life: Life,
        session: SessionId,
        end: Option<z4_delivery::End<String>>,
    },
    TryAgain {
        life: Life,
        ticket: Ticket,
    },
    TryTimeout {
        life: Life,
        ticket: Ticket,
        attempt: u64,
    },
    Tried {
        life: Life,
        ticket: Ticket,
        attempt: u64,
        result: Box<Result<Outcome, ProposeError>>,
    },
    /// A peer looks for its leader.
    Dial(Life),
    Down {
        wire: u64,
        down: Down,
    },
    /// A consumer works.
    Consumer(usize),
    Deliver {
        from: u64,
        to: u64,
        dialled: u64,
        message: Message,
        clock: Option<ClockReading>,
        sample: Option<ClockSample>,
    },
    /// A leader said what its clock showed.
    ToldClock {
        to: u64,
        reading: ClockReading,
    },
    Snapshot {
        from: Life,
        to: u64,
        dialled: u64,
        message: Message,
    },
    /// A peer opens streams to all members.
    Open(Life),
    /// A peer looks whether it has to say its address.
    Say(Life),
    /// A stream to a peer was opened.
    Opened {
        from: Life,
        to: u64,
        dialled: u64,
    },
    /// A peer dials where another says it is.
    LookAt {
        at: Life,
        raft_id: u64,
        address: u64,
    },
    SnapshotSent {
        from: Life,
        to: u64,
        ok: bool,
    },
    Propose {
        to: u64,
        command: Vec<u8>,
        units: u32,
        token: Token,
    },
    Told {
        from: Life,
        to: Life,
        link: u64,
        told: z4_delivery::Report,
    },
    LinkLost {
        to: Life,
        link: u64,
    },
    ToldRemoved(u64),
    Client(usize),
    Timeout {
        client: usize,
        attempt: u64,
    },
    Reply {
        client: usize,
        attempt: u64,
        reply: Reply,
    },
    Ended(EndReply),
    Epoch,
    Fault(u64),
    Mend,
    Roll {
        stopping: bool,
    },
    Restart(u64),
    Kill(u64),
    EndFaults,
    Core,
    Admin,
    /// The operator of upgrades takes a step.
    Operate,
    Settled,
    /// The quorum is lost for good.
    Lost,
}

impl Event {
    /// The life of a peer that this is a part of: it does not happen when that life
    /// has ended, and waits while the peer stands still.
    fn life(&self) -> Option<Life> {
        match self {
            Self::Tick(life) | Self::Round(life) | Self::LogDone(life, _) => Some(*life),
            Self::Apply(life) | Self::Flush(life) | Self::Dial(life) => Some(*life),
            Self::Open(life) | Self::Say(life) => Some(*life),
            Self::Turn { life, .. } | Self::ToSessions { life, .. } => Some(*life),
            Self::OpenSession { life, .. } | Self::Up { life, .. } => Some(*life),
            Self::Write { life, .. } | Self::Withdraw { life, .. } => Some(*life),
            Self::Flushed { life, .. } | Self::LetGo { life, .. } => Some(*life),
            Self::TryAgain { life, .. } | Self::TryTimeout { life, .. } => Some(*life),
            Self::Tried { life, .. } | Self::LinkLost { to: life, .. } => Some(*life),
            // What is under way between peers, and what looks at lives itself.
            Self::Deliver { .. } | Self::Snapshot { .. } | Self::SnapshotSent { .. } => None,
            Self::Opened { .. } | Self::LookAt { .. } | Self::Propose { .. } => None,
            Self::Told { .. } | Self::ToldRemoved(_) | Self::Down { .. } => None,
            Self::ToldClock { .. } | Self::Operate => None,
            // What clients, consumers, faults and the administrator do.
            Self::Consumer(_) | Self::Client(_) | Self::Timeout { .. } => None,
            Self::Reply { .. } | Self::Ended(_) | Self::Admin | Self::Core => None,
            Self::Epoch | Self::Fault(_) | Self::Mend | Self::Roll { .. } => None,
            Self::Restart(_) | Self::Kill(_) | Self::EndFaults => None,
            Self::Settled | Self::Lost => None,
        }
    }
}

impl World {
    /// Lets an event happen, unless the life of the peer that it is of has ended.
    pub(crate) fn happen(&mut self, event: Event) {
        if let Some(life) = event.life() {
            if !self.lives(life) {
                return;
            }
            // What a peer that stands still would do waits until it goes on.
            let until_ns = self.peers.get(&life.0).map_or(0, |p| p.paused_until_ns);
            if until_ns > self.now_ns {
                // Looked at again soon: a pause may end before its time.
                let delay_ns = (until_ns - self.now_ns).min(PAUSE_LOOK_NS);
                return self.at(delay_ns, event);
            }
        }
        match event {
            Event::Tick((id, _)) => self.tick(id),
            Event::Round((id, _)) => self.round(id),
            Event::LogDone((id, _), group) => self.log_done(id, group),
            Event::Apply((id, _)) => self.apply(id),
            Event::Flush((id, _)) => self.flush(id),
            Event::Turn { life, at_ns } => self.turn(life, at_ns),
            Event::ToSessions { life, input } => self.session_input(life.0, *input),
            Event::OpenSession { life, wire, open } => self.open_session(life, wire, open),
            Event::Up { life, wire, up } => self.up_event(life, wire, up),
            Event::Write { life, session } => self.write(life, session),
            Event::Withdraw { life, session } => self.withdraw(life, session),
            Event::Flushed { life, session } => self.flushed(life, session),
            Event::LetGo { life, session, end } => self.let_go(life, session, end),
            Event::TryAgain { life, ticket } => self.session_try(life, ticket),
            Event::TryTimeout {
                life,
                ticket,
                attempt,
            } => self.try_timeout(life, ticket, attempt),
            Event::Tried {
                life,
                ticket,
                attempt,
                result,
            } => self.tried(life, ticket, attempt, *result),
            Event::Dial(life) => self.look_for_leader(life),
            Event::Down { wire, down } => self.down_arrived(wire, down),
            Event::Consumer(consumer) => self.consumer_think(consumer),
            Event::Deliver {
                from,
                to,
                dialled,
                message,
                clock,
                sample,
            } => self.deliver(from, (to, dialled), message, (clock, sample)),
            Event::ToldClock { to, reading } => self.hear_clock(to, reading),
            Event::Snapshot {
                from,
                to,
                dialled,
                message,
            } => self.deliver_snapshot(from, to, dialled, message),
            Event::Open(life) => self.open_streams(life),
            Event::Say(life) => self.say_address(life),
            Event::Opened { from, to, dialled } => {
                if self.lives(from) && self.is_at(to, dialled) {
                    self.heard_from(from.0, to, dialled);
                }
            }
            Event::LookAt {
                at,
                raft_id,
                address,
            } => self.look_at(at, raft_id, address),
            Event::SnapshotSent { from, to, ok } => {
                if self.lives(from) {
                    self.input(from.0, Input::SnapshotSent { to, ok });
                }
            }
            Event::Propose {
                to,
                command,
                units,
                token,
            } => {
                let asked = Asked {
                    command,
                    units,
                    token,
                };
                self.take_proposal(to, asked);
            }
            Event::Told {
                from,
                to,
                link,
                told,
            } => self.told_arrived(from, to, link, told),
            Event::LinkLost { to, link } => {
                self.session_input(to.0, z4_delivery::Input::RemoteLost(link));
            }
            Event::ToldRemoved(id) => self.input(id, Input::WasRemoved),
            Event::Client(client) => self.client_next(client),
            Event::Timeout { client, attempt } => self.client_timeout(client, attempt),
            Event::Reply {
                client,
                attempt,
                reply,
            } => self.client_reply(client, attempt, reply),
            Event::Ended(reply) => self.ended(reply),
            Event::Epoch => self.next_epoch(),
            Event::Fault(epoch) => self.fault(epoch),
            Event::Mend => self.mend(),
            Event::Roll { stopping } => self.roll(stopping),
            Event::Restart(id) => self.start(id),
            Event::Kill(id) => self.kill_fault(id),
            Event::EndFaults => self.end_faults(),
            Event::Core => self.core_look(),
            Event::Admin => self.administer(),
            Event::Operate => self.operate(),
            Event::Settled | Event::Lost => {}
        }
    }

    /// A peer that knows of no leader dials one of the others now and then.
    fn look_for_leader(&mut self, life: Life) {
        if self.leader_known_to(life.0).is_none() {
            self.dial(life.0);
        }
        self.within(40, 300, Event::Dial(life));
    }

    /// A tick passes. The raft thread sleeps until the next one that does something.
    fn tick(&mut self, id: u64) {
        let run = self.peers.get_mut(&id).and_then(|p| p.run.as_mut());
        if let Some(run) = run {
            run.ticks += 1;
            if run.ticks >= run.replica.ticks_to_next() {
                self.plan_round(id);
            }
        }
        if let Some(life) = self.peers.get(&id).map(Peer::life) {
            // No two peers tick alike.
            let length_ns = 50 * MS + id * 10_000;
            self.at(length_ns, Event::Tick(life));
        }
    }
}
