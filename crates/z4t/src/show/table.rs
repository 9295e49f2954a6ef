//! Tables for people.

use super::escape;
use crate::limits;

/// Columns as wide as their widest cell, two spaces between them. Control
/// characters in cells are spelt out.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut lines = vec![header.map(str::to_owned)];
    lines.extend(
        rows.into_iter()
            .map(|row| row.map(|cell| escape(&cell).into_owned())),
    );
    let width = |column: usize| lines.iter().map(|row| width(&row[column])).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for row in &lines {
        let start = text.len();
        for (cell, width) in row.iter().zip(widths) {
            padded(&mut text, cell, width + 2);
        }
        // Nothing follows the last cell that is not empty.
        text.truncate(start + text[start..].trim_end().len());
        text.push('\n');
    }
    text
}

/// A name and a value on each line; lines without a value are left out. Control
/// characters in values are spelt out.
pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().filter(|(_, v)| !v.is_empty()).collect();
    let width = pairs.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in pairs {
        padded(&mut text, name, width + 2);
        text.push_str(&escape(&value));
        text.push('\n');
    }
    text
}

/// How wide a cell makes its column.
fn width(cell: &str) -> usize {
    cell.chars().take(limits::COLUMN_WIDTH_MAX).count()
}

/// Appends a cell and blanks up to `width`. Not by way of the formatting macros:
/// their widths end at 65,535, with a panic.
fn padded(text: &mut String, cell: &str, width: usize) {
    text.push_str(cell);
    let blanks = width.saturating_sub(self::width(cell));
    text.extend(std::iter::repeat_n(' ', blanks));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["a", "1"], ["grüße", "22"]].map(|row| row.map(str::to_owned));
        assert_eq!(
            table(["NAME", "N"], rows),
            "NAME   N\na      1\ngrüße  22\n"
        );
    }

    #[test]
    fn a_cell_of_any_length_stands_whole_and_widens_no_other_line() {
        let long = "x".repeat(70_000);
        for (cell, count) in [(&long, 1), (&"ü".repeat(1 << 20), 2)] {
            let rows = [[cell.as_str(), "1"], ["a", "2"]].map(|row| row.map(str::to_owned));
            let text = table(["NAME", "N"], rows);
            let lines: Vec<_> = text.lines().collect();
            assert!(lines[1].starts_with(cell.as_str()), "{count}");
            assert!(lines[1].ends_with("  1"), "{count}");
            assert_eq!(lines[2].len(), limits::COLUMN_WIDTH_MAX + 3);
        }
        let shown = pairs([("name", long.clone())]);
        assert_eq!(shown, format!("name  {long}\n"));
    }

    #[test]
    fn no_cell_commands_the_terminal() {
        let rows = [["\u{1b}[2J", "a\nb"]].map(|row| row.map(str::to_owned));
        assert_eq!(
            table(["NAME", "N"], rows),
            "NAME       N\n\\u{1b}[2J  a\\nb\n"
        );
        assert_eq!(pairs([("a", "\r".into())]), "a  \\r\n");
    }

    #[test]
    fn pairs_without_a_value_are_left_out() {
        let shown = pairs([
            ("a", "1".into()),
            ("b", String::new()),
            ("long", "2".into()),
        ]);
        assert_eq!(shown, "a     1\nlong  2\n");
    }
}
