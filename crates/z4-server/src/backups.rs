//! Backups: what the services may ask of storage for them, and how old the last one is.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use prometheus::{Gauge, Registry};
use slog::{warn, Logger};
use z4_rpc::backup::{Cut, Origin};
use z4_rpc::StateHooks;
use z4_storage::{LastBackup, Moment, Store};

use crate::peer::{end_process, wall_clock_ns};

/// The age of the last backup that this peer sent to its end.
pub(crate) struct BackupAge {
    last: Mutex<Option<LastBackup>>,
    registry: Registry,
    /// Shown from the first backup on: an age of none would look like a backup of just now.
    gauge: OnceLock<Gauge>,
}

impl BackupAge {
    /// The age as an earlier process noted it. A note that cannot be read is as none, because
    /// nothing but this figure hangs on it.
    pub(crate) fn read(store: &Store, registry: &Registry, logger: &Logger) -> Arc<Self> {
        let last = store.registrar().last_backup().unwrap_or_else(|error| {
            warn!(logger, "the note of the last backup cannot be read, so its age is not shown";
                "error" => error.to_string());
            None
        });
        Arc::new(Self {
            last: Mutex::new(last),
            registry: registry.clone(),
            gauge: OnceLock::new(),
        })
    }

    fn set(&self, last: LastBackup) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    }

    /// The age as of now; `None`: this peer never sent a backup to its end.
    pub(crate) fn now(&self) -> Option<Duration> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let age_ns = wall_clock_ns().saturating_sub(last?.at_ns);
        Some(Duration::from_nanos(age_ns))
    }

    /// Reads the age into its gauge, if there is one.
    ///
    /// # Errors
    /// When the registry has another gauge of this name.
    pub(crate) fn sample(&self) -> prometheus::Result<()> {
        let Some(age) = self.now() else {
            return Ok(());
        };
        let gauge = match self.gauge.get() {
            Some(gauge) => gauge,
            None => {
                let gauge = Gauge::new(
                    "z4_last_backup_age_seconds",
                    "Age of the last backup that this peer sent to its end, by its clock",
                )?;
                self.registry.register(Box::new(gauge.clone()))?;
                self.gauge.get_or_init(|| gauge)
            }
        };
        gauge.set(age.as_secs_f64());
        Ok(())
    }
}

/// The place of a moment in the log, and whose log that is.
fn cut(moment: &Moment) -> Cut {
    Cut {
        cluster_id: moment.membership.cluster_id,
        term: moment.position.term,
        index: moment.position.index,
        level: moment.membership.level,
    }
}

/// The hooks by which the services ask storage.
pub(crate) fn hooks(store: &Store, age: &Arc<BackupAge>, logger: &Logger) -> StateHooks {
    let (view, of_origin) = (store.view(), store.view());
    let (registrar, age, logger) = (store.registrar(), Arc::clone(age), logger.clone());
    StateHooks {
        at_once: Arc::new(move |read| {
            view.at_once(|moment, rows| {
                read(cut(moment), rows);
            });
        }),
        sent: Arc::new(move |index| {
            let at_ns = wall_clock_ns();
            let last = LastBackup { at_ns, index };
            if let Err(error) = registrar.set_last_backup(&last) {
                end_process(&logger, "cannot note the last backup", &error.to_string());
            }
            age.set(last);
        }),
        origin: Arc::new(move || {
            let origin = of_origin.origin()?;
            Ok(origin.map(|origin| Origin {
                cluster_id: origin.cluster_id,
                index: origin.index,
                state_hash: origin.state_hash,
            }))
        }),
    }
}

#[cfg(test)]
mod tests {
    use z4_consensus::log::Position;
    use z4_consensus::Membership;

    use super::*;

    #[test]
    fn a_backup_says_where_in_which_log_it_was_made() {
        let position = Position {
            index: 900,
            term: 7,
        };
        let membership = Membership {
            cluster_id: [3; 16],
            level: 5,
            ..Membership::default()
        };
        let cut = cut(&Moment {
            position,
            membership: Arc::new(membership),
        });
        assert_eq!((cut.index, cut.term, cut.level), (900, 7, 5));
        assert_eq!(cut.cluster_id, [3; 16]);
    }
}
