//! The connections between consumers and their sessions: what is said arrives in
//! order, until the connection breaks. Each side learns of that by itself; a peer
//! perhaps long after the consumer, or never while it stands still.
//!
//! What a consumer had said on a connection that it gave up does not arrive after it
//! has opened another one.

use rand::Rng;
use z4_delivery::endings::Answer;
use z4_delivery::{Delivery, End, Open, Said, SessionId};

use crate::peer::{Life, Peer};
use crate::world::{Event, World, MS};

/// What a consumer says.
#[derive(Clone, Debug)]
pub(crate) enum Up {
    Said(Said),
    HalfClosed,
    /// The peer notices that the connection is gone.
    Broke,
}

/// What a consumer is told.
#[derive(Clone, Debug)]
pub(crate) enum Down {
    Hello {
        resumed: u32,
    },
    Delivery(Delivery),
    Answer(Answer),
    /// The whole answer of LeaseTasks.
    Leases(Vec<Delivery>),
    Ended(End<String>),
    /// The consumer notices that the connection is gone.
    Broke,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) consumer: usize,
    pub(crate) peer: Life,
    pub(crate) session: Option<SessionId>,
    /// The consumer has not given it up.
    pub(crate) is_up: bool,
    /// The peer knows that it is gone. A peer that stood still may hear that before it
    /// hears that the consumer came.
    pub(crate) is_known_gone: bool,
    /// Its session is open, as far as the consumer knows.
    pub(crate) is_open: bool,
    /// The consumer has said that it is done.
    pub(crate) is_closing: bool,
    /// The consumer has said that it takes no more.
    pub(crate) is_drained: bool,
    /// Most tasks that the consumer ever said it takes by it; 0: it did not say.
    pub(crate) in_flight_max: u64,
    pub(crate) dialled_ns: u64,
    up_ns: u64,
    down_ns: u64,
}

impl World {
    /// A consumer opens a session at a peer.
    pub(super) fn dial_session(&mut self, consumer: usize, peer: u64, open: Open) -> Option<u64> {
        let life = self.peers.get(&peer).map(Peer::life)?;
        self.attempts += 1;
        let number = self.attempts;
        let delay_ns = self.net.delay(&mut self.rng);
        let wire = Wire {
            consumer,
            peer: life,
            session: None,
            is_up: true,
            is_known_gone: false,
            is_open: false,
            is_closing: false,
            is_drained: false,
            in_flight_max: 0,
            dialled_ns: self.now_ns,
            up_ns: self.now_ns + delay_ns,
            down_ns: 0,
        };
        self.wires.insert(number, wire);
        let event = Event::OpenSession {
            life,
            wire: number,
            open,
        };
        self.at(delay_ns, event);
        Some(number)
    }

    /// A consumer says something.
    pub(super) fn say_up(&mut self, number: u64, up: Up) {
        let delay_ns = self.net.delay(&mut self.rng);
        let now_ns = self.now_ns;
        let Some(wire) = self.wires.get_mut(&number).filter(|wire| wire.is_up) else {
            return;
        };
        wire.up_ns = (now_ns + delay_ns).max(wire.up_ns + 1);
        let (life, at_ns) = (wire.peer, wire.up_ns);
        let wire = number;
        self.at(at_ns - now_ns, Event::Up { life, wire, up });
    }

    /// A consumer is given up on, or gives up: nothing more passes. Its peer learns of
    /// it after so many milliseconds.
    pub(super) fn cut(&mut self, number: u64, noticed_ms: (u64, u64)) {
        let Some(wire) = self.wires.get_mut(&number).filter(|wire| wire.is_up) else {
            return;
        };
        wire.is_up = false;
        let life = wire.peer;
        let wire = number;
        let up = Up::Broke;
        self.within(noticed_ms.0, noticed_ms.1, Event::Up { life, wire, up });
    }

    /// What a consumer said arrives, unless its connection was cut before.
    pub(crate) fn up_event(&mut self, life: Life, number: u64, up: Up) {
        let Some(wire) = self.wires.get_mut(&number) else {
            return;
        };
        wire.is_known_gone |= matches!(up, Up::Broke);
        if wire.is_up || matches!(up, Up::Broke) {
            self.up_arrived(life, number, up);
        }
    }

    /// A session says something to its consumer.
    pub(super) fn down(&mut self, id: u64, session: SessionId, down: Down) {
        if let Some(wire) = self.task(id, session).map(|task| task.wire) {
            self.down_wire(id, wire, down);
        }
    }

    pub(super) fn down_wire(&mut self, _: u64, number: u64, down: Down) {
        let delay_ns = self.net.delay(&mut self.rng);
        let now_ns = self.now_ns;
        if let Some(wire) = self.wires.get_mut(&number) {
            wire.down_ns = (now_ns + delay_ns).max(wire.down_ns + 1);
            let at_ns = wire.down_ns;
            self.at(at_ns - now_ns, Event::Down { wire: number, down });
        }
    }

    /// A peer ends: the connections of its consumers break.
    pub(super) fn wires_end(&mut self, life: Life) {
        let mut broken = Vec::new();
        for (number, wire) in &self.wires {
            if wire.peer == life {
                broken.push(*number);
            }
        }
        for number in broken {
            let noticed_ms = self.rng.gen_range(1..1_500);
            let event = Event::Down {
                wire: number,
                down: Down::Broke,
            };
            self.at(noticed_ms * MS, event);
        }
    }
}
