//! Members, rates, lateness and the fullest namespaces, again and again.

use std::cmp::Reverse;
use std::io::{IsTerminal, Write};
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::join_all;
use z4_client::Client;

use super::connect;
use super::survey::survey;
use crate::error::Error;
use crate::options::Top;
use crate::screen::Screen;
use crate::show::{self, Full, Look};

pub(super) fn top(top: &Top, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(&top.target)?;
    match top.once || !std::io::stdout().is_terminal() {
        true => once(&client, top.interval, out),
        false => live(&client, top.interval, out),
    }
}

fn once(client: &Client, interval: Duration, out: &mut impl Write) -> Result<(), Error> {
    let before = block_on(look(client, usize::MAX))?;
    thread::sleep(interval);
    let now = block_on(look(client, usize::MAX))?;
    Ok(write!(out, "{}", show::top_frame(Some(&before), &now))?)
}

/// Draws one frame after the other. A peer that does not answer keeps nobody from leaving.
fn live(client: &Client, interval: Duration, out: &mut impl Write) -> Result<(), Error> {
    let mut screen = Screen::open()?;
    let (mut before, mut now): (Option<Look>, Option<Look>) = (None, None);
    loop {
        let next_at = Instant::now() + interval;
        let lines = screen.lines();
        let mut frame = String::new();
        match screen.unless_over(look(client, lines)) {
            None => return Ok(()),
            Some(Ok(look)) => before = now.replace(look),
            Some(Err(error)) if now.is_none() => return Err(error.into()),
            // The last look stays on the screen, with the reason why it is old.
            Some(Err(error)) => {
                frame = format!("no answer: {}\n", show::escape(error.message()));
            }
        }
        if let Some(now) = &now {
            frame.push_str(&show::top_frame(before.as_ref(), now));
        }
        screen.show(&frame, out)?;
        if screen.is_over_by(next_at) {
            return Ok(());
        }
    }
}

/// Looks at a cluster, for a screen of so many lines.
async fn look(client: &Client, lines: usize) -> Result<Look, z4_client::Error> {
    let survey = survey(client).await?;
    let fits = show::namespaces_that_fit(lines, survey.peers.len());
    let fullest = match survey.namespaces {
        Err(error) => Err(error),
        Ok(mut namespaces) => {
            namespaces.sort_by(|a, b| {
                let (of_a, of_b) = (Reverse(a.counts.pending), Reverse(b.counts.pending));
                of_a.cmp(&of_b).then_with(|| a.name.cmp(&b.name))
            });
            namespaces.truncate(fits);
            let full = namespaces.into_iter().map(|namespace| async move {
                // The namespace may have been removed a moment ago.
                let stats = client.namespace_stats(&namespace.name).await.ok();
                Full {
                    name: namespace.name,
                    counts: namespace.counts,
                    oldest_due_age: stats.and_then(|stats| stats.oldest_due_age),
                }
            });
            Ok(join_all(full).await)
        }
    };
    Ok(Look {
        info: survey.info,
        peers: survey.peers,
        fullest,
        has_more_namespaces: survey.has_more_namespaces,
    })
}
