//! What sessions propose, tried again by the rules that they give.

use z4_consensus::proposals::Asked;
use z4_consensus::replica::Input as ToReplica;
use z4_consensus::ProposeError;
use z4_core::{Command, Outcome};
use z4_delivery::{Failure, Input, Retry, Settled, Ticket};
use z4_proto::command::encode_command;

use crate::peer::{Life, Token};
use crate::world::{Event, World, MS};

/// A proposal that is not settled.
#[derive(Debug)]
pub(super) struct Tried {
    command: Vec<u8>,
    retry: Retry,
    /// By true time.
    give_up_ns: u64,
    /// Which try is under way.
    attempt: u64,
    maybe_before: bool,
}

impl World {
    pub(super) fn session_propose(
        &mut self,
        life: Life,
        ticket: Ticket,
        command: &Command,
        retry: Retry,
    ) {
        let wall_ns = self.clocks(life.0).wall_ns;
        let patience_ns = match retry {
            Retry::Here { .. } => u64::MAX / 4,
            Retry::Once { patience_ns } | Retry::Repeat { patience_ns } => patience_ns,
            Retry::RepeatUntil { wall_ns: until_ns } => until_ns.saturating_sub(wall_ns),
        };
        let tried = Tried {
            command: encode_command(command),
            retry,
            give_up_ns: self.now_ns.saturating_add(patience_ns),
            attempt: 0,
            maybe_before: false,
        };
        let Some(shell) = self.shell(life.0) else {
            return;
        };
        shell.proposals.insert(ticket, tried);
        self.session_try(life, ticket);
    }

    /// Another try.
    pub(crate) fn session_try(&mut self, life: Life, ticket: Ticket) {
        self.attempts += 1;
        let attempt = self.attempts;
        let Some(shell) = self.shell(life.0) else {
            return;
        };
        let Some(tried) = shell.proposals.get_mut(&ticket) else {
            return;
        };
        tried.attempt = attempt;
        let command = tried.command.clone();
        let only_in = match tried.retry {
            Retry::Here { term } => Some(term),
            _ => None,
        };
        let token = Token::Session {
            life,
            ticket,
            attempt,
            only_in,
        };
        // The budget of proposals may be used up at any time, without any fault.
        if only_in.is_some() && self.one_in(60) {
            self.saw("a dispatcher's proposal found the queue full");
            let error = ProposeError::Busy {
                what: "the budget of proposals in flight",
                retry_after_ms: 100,
            };
            return self.session_failed(life, ticket, attempt, &error);
        }
        if only_in.is_some() {
            let asked = Asked {
                command,
                units: 0,
                token,
            };
            return self.input(life.0, ToReplica::Propose(vec![asked]));
        }
        self.within(
            1_000,
            4_000,
            Event::TryTimeout {
                life,
                ticket,
                attempt,
            },
        );
        self.forward(life.0, command, 0, token);
    }

    /// No answer came in time: it may have been done.
    pub(crate) fn try_timeout(&mut self, life: Life, ticket: Ticket, attempt: u64) {
        self.session_failed(life, ticket, attempt, &ProposeError::Unknown);
    }

    /// The answer to a try is on its way to the peer that asked.
    pub(crate) fn session_answered(
        &mut self,
        from: u64,
        token: Token,
        result: Result<Outcome, ProposeError>,
    ) {
        let Token::Session {
            life,
            ticket,
            attempt,
            ..
        } = token
        else {
            return;
        };
        let result = Box::new(result);
        let event = Event::Tried {
            life,
            ticket,
            attempt,
            result,
        };
        if let Some(delay_ns) = self.call(from, life.0) {
            self.at(delay_ns, event);
        }
    }

    pub(crate) fn tried(
        &mut self,
        life: Life,
        ticket: Ticket,
        attempt: u64,
        result: Result<Outcome, ProposeError>,
    ) {
        match result {
            Ok(outcome) => {
                let Some(tried) = self.take_try(life, ticket, attempt) else {
                    return;
                };
                let maybe_before = tried.maybe_before;
                if maybe_before {
                    self.saw("a session's proposal was repeated in doubt");
                }
                let result = Ok(Settled {
                    outcome,
                    maybe_before,
                });
                self.session_input(life.0, Input::Proposed(ticket, result));
            }
            Err(error) => self.session_failed(life, ticket, attempt, &error),
        }
    }

    /// The proposal of a try that is still under way.
    fn take_try(&mut self, life: Life, ticket: Ticket, attempt: u64) -> Option<Tried> {
        let proposals = &mut self.shell(life.0)?.proposals;
        proposals
            .get(&ticket)
            .filter(|tried| tried.attempt == attempt)?;
        proposals.remove(&ticket)
    }

    fn session_failed(&mut self, life: Life, ticket: Ticket, attempt: u64, error: &ProposeError) {
        if !self.lives(life) {
            return;
        }
        let Some(mut tried) = self.take_try(life, ticket, attempt) else {
            return;
        };
        let is_unknown = *error == ProposeError::Unknown;
        tried.maybe_before |= is_unknown;
        let may_repeat = match tried.retry {
            Retry::Here { .. } => false,
            Retry::Once { .. } => !is_unknown,
            Retry::Repeat { .. } | Retry::RepeatUntil { .. } => true,
        };
        if may_repeat && self.now_ns < tried.give_up_ns {
            tried.attempt = 0;
            if let Some(shell) = self.shell(life.0) {
                shell.proposals.insert(ticket, tried);
            }
            return self.at(40 * MS, Event::TryAgain { life, ticket });
        }
        let text = format!("{error:?}");
        let failure = match tried.maybe_before {
            true => Failure::Unknown(text),
            false => Failure::NotDone(text),
        };
        let result = Err(failure);
        self.session_input(life.0, Input::Proposed(ticket, result));
    }
}
