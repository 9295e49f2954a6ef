//! What long-running commands say, on standard error, of waiting for the cluster.

use std::io::Write;

use z4_client::{OnWait, Wait};

/// Says that a command waits and why, and when it is back.
pub(super) fn on_wait() -> OnWait {
    OnWait::new(|wait| {
        // With no standard error there is nobody to tell.
        let _ = match line(&wait) {
            Some(line) => writeln!(std::io::stderr(), "z4t: {line}"),
            None => Ok(()),
        };
    })
}

fn line(wait: &Wait) -> Option<String> {
    match wait {
        Wait::Began(why) => Some(format!("waiting for the cluster: {why}")),
        Wait::Ended(waited) => {
            let seconds = waited.as_secs_f64();
            Some(format!("back after {seconds:.1} s"))
        }
        // Of a newer client.
        _ => None,
    }
}
