//! The results as text: a table for each work, then the ratios, then what went wrong.

use crate::results::{OfSystem, Results, COLUMNS};
use crate::work::Work;

/// A number with as many digits as say something.
#[must_use]
pub fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) if value.abs() >= 1.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.3}"),
    }
}

/// All of it.
#[must_use]
pub fn text(results: &Results) -> String {
    let mut text = String::new();
    for work in &results.works {
        text += &of_work(results, work);
    }
    let rows = results.ratios();
    if results.peers().next().is_some() && !rows.is_empty() {
        text += "\nz4 / peer (tasks/s: above 1 z4 is ahead; ms: below 1 z4 is ahead)\n";
        let mut lines = vec![vec!["work".to_owned()]];
        lines[0].extend(results.peers().map(|peer| peer.name.to_owned()));
        for row in rows {
            let mut line = vec![row.name];
            line.extend(row.of_peers.into_iter().map(number));
            lines.push(line);
        }
        text += &aligned(&lines);
    }
    text.push('\n');
    for system in &results.systems {
        text += &format!("{}: {}; {}\n", system.name, system.version, system.setup);
        if let Some(ms) = system.synced_write() {
            text += &format!("  a synced write of one file took {ms:.3} ms before its turns\n");
        }
        for why in &system.left_out {
            text += &format!("  LEFT OUT of a round: {why}\n");
        }
        for fault in &system.faults {
            text += &format!("  FAULT {fault}\n");
        }
    }
    text
}

fn of_work(results: &Results, work: &Work) -> String {
    let mut lines = vec![vec![work.name.to_owned()]];
    lines[0].extend(COLUMNS.iter().map(|column| column.name.to_owned()));
    let done = |system: &&OfSystem| system.median(work, &COLUMNS[0]).is_some();
    for system in results.systems.iter().filter(done) {
        let mut line = vec![system.name.to_owned()];
        line.extend(
            COLUMNS
                .iter()
                .map(|column| number(system.median(work, column))),
        );
        lines.push(line);
    }
    format!("\n{}", aligned(&lines))
}

/// Lines of cells, the first to the left and the others to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(at))
            .map(String::len)
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        for (at, cell) in line.iter().enumerate() {
            match at {
                0 => text += &format!("{cell:<width$}", width = widths[0]),
                _ => text += &format!("  {cell:>width$}", width = widths[at]),
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::results::tests::results;

    #[test]
    fn ratios_and_what_is_left_out_are_in_the_text() {
        let text = super::text(&results());
        assert!(text.contains("create-1 tasks/s    0.500"), "{text}");
        assert!(text.contains("LEFT OUT of a round: it is not installed"));
    }
}
