//! The rows beside each other: a table for people, and lines for programs.

use serde_json::Value;

use crate::report::Report;

/// The figures that are compared: what a report calls them, what the table does, and the
/// digits behind the point.
const COLUMNS: [(&str, &str, usize); 12] = [
    ("create_per_s", "creates/s", 0),
    ("create_cpu_us_per_task", "CPU us", 0),
    ("cycle_per_s", "cycles/s", 0),
    ("cycle_cpu_us_per_task", "CPU us", 0),
    ("lateness_p50_ms", "late p50 ms", 2),
    ("lateness_p99_ms", "late p99 ms", 2),
    ("rss_mib", "RSS MiB", 0),
    ("rss_peak_mib", "peak MiB", 0),
    ("disk_mib", "disk MiB", 0),
    ("serving_s", "serving s", 2),
    ("first_create_s", "first create s", 2),
    ("disk_sync_p50_ms", "a sync ms", 2),
];

/// Rows of figures.
#[derive(Default)]
pub struct Table(Vec<(String, Report)>);

impl Table {
    /// Adds a row.
    pub fn add(&mut self, name: &str, figures: Report) {
        self.0.push((name.to_owned(), figures));
    }

    /// All figures, by row.
    #[must_use]
    pub fn report(self) -> Report {
        let mut report = Report::default();
        for (name, figures) in self.0 {
            report.add_part(&name, figures);
        }
        report
    }

    /// A table in Markdown. Behind each figure stands its ratio to that of the first row.
    #[must_use]
    pub fn text(&self) -> String {
        let values: Vec<Value> = self.values().collect();
        let mut lines = vec![vec!["row".to_owned()]];
        lines[0].extend(COLUMNS.iter().map(|(_, title, _)| (*title).to_owned()));
        for ((name, _), value) in self.0.iter().zip(&values) {
            let mut line = vec![name.clone()];
            for (figure, _, digits) in COLUMNS {
                let first = values.first().and_then(|first| first[figure].as_f64());
                line.push(cell(value[figure].as_f64(), first, digits));
            }
            lines.push(line);
        }
        let width = |at: usize| lines.iter().map(|line| line[at].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..=COLUMNS.len()).map(width).collect();
        let mut text = String::new();
        for (nth, line) in lines.iter().enumerate() {
            for (at, (cell, width)) in line.iter().zip(&widths).enumerate() {
                text += &match at {
                    0 => format!("| {cell:<width$} |"),
                    _ => format!(" {cell:>width$} |"),
                };
            }
            text.push('\n');
            if nth == 0 {
                for (at, width) in widths.iter().enumerate() {
                    text += &match at {
                        0 => format!("|{:-<1$}|", "", width + 2),
                        _ => format!("{:-<1$}:|", "", width + 1),
                    };
                }
                text.push('\n');
            }
        }
        text
    }

    /// All figures as lines of values, with their names in the first.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut text = String::new();
        for ((name, _), value) in self.0.iter().zip(self.values()) {
            let Value::Object(figures) = value else {
                continue;
            };
            if text.is_empty() {
                let names: Vec<&str> = figures.keys().map(String::as_str).collect();
                text += &format!("row,{}\n", names.join(","));
            }
            let numbers: Vec<String> = figures.values().map(Value::to_string).collect();
            text += &format!("\"{name}\",{}\n", numbers.join(","));
        }
        text
    }

    fn values(&self) -> impl Iterator<Item = Value> + '_ {
        self.0
            .iter()
            .map(|(_, figures)| figures.clone().into_value())
    }
}

fn cell(value: Option<f64>, first: Option<f64>, digits: usize) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    match first.filter(|first| *first > 0.0) {
        Some(first) => format!("{value:.digits$} ({:.2})", value / first),
        None => format!("{value:.digits$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::default();
        for (name, rate) in [("base", 200.0), ("1,000 waiting", 150.0)] {
            let mut figures = Report::default();
            figures.add("create_per_s", rate).add("disk_mib", 0);
            table.add(name, figures);
        }
        table
    }

    #[test]
    fn a_figure_has_its_ratio_to_the_first_row() {
        let text = table().text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[2].contains(" 200 (1.00) |"), "{text}");
        assert!(lines[3].contains(" 150 (0.75) |"), "{text}");
        // A ratio to nothing says nothing, and a figure that is not there is no figure.
        assert!(
            lines[3].contains(" 0 |") && lines[3].contains(" - |"),
            "{text}"
        );
        assert!(
            lines.iter().all(|line| line.len() == lines[0].len()),
            "{text}"
        );
    }

    #[test]
    fn lines_for_programs_have_the_names_once() {
        let csv = table().csv();
        assert_eq!(
            csv,
            "row,create_per_s,disk_mib\n\"base\",200.0,0\n\"1,000 waiting\",150.0,0\n"
        );
    }
}
