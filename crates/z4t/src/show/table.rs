//! Tables for people.

/// Columns as wide as their widest cell, two spaces between them.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut lines = vec![header.map(str::to_owned)];
    lines.extend(rows);
    let width = |column: usize| lines.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for row in &lines {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A name and a value on each line; lines without a value are left out.
pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().filter(|(_, v)| !v.is_empty()).collect();
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs
        .into_iter()
        .map(|(name, value)| format!("{name:<width$}  {value}\n"))
        .collect()
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
    fn pairs_without_a_value_are_left_out() {
        let shown = pairs([
            ("a", "1".into()),
            ("b", String::new()),
            ("long", "2".into()),
        ]);
        assert_eq!(shown, "a     1\nlong  2\n");
    }
}
