//! The leader's side of forwarding: does what followers ask, here or not at all.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::stream::FuturesUnordered;
use futures::{Sink, SinkExt, Stream, StreamExt};
use grpcio::{DuplexSink, RequestStream, WriteFlags};
use protobuf::Message;
use z4_consensus::fault::mark;
use z4_consensus::ProposeError;
use z4_core::dispatch::{rides_with, ConsumerReport};
use z4_core::{Namespace, View};
use z4_delivery::{Input, Report};
use z4_proto::generated::peer::{
    self, ForwardProposal, ForwardReply, ForwardReply_oneof_answer as Reply, ForwardRequest,
    ForwardRequest_oneof_ask as Ask,
};
use z4_proto::{decode_command, encode_outcome};

use crate::admin::own_status;
use crate::delivery::wall_ns;
use crate::errors::Error;
use crate::levels;
use crate::limits;
use crate::node::Node;
use crate::outbox::Outbox;
use crate::peer::opening;
use crate::propose::{Appended, Local, Proposed, Until};
use crate::tls::Caller;
use crate::verdicts::Verdict;

type AdminWork = Pin<Box<dyn std::future::Future<Output = ForwardReply> + Send>>;

struct Served<V> {
    node: Node<V>,
    /// Tells this stream from an earlier one of the same peer.
    link: u64,
    /// The follower.
    peer_id: String,
    replies: Arc<Outbox<ForwardReply>>,
    in_work: Arc<AtomicUsize>,
    admin: FuturesUnordered<AdminWork>,
}

/// Serves one follower until its stream ends.
pub(crate) async fn serve<V: View + Clone + Send + Sync + 'static>(
    node: Node<V>,
    caller: Caller,
    mut requests: RequestStream<ForwardRequest>,
    mut sink: DuplexSink<ForwardReply>,
) {
    let first = requests.next().await;
    let opened = match first {
        Some(Ok(request)) if request.has_opening() => {
            let opened = opening::check_member(&node, &caller, request.get_opening());
            opened.map(|_| request.get_opening().get_from_peer_id().to_owned())
        }
        _ => Err(opening::missing()),
    };
    let peer_id = match opened {
        Ok(peer_id) => peer_id,
        Err(status) => {
            // The other side has gone when this fails.
            let _ = sink.fail(status).await;
            return;
        }
    };
    sink.enhance_batch(true);
    let replies = Arc::new(Outbox::new(usize::MAX, usize::MAX));
    // Bounded by what is in work.
    let _ = replies.push(done(0), 0);
    let mut served = Served {
        link: node.delivery().link_next(),
        peer_id,
        node,
        replies,
        in_work: Arc::default(),
        admin: FuturesUnordered::new(),
    };
    let ended = poll_fn(|cx| served.poll(&mut requests, &mut sink, cx)).await;
    let lost = Input::RemoteLost(served.link);
    served.node.delivery().input(lost);
    if ended.is_ok() {
        let _ = sink.close().await;
    }
}

impl<V: View + Clone + Send + Sync + 'static> Served<V> {
    fn poll(
        &mut self,
        requests: &mut RequestStream<ForwardRequest>,
        sink: &mut DuplexSink<ForwardReply>,
        cx: &mut Context<'_>,
    ) -> Poll<grpcio::Result<()>> {
        let (mut requests, mut sink) = (Pin::new(requests), Pin::new(sink));
        self.replies.register(cx.waker());
        while self.in_work.load(Ordering::Acquire) < limits::FORWARD_SERVED_MAX {
            match requests.as_mut().poll_next(cx)? {
                Poll::Ready(Some(request)) => self.request(request),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        while let Poll::Ready(Some(reply)) = self.admin.poll_next_unpin(cx) {
            reply_with(&self.replies, &self.in_work, reply);
        }
        while sink.as_mut().poll_ready(cx)?.is_ready() {
            let Some(reply) = self.replies.pop() else {
                let _ = sink.as_mut().poll_flush(cx)?;
                break;
            };
            sink.as_mut().start_send((reply, WriteFlags::default()))?;
        }
        Poll::Pending
    }

    fn request(&mut self, request: ForwardRequest) {
        let id = request.get_id();
        if !request.get_principal().is_empty() {
            self.note(&request);
        }
        self.in_work.fetch_add(1, Ordering::AcqRel);
        let node = self.node.clone();
        match request.ask {
            Some(Ask::proposal(proposal)) => self.propose(id, proposal),
            Some(Ask::consumer(report)) => self.report(id, report),
            Some(Ask::consumer_gone(consumer)) => {
                let (link, report) = (self.link, Report::Left(consumer));
                node.delivery().input(Input::Remote { link, report });
                self.reply(done(id));
            }
            Some(Ask::add_member(ask)) => self.admin.push(Box::pin(async move {
                let (peer_id, address) = (ask.get_peer_id(), ask.get_address());
                let is_own_request = ask.get_is_own_request();
                let added = node.add_member_here(peer_id, address, is_own_request);
                result(id, added.await)
            })),
            Some(Ask::remove_member(ask)) => self.admin.push(Box::pin(async move {
                result(id, node.remove_member_here(ask.get_peer_id()).await)
            })),
            Some(Ask::transfer_leader(ask)) => self.admin.push(Box::pin(async move {
                result(id, node.transfer_here(ask.get_peer_id()).await)
            })),
            Some(Ask::set_address(ask)) => self.admin.push(Box::pin(async move {
                let set = node.set_address_here(ask.get_peer_id(), ask.get_address());
                result(id, set.await)
            })),
            Some(Ask::hold_level(ask)) => self.admin.push(Box::pin(async move {
                result(
                    id,
                    node.hold_level_here(ask.get_hold())
                        .await
                        .map_err(Into::into),
                )
            })),
            Some(Ask::cluster_view(_)) => self.reply(self.view(id)),
            Some(Ask::consumers_view(ask)) => self.consumers(id, &ask),
            Some(Ask::verify_state(ask)) => self.admin.push(Box::pin(async move {
                of_verdict(id, node.verdict(ask.get_mark_id()).await)
            })),
            Some(Ask::peer_status(_)) => self.admin.push(Box::pin(async move {
                match own_status(&node).await {
                    Ok(status) => answer(id, Reply::peer_status(status)),
                    Err(error) => failed(id, &error, false),
                }
            })),
            Some(Ask::opening(_)) | None => {
                let error = Error::invalid("ask", "must be one that this version knows");
                self.reply(failed(id, &error, false));
            }
        }
    }

    /// Notes for whom the work of an admin is done here. The peer that the admin talks to
    /// has judged the call, and notes what came of it.
    fn note(&self, request: &ForwardRequest) {
        let what = match &request.ask {
            Some(Ask::add_member(_)) => "add a member",
            Some(Ask::remove_member(_)) => "remove a member",
            Some(Ask::transfer_leader(_)) => "transfer leadership",
            Some(Ask::set_address(_)) => "set the address of a member",
            _ => "another request",
        };
        let who: String = request
            .principal
            .chars()
            .take(limits::PRINCIPAL_LEN_MAX)
            .collect();
        slog::info!(self.node.network().logger(), "audit"; "who" => who, "from" => &self.peer_id,
            "method" => what, "outcome" => "asked here by another peer");
    }

    fn reply(&self, reply: ForwardReply) {
        reply_with(&self.replies, &self.in_work, reply);
    }

    fn propose(&self, id: u64, proposal: ForwardProposal) {
        // The log must hold only what every replica can decode.
        let (units, topic) = match decode_command(proposal.get_command()) {
            Ok(command) => {
                let topic = rides_with(&command, wall_ns()).map(ToString::to_string);
                (command.units(), topic)
            }
            Err(error) => {
                let error = Error::invalid("command", format!("must decode: {error}"));
                return self.reply(failed(id, &error, false));
            }
        };
        let status = self.node.handle().status();
        if let Err(error) = self
            .node
            .admit(&status, units, proposal.get_command().len())
        {
            return self.reply(failed(id, &error, false));
        }
        let until = match proposal.get_answer_when_accepted() {
            true => Until::Accepted,
            false => Until::Applied,
        };
        let (replies, in_work) = (Arc::clone(&self.replies), Arc::clone(&self.in_work));
        let local = Local {
            command: proposal.command,
            units,
            topic,
            term: None,
            until,
        };
        self.node.propose_here(local, move |result| {
            let reply = match result {
                Ok(Proposed::Applied(outcome)) => {
                    answer(id, Reply::outcome(encode_outcome(&outcome)))
                }
                Ok(Proposed::Accepted(accepted)) => of_accepted(id, accepted),
                Err(error) => proposal_failed(id, error),
            };
            reply_with(&replies, &in_work, reply);
        });
    }

    fn report(&self, id: u64, report: peer::ConsumerReport) {
        let status = self.node.handle().status();
        if status.leader != status.raft_id || !status.leader_ready {
            return self.reply(proposal_failed(id, ProposeError::NotLeader));
        }
        let fits = (1..=z4_core::limits::CONSUMER_LEN_MAX).contains(&report.get_consumer().len());
        let namespace = match Namespace::new(report.get_namespace()) {
            Ok(namespace) if fits => namespace,
            Ok(_) => {
                let error = Error::invalid("consumer", "is too long or empty");
                return self.reply(failed(id, &error, false));
            }
            Err(refusal) => return self.reply(failed(id, &refusal.into(), false)),
        };
        let report = ConsumerReport {
            consumer: report.get_consumer().to_owned(),
            namespace,
            received_total: report.get_received_total(),
            allowed_total: report.get_allowed_total(),
            lease_ms: report.get_lease_ms(),
        };
        let (replies, in_work) = (Arc::clone(&self.replies), Arc::clone(&self.in_work));
        let taken = move || reply_with(&replies, &in_work, done(id));
        let delivery = self.node.delivery();
        if delivery.remote_report(self.link, Report::There(report), taken) {
            return;
        }
        let error = Error::Busy {
            what: "the queue of deliveries".into(),
            retry_after_ms: 100,
        };
        self.reply(failed(id, &error, false));
    }

    fn consumers(&self, id: u64, ask: &peer::ConsumersView) {
        let namespace = match Namespace::new(ask.get_namespace()) {
            Ok(namespace) => namespace,
            Err(refusal) => return self.reply(failed(id, &refusal.into(), false)),
        };
        let (replies, in_work) = (Arc::clone(&self.replies), Arc::clone(&self.in_work));
        self.node.delivery().consumers(namespace, move |view| {
            let reply = match view {
                Some(view) => {
                    let mut message = peer::ConsumersViewReply::default();
                    message.set_consumers(view.consumers);
                    message.set_room(view.room);
                    answer(id, Reply::consumers(message))
                }
                None => proposal_failed(id, ProposeError::NotLeader),
            };
            reply_with(&replies, &in_work, reply);
        });
    }

    fn view(&self, id: u64) -> ForwardReply {
        let status = self.node.handle().status();
        if status.leader != status.raft_id {
            return proposal_failed(id, ProposeError::NotLeader);
        }
        let mut view = peer::ClusterViewReply::default();
        for (raft_id, progress) in &status.progress {
            let mut member = peer::MemberView::default();
            member.set_raft_id(*raft_id);
            member.set_match_index(progress.match_index);
            member.set_alive(progress.alive);
            member.set_silent_ms(progress.silent_ms);
            if let Some(said) = status.said_levels.get(raft_id) {
                member.set_levels(levels::to_message(said));
            }
            view.mut_members().push(member);
        }
        answer(id, Reply::view(view))
    }
}

fn reply_with(replies: &Outbox<ForwardReply>, in_work: &AtomicUsize, reply: ForwardReply) {
    mark("forward.reply");
    let bytes = reply.compute_size() as usize;
    in_work.fetch_sub(1, Ordering::AcqRel);
    // Fails only when the stream has ended.
    let _ = replies.push(reply, bytes);
}

fn answer(id: u64, answer: Reply) -> ForwardReply {
    let mut reply = ForwardReply::default();
    reply.set_id(id);
    reply.answer = Some(answer);
    reply
}

fn done(id: u64) -> ForwardReply {
    answer(id, Reply::done(true))
}

fn failed(id: u64, error: &Error, not_leader: bool) -> ForwardReply {
    answer(id, Reply::error(error.to_forward(not_leader)))
}

/// Whether nothing was done, so that the follower may try again elsewhere, is
/// part of the answer.
fn proposal_failed(id: u64, error: ProposeError) -> ForwardReply {
    let is_of_clock = matches!(error, ProposeError::Clock(_));
    let again = matches!(
        error,
        ProposeError::NotLeader
            | ProposeError::Superseded
            | ProposeError::Stopping
            | ProposeError::Removed
            | ProposeError::NotJoined
    );
    let mut error = Error::of_proposal(error, false).to_forward(again || is_of_clock);
    error.set_clock_refuses(is_of_clock);
    answer(id, Reply::error(error))
}

fn of_accepted(id: u64, at: Appended) -> ForwardReply {
    let mut message = peer::Accepted::default();
    message.set_index(at.index);
    message.set_stamp_ns(at.stamp_ns);
    message.set_unit_first(at.unit_first);
    answer(id, Reply::accepted(message))
}

fn of_verdict(id: u64, verdict: Result<Verdict, String>) -> ForwardReply {
    match verdict {
        Ok(verdict) => {
            let mut reply = peer::VerdictReply::default();
            reply.set_index(verdict.index);
            reply.set_state_hash(verdict.state_hash.to_be_bytes().to_vec());
            reply.set_rows(verdict.rows);
            reply.set_violations(verdict.violations.into());
            answer(id, Reply::verdict(reply))
        }
        Err(why) => failed(id, &Error::Unavailable(why), false),
    }
}

fn result(id: u64, result: Result<(), crate::admin::AdminError>) -> ForwardReply {
    match result {
        Ok(()) => done(id),
        Err(error) => failed(id, &error.error, error.not_leader),
    }
}
