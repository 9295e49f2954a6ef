//! The search against a plain one that tries every order, on small random
//! histories, right and wrong alike.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use z4_check::history::{Call, Nature, Reply, Standing};
use z4_check::linear::{check, Model, Timed, Verdict};
use z4_check::task::{Places, TaskModel};
use z4_core::TaskId;

type Op = Timed<Call, Reply>;

/// Whether some order of the operations that are left explains the answers.
fn some_order(model: &TaskModel, state: Places, left: &[&Op]) -> bool {
    if left.iter().all(|op| op.end.is_none()) {
        return true;
    }
    let first_end = left.iter().filter_map(|op| Some(op.end.as_ref()?.0)).min();
    (0..left.len()).any(|at| {
        let op = left[at];
        // Another ended before this one began: it goes first.
        if first_end.is_some_and(|end_ns| end_ns < op.invoked_ns) {
            return false;
        }
        let reply = op.end.as_ref().map(|(_, reply)| reply);
        let Some(next) = model.step(&state, &op.call, reply) else {
            return false;
        };
        let mut rest = left.to_vec();
        rest.remove(at);
        some_order(model, next, &rest)
    })
}

fn random_op(dice: &mut StdRng) -> Op {
    let id = TaskId::new(1, 1, 0);
    let call = match dice.gen_range(0..10) {
        0 => Call::Create { request: 0 },
        1 => Call::Create { request: 1 },
        2..=4 => Call::Get(id),
        5 => Call::Cancel(id),
        6 => Call::Lease(id),
        7 => Call::Ack(id, 1),
        8 => Call::Nack(id, 1),
        _ => Call::Redrive(id),
    };
    let standings = [
        Standing::Waiting,
        Standing::Leased,
        Standing::Held,
        Standing::Dead,
        Standing::Present,
        Standing::Missing,
    ];
    let standing = standings[dice.gen_range(0..standings.len())];
    let reply = match call {
        Call::Get(_) => Reply::Stands(standing),
        Call::Create { .. } => Reply::Done,
        _ if dice.gen_bool(0.7) => Reply::Done,
        Call::Nack(..) if dice.gen_bool(0.5) => Reply::Died,
        _ => Reply::Stands(standing),
    };
    // Few times, so that many begin or end at once.
    let invoked_ns = dice.gen_range(0..12);
    let end_ns = invoked_ns + dice.gen_range(0..8);
    Timed {
        client: 0,
        call,
        invoked_ns,
        end: dice.gen_bool(0.8).then_some((end_ns, reply)),
    }
}

#[test]
fn it_finds_an_order_exactly_when_there_is_one() {
    let mut dice = StdRng::seed_from_u64(4);
    let (mut right, mut wrong) = (0, 0);
    for round in 0..20_000 {
        let model = TaskModel {
            nature: Nature {
                leased: dice.gen_bool(0.5),
                dies: dice.gen_bool(0.3),
                forgotten: dice.gen_bool(0.3),
                ended: dice.gen_bool(0.2),
            },
        };
        let mut ops = vec![Timed {
            client: 0,
            call: Call::Create { request: 1 },
            invoked_ns: dice.gen_range(0..4),
            end: Some((5, Reply::Done)),
        }];
        for _ in 0..dice.gen_range(1..6) {
            ops.push(random_op(&mut dice));
        }
        let all: Vec<&Op> = ops.iter().collect();
        let exists = some_order(&model, model.first(), &all);
        let found = check(&model, &ops, u64::MAX).verdict;
        assert_eq!(
            found == Verdict::Linearizable,
            exists,
            "{round}: {ops:?} {found:?}"
        );
        *(if exists { &mut right } else { &mut wrong }) += 1;
    }
    // Both kinds came, so the comparison says something.
    assert!(
        right > 3_000 && wrong > 3_000,
        "{right} right, {wrong} wrong"
    );
}

/// A counter is a model too: the search knows no tasks.
struct Counter;

impl Model for Counter {
    type State = u32;
    type Call = &'static str;
    type Reply = u32;

    fn first(&self) -> u32 {
        0
    }

    fn step(&self, state: &u32, call: &&'static str, reply: Option<&u32>) -> Option<u32> {
        match *call {
            "add" => Some(state + 1),
            _ => (reply.is_none_or(|reply| reply == state)).then_some(*state),
        }
    }
}

#[test]
fn a_long_history_of_many_clients_takes_few_steps() {
    // Four adds at a time, then four reads at a time, 1,000 times over.
    let mut ops = Vec::new();
    for round in 0..1_000_u32 {
        let at_ns = u64::from(round) * 100;
        for client in 0..4 {
            for (call, begin_ns) in [("add", at_ns), ("read", at_ns + 50)] {
                let end = Some((begin_ns + 40, (round + 1) * 4));
                ops.push(Timed {
                    client,
                    call,
                    invoked_ns: begin_ns,
                    end,
                });
            }
        }
    }
    let found = check(&Counter, &ops, 10 * ops.len() as u64);
    assert_eq!(found.verdict, Verdict::Linearizable);
    // One read in the middle is behind by one.
    let at = ops.len() / 2 + 1;
    assert_eq!(ops[at].call, "read");
    ops[at].end = ops[at].end.map(|(at_ns, value)| (at_ns, value - 1));
    let Verdict::Violation(why) = check(&Counter, &ops, 100 * ops.len() as u64).verdict else {
        panic!("not found");
    };
    assert!(why.text.contains("the state is 2004"), "{}", why.text);
    assert_eq!(ops[why.operation].invoked_ns, ops[at].invoked_ns);
}
