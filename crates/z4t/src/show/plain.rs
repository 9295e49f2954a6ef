//! Text from outside that can neither break a line nor command the terminal.

use std::borrow::Cow;
use std::io::Write;

/// Spells out what a terminal obeys or hides: control characters, line separators,
/// and the marks that turn the direction of writing.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_odd) {
        return Cow::Borrowed(text);
    }
    let mut spelt = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_odd(c) {
            true => spelt.extend(c.escape_default()),
            false => spelt.push(c),
        }
    }
    Cow::Owned(spelt)
}

fn is_odd(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The last line of defence of all output: a control character that is still in
/// it, lines and tabs excepted, is written as JSON spells it. In JSON, which may
/// hold some of them raw, the value stays the same.
pub(crate) struct Plain<W>(pub W);

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let Ok(text) = std::str::from_utf8(bytes) else {
            // Nothing of ours is cut inside a character or is no text.
            return self.0.write(bytes);
        };
        let is_command = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        if !text.contains(is_command) {
            return self.0.write(bytes);
        }
        let mut plain = String::with_capacity(text.len() + 16);
        for c in text.chars() {
            match is_command(c) {
                true => plain.push_str(&format!("\\u{:04x}", u32::from(c))),
                false => plain.push(c),
            }
        }
        self.0.write_all(plain.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_spelt_out() {
        assert_eq!(escape("grüße"), Cow::Borrowed("grüße"));
        assert_eq!(escape("a\n\u{1b}[2J\u{9b}"), "a\\n\\u{1b}[2J\\u{9b}");
        assert_eq!(escape("txt.\u{202e}exe"), "txt.\\u{202e}exe");
    }

    #[test]
    fn json_stays_what_it_was_and_is_plain() {
        let value = serde_json::json!({"a": "\u{9b}2J\u{7f}\u{1b}\n", "b": "ü"});
        let mut bytes = Vec::new();
        writeln!(Plain(&mut bytes), "{value:#}").unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(
            !text.contains(|c: char| c.is_control() && c != '\n'),
            "{text:?}"
        );
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, value);
    }
}
