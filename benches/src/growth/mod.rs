//! `growth`: what a cluster does, and what it takes, as the tasks that wait, the
//! namespaces, the consumers and the tasks that were consumed before become more.
//!
//! Each row of the table has three peers of its own. The first row is the base, in each
//! of the others one thing has grown, and the last one is the base again: its ratios say
//! how much the machine itself changes meanwhile.

mod audit;
mod footprint;
mod point;
mod table;

use std::fs;
use std::path::PathBuf;

use structopt::StructOpt;

use crate::report::Report;
pub use footprint::memory;
pub use table::Table;

/// The first number of each list is the base; each further one is a row of its own, in
/// which nothing else has grown.
#[derive(StructOpt)]
pub struct Plan {
    /// Tasks that wait, due in a year.
    #[structopt(long, use_delimiter = true, default_value = "0,1000000,10000000")]
    backlog: Vec<u64>,
    /// Namespaces, each with a task that waits when there are several.
    #[structopt(long, use_delimiter = true, default_value = "1,10000")]
    namespaces: Vec<u64>,
    /// Consumers, in the namespaces in turn.
    #[structopt(long, use_delimiter = true, default_value = "4,1000")]
    consumers: Vec<u64>,
    /// Tasks that were created and consumed before.
    #[structopt(long, use_delimiter = true, default_value = "0,10000000")]
    consumed: Vec<u64>,
    /// All of these but the base are multiplied with it.
    #[structopt(long, default_value = "1")]
    scale: f64,
    /// How long each rate is measured, and for how long tasks fall due.
    #[structopt(long, default_value = "10")]
    seconds: f64,
    /// Tasks that fall due in a second while lateness is measured.
    #[structopt(long, default_value = "2000")]
    due_per_s: u64,
    #[structopt(long, default_value = "256")]
    payload_bytes: usize,
    /// Repeats the due times of a run that printed it.
    #[structopt(long)]
    seed: Option<u64>,
    /// A file for the figures, written anew after each row.
    #[structopt(long, parse(from_os_str))]
    csv: Option<PathBuf>,
}

/// The sizes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Tasks that wait.
    pub backlog: u64,
    /// Namespaces, one at least.
    pub namespaces: u64,
    /// Consumers, one at least.
    pub consumers: u64,
    /// Tasks consumed before.
    pub consumed: u64,
}

/// Measures all rows, and writes the file anew after each.
///
/// # Errors
/// When a row fails or is not what it should be, with the figures of the rows before it
/// in the file; or when the file cannot be written.
pub fn run(plan: &Plan) -> Result<Table, String> {
    let mut table = Table::default();
    let points = points(plan)?;
    let length = crate::length(plan.seconds)?;
    for (nth, (name, point)) in points.iter().enumerate() {
        eprintln!("row {} of {}: {name}", nth + 1, points.len());
        let figures =
            point::measure(plan, length, point).map_err(|why| format!("{name}: {why}"))?;
        eprintln!("  {}", figures.clone().into_value());
        table.add(name, figures);
        if let Some(path) = &plan.csv {
            let written = fs::write(path, table.csv());
            written.map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    Ok(table)
}

/// The rows by name. One alone is not measured twice.
fn points(plan: &Plan) -> Result<Vec<(String, Point)>, String> {
    let lists = [
        ("waiting", &plan.backlog),
        ("namespaces", &plan.namespaces),
        ("consumers", &plan.consumers),
        ("consumed before", &plan.consumed),
    ];
    let first = |list: &[u64], least: u64| match list.first() {
        Some(count) => Ok((*count).max(least)),
        None => Err("a list without a number".to_owned()),
    };
    let base = Point {
        backlog: first(&plan.backlog, 0)?,
        namespaces: first(&plan.namespaces, 1)?,
        consumers: first(&plan.consumers, 1)?,
        consumed: first(&plan.consumed, 0)?,
    };
    let mut points = vec![("base".to_owned(), base)];
    for (at, (what, counts)) in lists.into_iter().enumerate() {
        for count in counts.iter().skip(1) {
            let count = (*count as f64 * plan.scale).round() as u64;
            let mut point = base;
            match at {
                0 => point.backlog = count,
                1 => point.namespaces = count.max(1),
                2 => point.consumers = count.max(1),
                _ => point.consumed = count,
            }
            points.push((format!("{} {what}", grouped(count)), point));
        }
    }
    if points.len() > 1 {
        points.push(("base again".to_owned(), base));
    }
    Ok(points)
}

/// A number as people write it, with a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The figures of a point with what the point has, for programs that read them.
fn described(point: &Point) -> Report {
    let mut report = Report::default();
    report
        .add("backlog", point.backlog)
        .add("namespaces", point.namespaces)
        .add("consumers", point.consumers)
        .add("consumed", point.consumed);
    report
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn plan() -> Plan {
        Plan {
            backlog: vec![0, 1_000_000],
            namespaces: vec![1],
            consumers: vec![4, 1_000],
            consumed: vec![0],
            scale: 0.01,
            seconds: 0.0,
            due_per_s: 0,
            payload_bytes: 0,
            seed: None,
            csv: None,
        }
    }

    #[test]
    fn one_thing_grows_in_each_row_and_the_base_comes_twice() {
        let found = points(&plan()).unwrap();
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["base", "10,000 waiting", "10 consumers", "base again"]
        );
        let base = found[0].1;
        assert_eq!(
            found[1].1,
            Point {
                backlog: 10_000,
                ..base
            }
        );
        assert_eq!(
            found[2].1,
            Point {
                consumers: 10,
                ..base
            }
        );
        assert_eq!(found[3].1, base);
    }

    #[test]
    fn a_base_alone_is_measured_once() {
        let alone = Plan {
            backlog: vec![7],
            consumers: vec![4],
            ..plan()
        };
        let found = points(&alone).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1.backlog, 7);
        let empty = Plan {
            backlog: Vec::new(),
            ..alone
        };
        assert!(points(&empty).is_err());
    }

    #[test]
    fn numbers_have_commas() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(10_000_000), "10,000,000");
    }
}
