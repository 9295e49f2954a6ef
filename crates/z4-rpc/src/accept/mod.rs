//! Connections are accepted here, in front of gRPC, and counted.
//!
//! The listener of gRPC gives up for good when the process has no descriptor
//! left for one more connection, and it has no bound on connections. So each
//! port has a thread that accepts, refuses what is beyond the bounds in total
//! and of one address, and hands every other connection over. A connection that
//! is refused is closed at once: its client learns of it and may come back.
//!
//! | module | what lives there |
//! |---|---|
//! | `listener` | the listening socket |
//! | `connections` | which connections are open, and whether one more may be |
//! | `thread` | the thread that accepts |
//! | `handover` | a server of gRPC that listens nowhere |
//! | `serving` | the server behind a port, and the ones before it |
//! | `raw` | what stands behind a descriptor number |

mod connections;
mod handover;
mod listener;
mod metrics;
mod raw;
mod serving;
mod thread;

pub use connections::ConnectionLimits;
pub use metrics::ConnectionMetrics;
pub use thread::{Acceptor, AcceptorParts, PortWatch};

pub(crate) use serving::{ServerOptions, Services, Serving};
