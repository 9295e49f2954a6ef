//! The intake of a round: notices of the other threads, news of the network, requests.

use std::collections::BTreeSet;
use std::time::Instant;

use crossbeam_channel::TryRecvError;
use raft::eraftpb::MessageType;

use super::{Notice, Rounds, Token};
use crate::error::ProposeError;
use crate::limits;
use crate::log::LogStore;
use crate::machine::StateMachine;
use crate::proposals::Asked;
use crate::replica::{Input, Now};
use crate::runtime::handle::{News, Proposal, Request};
use crate::status::Role;
use crate::transport::Transport;

impl<L: LogStore, M: StateMachine, T: Transport> Rounds<L, M, T> {
    /// Takes in what has come. Whether a stop was asked for.
    pub(super) fn take_in(&mut self, now: Now) -> bool {
        for _ in 0..limits::ROUND_INPUT_COUNT_MAX {
            let Ok(notice) = self.inbox.notices.try_recv() else {
                break;
            };
            let input = match notice {
                Notice::Persisted(number) => Input::Persisted { number },
                Notice::Applied(index) => Input::Applied { index },
                Notice::Checkpointed(applied) => Input::Checkpointed(applied),
                Notice::Flushed(position) => Input::Flushed(position),
            };
            self.replica.step(input, now);
        }
        self.push();
        let clogged = self.clogged();
        for _ in 0..limits::ROUND_INPUT_COUNT_MAX {
            let Ok(news) = self.inbox.news.try_recv() else {
                break;
            };
            let input = match news {
                News::Message { from, message } => {
                    // Raft repeats them when this peer's disk has caught up.
                    if clogged && message.get_msg_type() == MessageType::MsgAppend {
                        continue;
                    }
                    Input::Message { from, message }
                }
                News::Snapshot { from, message } => Input::Snapshot { from, message },
                News::Unreachable(to) => Input::Unreachable(to),
                News::SnapshotSent { to, ok } => Input::SnapshotSent { to, ok },
                News::WasRemoved => Input::WasRemoved,
                News::MemberAt { raft_id, address } => {
                    let input = Input::MemberAt { raft_id, address };
                    self.replica.step(input, now);
                    // The connection is opened even when nothing has to be sent yet,
                    // because the other side learns this peer's address from it.
                    if self.replica.glance().role != Role::Removed {
                        self.transport.members(self.replica.membership());
                    }
                    continue;
                }
                News::ReachedAt { raft_id, address } => Input::ReachedAt { raft_id, address },
            };
            self.replica.step(input, now);
        }
        !clogged && self.take_requests(now)
    }

    fn take_requests(&mut self, now: Now) -> bool {
        let (mut asked, mut topics) = (Vec::new(), BTreeSet::new());
        let term = self.replica.glance().term;
        let mut stop = false;
        for _ in 0..limits::ROUND_INPUT_COUNT_MAX {
            let request = match self.inbox.requests.try_recv() {
                Ok(request) => request,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            };
            let input = match request {
                Request::Propose(Proposal {
                    command,
                    units,
                    topic,
                    term: only_in,
                    accepted,
                    sink,
                }) => {
                    if only_in.is_some_and(|only_in| only_in != term) {
                        sink.answer(Err(ProposeError::NotLeader));
                        continue;
                    }
                    topics.extend(topic);
                    asked.push(Asked {
                        command,
                        units,
                        token: Token::Propose(accepted, sink),
                    });
                    continue;
                }
                Request::Change(change, sink) => Input::Change(change, Token::Admin(sink)),
                Request::Transfer(to, sink) => Input::Transfer(to, Token::Admin(sink)),
                Request::Read { deadline, answer } => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let deadline_ns = now.monotonic_ns + left.as_nanos() as u64;
                    Input::Read {
                        deadline_ns,
                        token: Token::Read(answer),
                    }
                }
                Request::Stop => {
                    stop = true;
                    continue;
                }
            };
            self.replica.step(input, now);
        }
        for rider in self.riders(topics) {
            asked.push(Asked {
                command: rider.command,
                units: rider.units,
                token: Token::Propose(rider.accepted, rider.sink),
            });
        }
        if !asked.is_empty() {
            self.metrics.proposed(asked.len());
            self.replica.step(Input::Propose(asked), now);
        }
        stop
    }

    /// The commands that ride with those of these topics.
    fn riders(&self, topics: BTreeSet<String>) -> Vec<Proposal<M::Reply>> {
        let glance = self.replica.glance();
        let take = self.handle.riders.get();
        let Some(take) = take.filter(|_| glance.role == Role::Leader) else {
            return Vec::new();
        };
        let of_topic = |topic: String| take(&topic, glance.term);
        topics.into_iter().filter_map(of_topic).collect()
    }
}
