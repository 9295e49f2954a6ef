//! The z4 server: a thin binary that reads its options, wires the crates
//! together and stops them in order.
//!
//! | module | what lives there |
//! |---|---|
//! | `options` | variables and flags |
//! | `logging` | structured logs |
//! | `allocator` | what the allocator of the C library is told |
//! | `descriptors` | how many file descriptors there are, and what for |
//! | `membership` | storage opened; a cluster founded when asked |
//! | `assembly` | what a peer does that is in no cluster and was told where others are |
//! | `access` | whether clients are asked who they are, and the token of the first admin |
//! | `backups` | what the services may ask of storage for backups, and how old the last one is |
//! | `certificates` | what the ports show, read again while the peer runs |
//! | `crowds` | memory after many connections have closed |
//! | `disk` | free space of the volumes, and what is done when there is little |
//! | `restore` | a backup that becomes the beginning of a new cluster |
//! | `recover` | work on the disks of a peer whose cluster has lost its quorum for good |
//! | `facts`, `system` | what the peer says of itself and its machine when it is asked |
//! | `peer` | the crates wired into a peer, and the order of stopping |
//! | `status_server` | `/metrics`, `/healthz`, `/readyz` |
//! | `standing` | how far the peer has come, for the status server |
//! | `task_metrics`, `cluster_metrics`, `process_metrics` | gauges that are read when a scraper asks |
//! | `shutdown` | signals, and the limit on stopping |

mod access;
mod allocator;
mod assembly;
mod backups;
mod certificates;
mod cluster_metrics;
mod crowds;
mod descriptors;
mod disk;
mod facts;
mod limits;
mod logging;
mod membership;
mod options;
mod peer;
mod process_metrics;
mod recover;
mod restore;
mod shutdown;
mod standing;
mod status_server;
mod system;
mod task_metrics;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use prometheus::Registry;
use slog::{crit, info, warn, Logger};
use z4_rpc::accept::ConnectionMetrics;
use z4_rpc::PortTls;

use crate::backups::BackupAge;
use crate::certificates::Certificates;
use crate::descriptors::Budget;
use crate::membership::Opened;
use crate::options::{Offline, OnRemoved, Options, Told};
use crate::peer::{Peer, PeerPorts};
use crate::shutdown::{Signals, Stop};
use crate::standing::Standing;

fn main() -> ExitCode {
    // Before there are threads.
    allocator::give_back_what_is_free();
    // gRPC has a line for each stranger whose handshake fails, and they would fill the log. It
    // reads this when it starts.
    if std::env::var_os("GRPC_VERBOSITY").is_none() {
        std::env::set_var("GRPC_VERBOSITY", "NONE");
    }
    // In every profile, as in the release: the other threads would go on serving
    // beside the one that is gone, and what it served would hang.
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        say(panic);
        std::process::abort();
    }));
    let options = match Options::read(std::env::args_os()) {
        Ok(Told::Run(options)) => options,
        Ok(Told::Print(text)) => {
            // Whoever asked for it may have gone.
            let _ = writeln!(std::io::stdout(), "{text}");
            return ExitCode::SUCCESS;
        }
        Err(complaint) => {
            // With no standard error there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "z4-server: {complaint}");
            return ExitCode::from(2);
        }
    };
    #[cfg(feature = "failpoints")]
    z4_consensus::fault::from_environment();
    // Before anything is opened.
    let budget = match descriptors::give_out(&options) {
        Ok(budget) => budget,
        Err(complaint) => {
            let _ = writeln!(std::io::stderr(), "z4-server: {complaint}");
            return ExitCode::from(2);
        }
    };
    let (logger, guard) = logging::start(options.debug_logging_enabled, &options.peer_id);
    let done = match &options.offline {
        None => run(&options, &budget, &logger),
        Some(Offline::Restore(from)) => restore::run(from, &options, &budget, &logger),
        Some(Offline::Recover(step)) => recover::run(step, &options, &budget, &logger),
    };
    let code = match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            crit!(logger, "cannot go on"; "reason" => reason);
            ExitCode::FAILURE
        }
    };
    // Waits for the last lines to be written; no thread that logs is left out,
    // for the guard ends the queue whoever holds it.
    drop(guard);
    code
}

/// Runs the peer until it is told to stop.
fn run(options: &Options, budget: &Budget, logger: &Logger) -> Result<(), String> {
    let mut signals = Signals::catch().map_err(|e| format!("cannot catch signals: {e}"))?;
    info!(logger, "starting"; "version" => env!("CARGO_PKG_VERSION"),
        "db_dir" => options.db_data_dir.display().to_string(),
        "peer_dir" => options.peer_data_dir.display().to_string(),
        "descriptors_max" => budget.limit, "connections_max" => budget.clients.count_max,
        "connections_per_address_max" => budget.clients.per_address_max);
    let registry = Registry::new();
    let standing = Arc::new(Standing::new(&registry, budget.limit).map_err(|e| e.to_string())?);
    let connections = ConnectionMetrics::new(&registry).map_err(|e| e.to_string())?;
    crowds::watch(connections.clone()).map_err(|e| format!("no thread for crowds: {e}"))?;
    let certificates = Certificates::read(&options.tls, &registry)?;
    if let Some(warning) = options.tls.warning(options.bind()) {
        warn!(logger, "Z4_INSECURE is set"; "warning" => warning,
            "bind_addr" => options.bind().to_string());
    }
    let tls = certificates.service.clone();
    serve_status(options, &standing, &connections, tls, logger)?;
    let waits = |what: &str| standing.waits_for(what);
    if let Some(signal) = disk::wait_for_room(options, &mut signals, waits, logger) {
        info!(logger, "stopped before there was room"; "signal" => signal);
        return Ok(());
    }
    standing.waits_for("opens its databases");
    let store = match membership::open(options, budget, &registry, logger)? {
        Opened::Ready(store) => store,
        Opened::Removed(removed) => {
            standing.is_removed(&removed);
            warn!(logger, "this peer was removed from its cluster"; "remedy" => removed);
            if options.join.on_removed == OnRemoved::Wait {
                let signal = signals.wait();
                info!(logger, "stopped"; "signal" => signal);
            }
            return Ok(());
        }
    };
    let ports = PeerPorts {
        clients: budget.clients,
        descriptors_max: budget.limit,
        metrics: connections,
        certificates,
    };
    let backup_age = BackupAge::read(&store, &registry, logger);
    let removed_text = membership::removed_text(options);
    let stop = (options.join.on_removed == OnRemoved::Exit).then(|| signals.stop());
    let on_removed = on_removed(stop, &removed_text, logger);
    let peer = Peer::start(
        options,
        ports,
        &store,
        &backup_age,
        on_removed,
        &registry,
        logger,
    )?;
    standing.runs(&store, &peer, backup_age, removed_text);
    let signal = signals.wait();
    info!(logger, "stopping"; "signal" => signal);
    shutdown::limit(logger);
    peer.stop();
    info!(logger, "stopped");
    Ok(())
}

/// The hook for a peer that learns that it was removed from its cluster: it says so, and
/// stops if it has what to stop by.
fn on_removed(stop: Option<Stop>, removed: &str, logger: &Logger) -> Arc<dyn Fn() + Send + Sync> {
    let (removed, logger) = (removed.to_owned(), logger.clone());
    Arc::new(move || {
        warn!(logger, "this peer was removed from its cluster"; "remedy" => &removed);
        if let Some(stop) = &stop {
            stop.begin();
        }
    })
}

/// Answers scrapers and probes on the metrics port.
fn serve_status(
    options: &Options,
    standing: &Arc<Standing>,
    connections: &ConnectionMetrics,
    tls: Option<PortTls>,
    logger: &Logger,
) -> Result<(), String> {
    let (ready, metrics) = (Arc::clone(standing), Arc::clone(standing));
    let removed = Arc::clone(standing);
    let sources = status_server::Sources {
        ready: Box::new(move || ready.ready()),
        removed: Box::new(move || removed.removed()),
        metrics: Box::new(move || metrics.metrics()),
    };
    let address = (options.bind(), options.metrics_port).into();
    let complaint = "is it taken? set Z4_METRICS_PORT";
    let connections = connections.clone();
    status_server::start(address, sources, connections, tls, logger.clone())
        .map(drop)
        .map_err(|e| format!("cannot open the metrics port {address}: {e}; {complaint}"))
}
