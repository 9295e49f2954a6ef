//! Clients on a few tasks: each call takes effect at one moment, and lasts from
//! some time before to some time after.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use z4_check::history::{Call, End, History, Nature, OpId, Reply, Standing};
use z4_check::{index, task};
use z4_core::TaskId;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Absent,
    Waiting,
    Leased,
    Dead,
    Gone,
}

use Place::{Absent, Dead, Gone, Leased, Waiting};

struct Run {
    dice: StdRng,
    history: History,
    indexed: Vec<index::Indexed>,
    now_ns: u64,
    index: u64,
}

impl Run {
    /// A call that takes effect now; `None`: no answer came.
    fn call(&mut self, call: Call, reply: Reply, created: &[TaskId]) -> OpId {
        self.now_ns += 10;
        let begun_ns = self.now_ns - self.dice.gen_range(0..60).min(self.now_ns);
        let ended_ns = self.now_ns + self.dice.gen_range(1..60);
        let client = self.dice.gen_range(0..9);
        let op = self.history.invoke(client, call, begun_ns);
        if self.dice.gen_bool(0.9) {
            if created.is_empty() {
                self.history.acked(op, ended_ns, reply);
            } else {
                self.history.created(op, ended_ns, created);
            }
            self.indexed.push(index::Indexed {
                invoked_ns: begun_ns,
                returned_ns: ended_ns,
                index: self.index,
            });
        }
        op
    }

    /// A call that never takes effect and gets no answer, or a plain no.
    fn lost(&mut self, call: Call) {
        let begun_ns = self.now_ns - self.dice.gen_range(0..60).min(self.now_ns);
        let op = self.history.invoke(9, call, begun_ns);
        if self.dice.gen_bool(0.5) {
            self.history.refused(op, self.now_ns);
        }
    }
}

/// A history of `tasks` tasks with about 20 operations each.
fn run(seed: u64, tasks: u64, nature: Nature) -> Run {
    let mut run = Run {
        dice: StdRng::seed_from_u64(seed),
        history: History::of(nature),
        indexed: Vec::new(),
        now_ns: 1_000,
        index: 1,
    };
    let mut places = vec![Absent; tasks as usize];
    for _ in 0..tasks * 20 {
        let at = run.dice.gen_range(0..places.len());
        let id = TaskId::new(at as u64 + 1, at as u64 + 1, 0);
        let request = at as u64 + 1;
        let place = places[at];
        if nature.leased && run.dice.gen_bool(0.2) {
            // By itself: leased, given back, dead, forgotten.
            places[at] = match place {
                Waiting => Leased,
                Leased if nature.dies && run.dice.gen_bool(0.3) => Dead,
                Leased => Waiting,
                Dead if nature.forgotten => Gone,
                other => other,
            };
            continue;
        }
        run.index += 1;
        let stands = match place {
            Absent | Gone => Standing::Missing,
            Waiting => Standing::Waiting,
            Leased => Standing::Leased,
            Dead => Standing::Dead,
        };
        let calls = [
            (Call::Create { request }, Absent, Waiting),
            (Call::Get(id), Absent, Absent),
            (Call::Get(id), Absent, Absent),
            (Call::Cancel(id), Waiting, Gone),
            (Call::Lease(id), Waiting, Leased),
            (Call::Ack(id, 1), Leased, Gone),
            (Call::Release(id, 1), Leased, Waiting),
            (Call::Redrive(id), Dead, Waiting),
            (Call::Purge(id), Dead, Gone),
        ];
        // A task that is gone says little: mostly it is read.
        let first = if place == Absent {
            0
        } else {
            run.dice.gen_range(0..9)
        };
        let (call, from, to) = calls[first];
        if run.dice.gen_bool(0.05) {
            run.lost(call);
            continue;
        }
        let is_get = matches!(call, Call::Get(_));
        match call {
            Call::Create { .. } => {
                run.call(call, Reply::Done, &[id]);
                if place == Absent {
                    places[at] = Waiting;
                }
            }
            _ if !is_get && place == from => {
                run.call(call, Reply::Done, &[]);
                places[at] = to;
            }
            // A delivery of what is not waiting is no operation.
            Call::Lease(_) => {}
            _ => {
                run.call(call, Reply::Stands(stands), &[]);
            }
        }
    }
    run
}

const STILL: Nature = Nature {
    leased: false,
    dies: false,
    forgotten: false,
    ended: false,
};

fn natures() -> [Nature; 3] {
    let taken = Nature {
        leased: true,
        ..STILL
    };
    let mortal = Nature {
        dies: true,
        forgotten: true,
        ..taken
    };
    [STILL, taken, mortal]
}

#[test]
fn right_histories_pass() {
    let mut operations = 0;
    for nature in natures() {
        for seed in 0..100 {
            let run = run(seed, 20, nature);
            let report = task::check(&run.history, 1_000_000);
            assert!(
                report.violations.is_empty(),
                "{seed}: {:?}",
                report.violations
            );
            assert!(report.gave_up.is_empty());
            assert_eq!(index::check(&run.indexed), Ok(()));
            operations += report.operations;
        }
    }
    assert!(operations > 70_000, "{operations}");
}

/// Of all histories of one task with one answer changed to another that the call
/// can get, at least so many of a hundred must be refused. The rest can be
/// explained: what overlaps may have come first, and what happens by itself may
/// have happened.
#[test]
fn one_changed_answer_is_refused_mostly() {
    for (nature, least) in natures().into_iter().zip([70, 50, 30]) {
        let (mut changed, mut refused) = (0, 0);
        for seed in 0..1_000 {
            let run = run(seed, 1, nature);
            let mut dice = StdRng::seed_from_u64(seed);
            let (mut history, all) = (History::of(nature), run.history.operations());
            let mutable: Vec<usize> = (0..all.len())
                .filter(|at| matches!(all[*at].end, End::Acked { .. }))
                .filter(|at| !matches!(all[*at].call, Call::Create { .. } | Call::Lease(_)))
                .collect();
            if mutable.is_empty() {
                continue;
            }
            let victim = mutable[dice.gen_range(0..mutable.len())];
            for (at, operation) in all.iter().enumerate() {
                let op = history.invoke(operation.client, operation.call, operation.invoked_ns);
                let End::Acked { at_ns, mut reply } = operation.end else {
                    continue;
                };
                if at == victim {
                    reply = another(&mut dice, operation.call, reply);
                }
                let tasks = run.history.tasks(operation);
                if tasks.is_empty() {
                    history.acked(op, at_ns, reply);
                } else {
                    history.created(op, at_ns, tasks);
                }
            }
            changed += 1;
            refused += u64::from(!task::check(&history, 1_000_000).violations.is_empty());
        }
        let rate = refused * 100 / changed;
        println!("{nature:?}: {refused} of {changed} changed histories refused, {rate} %");
        assert!(rate >= least, "{nature:?}: {refused} of {changed}");
    }
}

fn another(dice: &mut StdRng, call: Call, reply: Reply) -> Reply {
    let mut others = vec![
        Reply::Stands(Standing::Waiting),
        Reply::Stands(Standing::Leased),
        Reply::Stands(Standing::Dead),
        Reply::Stands(Standing::Missing),
    ];
    if !matches!(call, Call::Get(_)) {
        others.push(Reply::Done);
    }
    others.retain(|other| *other != reply);
    others[dice.gen_range(0..others.len())]
}
