//! Reasons in words.

use super::Reason;
use crate::task::DeathReason;
use crate::time::MS_NS;

impl Reason {
    /// For a person to read at machine time `now_ns`, with numbers and with what
    /// can be done. Times are told from now.
    #[must_use]
    pub fn text(&self, now_ns: u64) -> String {
        let until = |at_ns: u64| span(at_ns.saturating_sub(now_ns));
        let since = |at_ns: u64| span(now_ns.saturating_sub(at_ns));
        match self {
            Self::Deleting { left } => {
                format!("its namespace is being deleted, the task with it; {left} tasks are left")
            }
            Self::Dead {
                at_ns,
                reason,
                failures,
                last_error,
                forget_at_ns,
            } => {
                let why = match reason {
                    DeathReason::Attempts => format!("it failed {}", times(*failures)),
                    DeathReason::Ttl => "it waited longer than its time to live".into(),
                    DeathReason::Permanent => {
                        "a consumer said that no try will ever succeed".into()
                    }
                };
                let kept = match forget_at_ns {
                    Some(at_ns) => format!("; it is forgotten in {}", until(*at_ns)),
                    None => String::new(),
                };
                format!(
                    "it is a dead letter for {}, because {why}{}{kept}; redrive it to try again, or purge it",
                    since(*at_ns),
                    said(last_error),
                )
            }
            Self::Leased {
                consumer,
                attempt,
                deadline_ns,
            } => {
                let who = match consumer_id(consumer) {
                    "" => "a stream of GetTaskStream".into(),
                    id => format!("consumer {id}"),
                };
                if *deadline_ns <= now_ns {
                    let over = since(*deadline_ns);
                    return format!("{who} held it, attempt {attempt}; the lease ended {over} ago and is being taken back");
                }
                let left = until(*deadline_ns);
                format!("{who} holds it, attempt {attempt}, for another {left} at most")
            }
            Self::Paused { since_ns } => format!(
                "deliveries of its namespace are paused for {}; resume the namespace",
                since(*since_ns)
            ),
            Self::NoConsumer { last_ns: None } => {
                "no consumer is connected, and none ever took a task of its namespace".into()
            }
            Self::NoConsumer {
                last_ns: Some(last_ns),
            } => format!(
                "no consumer is connected; the last delivery was {} ago",
                since(*last_ns)
            ),
            Self::LeasedMax { leased, most } => format!(
                "leased_max is reached: {leased} of {most} leases are live; one must end first"
            ),
            Self::NoCredit { consumers } => format!(
                "{} all that was asked for; one must ack or ask for more",
                counted(*consumers, "consumer has", "consumers have")
            ),
            Self::NotDue { due_at_ns } => format!("it is due in {}", until(*due_at_ns)),
            Self::Backoff {
                due_at_ns,
                failures,
                last_error,
            } => format!(
                "it failed {} and is tried again in {}{}",
                times(*failures),
                until(*due_at_ns),
                said(last_error)
            ),
            Self::Returned { due_at_ns, returns } => format!(
                "consumers that had it in hand gave it back {} in a row without a word of what went wrong; it comes again in {}",
                times(*returns),
                until(*due_at_ns)
            ),
            Self::RateLimit { next_at_ns, rate } => format!(
                "the rate limit of {rate} is used up; the next delivery may be in {}",
                until(*next_at_ns)
            ),
            Self::Behind(ahead) if ahead.at_least == ahead.at_most => format!(
                "{} before it",
                counted(ahead.at_most, "due task comes", "due tasks come")
            ),
            Self::Behind(ahead) => format!(
                "at least {} due tasks come before it, at most {}",
                ahead.at_least, ahead.at_most
            ),
        }
    }
}

/// The part of a consumer's name that its client chose; empty for streams of
/// GetTaskStream.
fn consumer_id(consumer: &str) -> &str {
    consumer.split('~').next().unwrap_or_default()
}

fn said(error: &str) -> String {
    if error.is_empty() {
        return String::new();
    }
    format!("; the last error was: {error}")
}

fn times(count: u32) -> String {
    match count {
        1 => "once".into(),
        count => format!("{count} times"),
    }
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A span in its two largest units.
fn span(ns: u64) -> String {
    // What is left of a wait is not told as nothing.
    let ms = ns.div_ceil(MS_NS);
    let units = [
        (24 * 3_600_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
        (1, "ms"),
    ];
    let Some(first) = units.iter().position(|(unit_ms, _)| ms >= *unit_ms) else {
        return "0 ms".into();
    };
    let (unit_ms, unit) = units[first];
    let (whole, rest_ms) = (ms / unit_ms, ms % unit_ms);
    match units.get(first + 1) {
        // Milliseconds do not matter beside ten seconds.
        Some((next_ms, next)) if rest_ms >= *next_ms && (*next != "ms" || whole < 10) => {
            format!("{whole} {unit} {} {next}", rest_ms / next_ms)
        }
        _ => format!("{whole} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_two_units() {
        const S: u64 = 1_000_000_000;
        let table = [
            (0, "0 ms"),
            (1, "1 ms"),
            (120 * MS_NS, "120 ms"),
            (S, "1 s"),
            (1_500 * MS_NS, "1 s 500 ms"),
            (12 * S + 7, "12 s"),
            (14 * 60 * S, "14 m"),
            (3 * 3_600 * S + 125 * S, "3 h 2 m"),
            (50 * 3_600 * S, "2 d 2 h"),
        ];
        for (ns, text) in table {
            assert_eq!(span(ns), text, "{ns}");
        }
    }
}
