//! Rows as bytes for a fingerprint: every integer of fixed width, least byte
//! first, every text with its length before it, every kind with its tag. The
//! standard `Hash` is no help: what it feeds depends on the compiler.

use xxhash_rust::xxh3::Xxh3;

use crate::access::{Grant, Principal, Token};
use crate::command::CreatedTask;
use crate::settings::{Kind, Setting, SETTINGS};
use crate::state::{NamespaceConfig, NamespaceCounts, NamespaceRow, RateWindow, Row, RowKey};
use crate::task::{Phase, TaskBody, TaskId, TaskStatus, WallTime};

pub(super) struct Fingerprint(pub(super) Xxh3);

impl Fingerprint {
    pub(super) fn row(&mut self, key: &RowKey, row: &Row) {
        self.key(key);
        match row {
            Row::Meta(meta) => self.numbers(&[
                1,
                meta.stamp_ns,
                u64::from(meta.namespace_next),
                meta.forget_from_ns,
                meta.timer_from_ns,
            ]),
            Row::Namespace(row) => self.namespace(row),
            Row::Body(body) => self.body(body),
            Row::Status(status) => self.status(status),
            Row::Due {
                touched,
                bytes,
                max_attempts,
                ttl_ms,
            } => {
                let max_attempts = u64::from(*max_attempts);
                self.numbers(&[5, u64::from(*touched), *bytes, max_attempts, *ttl_ms]);
            }
            Row::Lease { consumer, token } => {
                self.numbers(&[6, token.0]);
                self.text(consumer);
            }
            Row::Dead => self.numbers(&[9]),
            Row::Timer => self.numbers(&[10]),
            Row::Request(row) => {
                self.numbers(&[7, row.tasks.len() as u64, row.expires_at_ns]);
                self.0.update(&row.content_hash.to_le_bytes());
                for CreatedTask { id, deliver_at } in &row.tasks {
                    self.id(*id);
                    self.wall_time(*deliver_at);
                }
            }
            Row::RequestExpiry => self.numbers(&[8]),
            Row::Principal(principal) => self.principal(principal),
        }
    }

    fn key(&mut self, key: &RowKey) {
        match key {
            RowKey::Meta => self.numbers(&[1]),
            RowKey::Namespace(name) => {
                self.numbers(&[2]);
                self.text(name.as_str());
            }
            RowKey::Body(namespace, id) => {
                self.numbers(&[3, u64::from(namespace.0)]);
                self.id(*id);
            }
            RowKey::Status(namespace, id) => {
                self.numbers(&[4, u64::from(namespace.0)]);
                self.id(*id);
            }
            RowKey::Due {
                namespace,
                rank,
                due_at_ns,
                id,
            } => {
                self.numbers(&[5, u64::from(namespace.0), u64::from(*rank), *due_at_ns]);
                self.id(*id);
            }
            RowKey::Lease {
                deadline_ns,
                namespace,
                id,
            } => {
                self.numbers(&[6, *deadline_ns, u64::from(namespace.0)]);
                self.id(*id);
            }
            RowKey::Request {
                namespace,
                request_id,
            } => {
                self.numbers(&[7, u64::from(namespace.0)]);
                self.text(request_id);
            }
            RowKey::RequestExpiry {
                expires_at_ns,
                namespace,
                request_id,
            } => {
                self.numbers(&[8, *expires_at_ns, u64::from(namespace.0)]);
                self.text(request_id);
            }
            RowKey::Dead {
                namespace,
                at_ns,
                id,
            } => {
                self.numbers(&[9, u64::from(namespace.0), *at_ns]);
                self.id(*id);
            }
            RowKey::Timer {
                at_ns,
                namespace,
                id,
            } => {
                self.numbers(&[10, *at_ns, u64::from(namespace.0)]);
                self.id(*id);
            }
            RowKey::End => self.numbers(&[11]),
            RowKey::Principal(name) => {
                self.numbers(&[12]);
                self.text(name.as_str());
            }
        }
    }

    fn namespace(&mut self, row: &NamespaceRow) {
        // Whole patterns: a field that is added cannot be forgotten here.
        let NamespaceRow {
            id,
            config,
            counts,
            queues,
            paused_at_ns,
            deleting,
            dead_from,
            rate_tat_ns,
            window: RateWindow { before, last },
            lateness_mean_ns,
            leased_at_ns,
        } = row;
        self.numbers(&[2, u64::from(id.0)]);
        self.config(config);
        self.counts(counts);
        for head in queues {
            self.numbers(&[head.count, head.consumed_ns, head.cursor.0]);
            self.id(head.cursor.1);
        }
        for number in [paused_at_ns.is_some().into(), paused_at_ns.unwrap_or(0)] {
            self.numbers(&[number]);
        }
        self.numbers(&[deleting.is_some().into()]);
        self.id(deleting.unwrap_or_default());
        self.numbers(&[dead_from.0]);
        self.id(dead_from.1);
        for mark in [before, last] {
            self.numbers(&[mark.at_ns, mark.created, mark.deliveries, mark.done]);
        }
        self.numbers(&[*rate_tat_ns, *lateness_mean_ns, *leased_at_ns]);
    }

    fn config(&mut self, config: &NamespaceConfig) {
        let mut number = |setting: &Setting, value: u64| match (setting.is_later(), value) {
            (false, _) => self.numbers(&[value]),
            (true, 0) => {}
            (true, _) => self.numbers(&[u64::from(setting.number), value]),
        };
        for setting in SETTINGS {
            match &setting.kind {
                Kind::Span(values) | Kind::Count(values) => number(setting, (values.of)(config)),
                Kind::Small(values) => number(setting, (values.of)(config).into()),
                Kind::Rate(values) => number(setting, (values.of)(config).count.into()),
            }
        }
        // A limit per second counts as it did before there were longer periods.
        if !config.rate.is_per_s() {
            self.numbers(&[config.rate.period_ms]);
        }
    }

    fn counts(&mut self, counts: &NamespaceCounts) {
        let NamespaceCounts {
            created,
            pending,
            leased,
            done,
            dead,
            cancelled,
            purged,
            deliveries,
            failures,
            bytes,
        } = counts;
        self.numbers(&[
            *created,
            *pending,
            *leased,
            *done,
            *dead,
            *cancelled,
            *purged,
            *deliveries,
            *failures,
            *bytes,
        ]);
    }

    fn body(&mut self, body: &TaskBody) {
        self.numbers(&[3, body.metadata.len() as u64]);
        for (key, value) in &body.metadata {
            self.text(key);
            self.text(value);
        }
        self.bytes(&body.payload);
        self.wall_time(body.deliver_at);
        let priority = u64::from(body.priority.get());
        let max_attempts = u64::from(body.max_attempts);
        self.numbers(&[body.due_at_ns, body.created_at_ns, priority]);
        self.numbers(&[max_attempts, body.ttl_ms]);
    }

    fn status(&mut self, status: &TaskStatus) {
        let (deliveries, failures) = (status.deliveries, status.failures);
        self.numbers(&[
            4,
            u64::from(deliveries),
            u64::from(failures),
            status.first_due_at_ns,
            u64::from(status.priority.get()),
            status.bytes,
            u64::from(status.max_attempts),
            status.ttl_ms,
        ]);
        // A task that was never returned counts as it did before returns were
        // counted.
        if status.returns > 0 {
            self.numbers(&[u64::from(status.returns)]);
        }
        self.text(&status.last_error);
        match &status.phase {
            Phase::Waiting { due_at_ns } => self.numbers(&[1, *due_at_ns]),
            Phase::Leased {
                consumer,
                token,
                deadline_ns,
            } => {
                self.numbers(&[2, token.0, *deadline_ns]);
                self.text(consumer);
            }
            Phase::Dead {
                at_ns,
                reason,
                forget_at_ns,
            } => self.numbers(&[3, *at_ns, *reason as u64, *forget_at_ns]),
        }
    }

    fn principal(&mut self, principal: &Principal) {
        let Principal {
            grants,
            names,
            tokens,
        } = principal;
        self.numbers(&[12, grants.len() as u64]);
        for Grant { role, scope } in grants {
            self.numbers(&[*role as u64]);
            self.text(scope.as_str());
        }
        self.numbers(&[names.len() as u64]);
        for name in names {
            self.text(name);
        }
        self.numbers(&[tokens.len() as u64]);
        for token in tokens {
            let Token {
                id,
                secret_hash,
                created_at_ns,
                expires_at_ns,
            } = token;
            self.numbers(&[*id, *created_at_ns, *expires_at_ns]);
            self.0.update(secret_hash);
        }
    }

    fn numbers(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.0.update(&number.to_le_bytes());
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.numbers(&[bytes.len() as u64]);
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn id(&mut self, id: TaskId) {
        self.0.update(id.as_bytes());
    }

    fn wall_time(&mut self, at: WallTime) {
        self.0.update(&at.seconds.to_le_bytes());
        self.0.update(&at.nanos.to_le_bytes());
    }
}
