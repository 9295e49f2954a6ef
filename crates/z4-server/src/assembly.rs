//! The thread of a peer that was told where others are (`Z4_JOIN`). In no cluster it dials
//! them round by round, and does what the rules of [`z4_consensus::assembly`] say. As a member
//! without a leader it dials them too, because the others may all have moved there.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use slog::{info, Logger};
use z4_consensus::assembly::{Assembly, Next, Settings};

use crate::limits::ASSEMBLY_INTERVAL;
use crate::peer::{Standing, Starter};

/// Starts the thread. It ends when the peer stops.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn start(
    settings: Settings,
    starter: &Arc<Starter>,
    logger: &Logger,
) -> std::io::Result<()> {
    let mut round = Rounds {
        assembly: Assembly::new(settings),
        starter: Arc::clone(starter),
        logger: logger.clone(),
        began_at: Instant::now(),
        said: String::new(),
    };
    if starter.standing() == Standing::Waiting {
        round.say("dials the peers of Z4_JOIN");
    }
    thread::Builder::new()
        .name("z4-assembly".into())
        .spawn(move || loop {
            match round.starter.standing() {
                Standing::Waiting => round.next(),
                Standing::Member => {
                    let join = &round.assembly.settings().join;
                    round.starter.node().seek_members(join);
                }
                Standing::Stopped => return,
            }
            thread::sleep(ASSEMBLY_INTERVAL);
        })
        .map(drop)
}

struct Rounds {
    assembly: Assembly,
    starter: Arc<Starter>,
    logger: Logger,
    began_at: Instant,
    /// The reason that was logged last: it is logged when it changes.
    said: String,
}

impl Rounds {
    fn next(&mut self) {
        let network = self.starter.network().clone();
        let answers = network.dial_all(&self.assembly.settings().join);
        match self.assembly.step(self.now_ns(), &answers) {
            Next::Wait { reason } => self.say(&reason),
            // Founding looks again whether a leader has added this peer meanwhile.
            Next::Found => self.starter.found(),
            Next::Ask { address } => {
                if self.starter.standing() != Standing::Waiting {
                    return;
                }
                self.say(&format!("asks the member at {address} to be added"));
                let why = match network.request_membership(&address) {
                    Ok(()) => "this peer is a member, and has not been told so yet".to_owned(),
                    Err(why) => why,
                };
                let now_ns = self.now_ns();
                self.assembly.refused(now_ns, &address, &why);
            }
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.began_at.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn say(&mut self, reason: &str) {
        self.starter.network().assembling().set_waits_for(reason);
        if self.said != reason {
            reason.clone_into(&mut self.said);
            info!(self.logger, "in no cluster yet"; "waits_for" => reason);
        }
    }
}
