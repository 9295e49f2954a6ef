//! Settings, and the flood.

use super::Walk;
use crate::command::{
    Command, CreateTasks, Due, LeaseTasks, NamespacePatch, NewTask, SetNamespace, Taker,
};
use crate::limits;
use crate::settings::{Kind, SETTINGS};
use crate::state::RateLimit;
use crate::task::Namespace;

/// One step in so many begins a flood.
const FLOOD_ONE_IN: u64 = 10_000;

impl Walk {
    /// One or a few settings, most of them such that they matter to a few
    /// tasks in a few seconds.
    pub(super) fn set(&mut self) -> Command {
        let mut patch = NamespacePatch::default();
        for _ in 0..self.dice.between(1, 3) {
            let dice = &mut self.dice;
            // One more than there are settings: the pause.
            let place = dice.below(SETTINGS.len() as u64 + 1) as usize;
            match SETTINGS.get(place).map(|setting| &setting.kind) {
                Some(Kind::Span(values) | Kind::Count(values)) => {
                    (values.give)(&mut patch, dice.one_of(values.few));
                }
                Some(Kind::Small(values)) => (values.give)(&mut patch, dice.one_of(values.few)),
                Some(Kind::Rate(values)) => {
                    let rate = RateLimit {
                        count: dice.one_of(values.few).count,
                        period_ms: dice.one_of(values.few).period_ms,
                    };
                    (values.give)(&mut patch, rate);
                }
                None => patch.paused = Some(dice.one_in(3)),
            }
        }
        let namespace = self.space();
        Command::SetNamespace(SetNamespace { namespace, patch })
    }

    /// The step of a flood, if there is one: more tasks than one lease command
    /// or one pulse takes, which then are leased, die or go with their namespace.
    pub(super) fn flood_step(&mut self) -> Option<Vec<Command>> {
        let Some((namespace, age)) = self.flood.take() else {
            if self.dice.one_in(FLOOD_ONE_IN) {
                let namespace = self.space();
                self.flood = Some((namespace.clone(), 0));
                return Some(self.flood_begin(namespace));
            }
            return None;
        };
        if age < 6 {
            self.flood = Some((namespace.clone(), age + 1));
        }
        Some(match age {
            0..=5 => {
                let taker = Taker {
                    consumer: "flood".into(),
                    room: 700,
                };
                let lease = LeaseTasks {
                    namespace,
                    takers: vec![taker; 2],
                    lease_ms: 10,
                    ahead_ms: 0,
                };
                let lease = Command::LeaseTasks(lease);
                self.dice
                    .one_of(&[vec![lease.clone()], vec![Command::Pulse, lease]])
            }
            _ => vec![Command::DeleteNamespace(namespace), Command::Pulse],
        })
    }

    fn flood_begin(&mut self, namespace: Namespace) -> Vec<Command> {
        let patch = NamespacePatch {
            pending_max: Some(0),
            bytes_max: Some(0),
            leased_max: Some(0),
            rate: Some(RateLimit::NONE),
            backoff_min_ms: Some(0),
            backoff_max_ms: Some(self.dice.one_of(&[0, 10_000])),
            dead_keep_ms: Some(self.dice.one_of(&[0, 1])),
            paused: Some(false),
            ..NamespacePatch::default()
        };
        let task = NewTask {
            due: Due::Now,
            ttl_ms: self.dice.one_of(&[0, 1, 20, 60_000]),
            ..NewTask::default()
        };
        let count = limits::PULSE_COUNT_MAX + self.dice.below(200) as usize;
        let create = CreateTasks {
            namespace: namespace.clone(),
            request_id: "flood".into(),
            tasks: vec![task; count],
        };
        vec![
            Command::SetNamespace(SetNamespace { namespace, patch }),
            Command::CreateTasks(create),
        ]
    }
}
