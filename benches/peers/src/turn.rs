//! A turn of a system: it is started in a folder of its own, does every work, and is
//! ended before the next one is started. Those that wait would take processor time from
//! the one that is measured.

use std::path::PathBuf;
use std::time::Duration;

use crate::disk::synced_write_ms;
use crate::measure::{measure, Figures};
use crate::servers::Servers;
use crate::system::{text, System};
use crate::work::{Life, Work};

/// What to do, the same for every system.
pub struct Plan {
    /// The works, in this order.
    pub works: Vec<Work>,
    /// How long each is measured.
    pub length: Duration,
    /// How long each goes on before that.
    pub warm_up: Duration,
    /// Where the folders of the systems are made; none: where temporary files are.
    pub folder: Option<PathBuf>,
}

/// What a turn found.
pub struct Turn {
    /// What a synced write took before, in milliseconds.
    pub synced_write_ms: f64,
    /// The works that were done, and what they gave.
    pub figures: Vec<(Work, Figures)>,
    /// The works that could not be done, and why.
    pub failures: Vec<(Work, String)>,
}

/// Whether a system can do a work at all.
pub fn can_do<S: System>(work: &Work) -> bool {
    match work.life {
        Life::Created => true,
        Life::Batches => S::HAS_BATCHES,
        Life::Whole => S::HAS_CONSUMERS,
    }
}

/// Starts a system, does every work it can do, and ends it.
///
/// # Errors
/// When it cannot be started.
pub async fn turn<S: System>(plan: &Plan, next_run: &mut u64) -> Result<Turn, String> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("z4-peers-");
    let folder = match &plan.folder {
        Some(folder) => builder.tempdir_in(folder),
        None => builder.tempdir(),
    };
    let folder = folder.map_err(text)?;
    let synced_write_ms = synced_write_ms(folder.path())?;
    let mut servers = Servers::new(folder.path());
    let system = S::start(&mut servers, folder.path()).await?;
    let mut turn = Turn {
        synced_write_ms,
        figures: Vec::new(),
        failures: Vec::new(),
    };
    for work in plan.works.iter().filter(|work| can_do::<S>(work)) {
        *next_run += 1;
        let times = (plan.warm_up, plan.length);
        match measure(&system, &mut servers, *work, times, *next_run).await {
            Ok(figures) => turn.figures.push((*work, figures)),
            Err(why) => turn.failures.push((*work, why)),
        }
    }
    servers.stop();
    Ok(turn)
}
