//! The blocks of a PEM file (RFC 7468), each with the line at which it begins.
//!
//! OpenSSL reads a block, and says of a bad one neither its place nor its kind. People
//! who took a key for a certificate, or pasted half of a block, need both.

/// More than any chain of certificates has; a file that is larger is none.
pub(crate) const LEN_MAX: u64 = 1024 * 1024;

/// A block: from `-----BEGIN` to the end of the line of `-----END`.
pub(crate) struct Block<'a> {
    /// Its kind: `CERTIFICATE`, `PRIVATE KEY`.
    pub kind: &'a str,
    /// The line of its beginning, from 1 on.
    pub line: usize,
    /// All of it.
    pub text: &'a [u8],
}

/// All blocks of a file, in order; else the line and what is wrong there.
pub(crate) fn blocks(text: &[u8]) -> Result<Vec<Block<'_>>, String> {
    let mut found = Vec::new();
    let mut open: Option<(&str, usize, usize)> = None;
    let mut offset = 0;
    for (at, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let number = at + 1;
        let begins = offset;
        offset += line.len();
        let Ok(words) = std::str::from_utf8(line) else {
            return Err(format!(
                "line {number} is not text; give a file in PEM form, which begins with \
                 -----BEGIN (openssl x509 -inform DER -in FILE makes one from DER)"
            ));
        };
        let words = words.trim();
        if let Some(kind) = label(words, "-----BEGIN ") {
            if let Some((_, line, _)) = open {
                return Err(format!(
                    "line {number} begins a block, and the one of line {line} has no end"
                ));
            }
            open = Some((kind, number, begins));
        } else if let Some(kind) = label(words, "-----END ") {
            let Some((opened, line, from)) = open.take() else {
                return Err(format!("line {number} ends a block that has no beginning"));
            };
            if opened != kind {
                return Err(format!(
                    "line {number} ends a block {kind:?}, and line {line} begins {opened:?}"
                ));
            }
            found.push(Block {
                kind: opened,
                line,
                text: &text[from..offset],
            });
        }
    }
    match open {
        Some((_, line, _)) => Err(format!(
            "the block of line {line} has no end; the file was cut off"
        )),
        None => Ok(found),
    }
}

fn label<'a>(line: &'a str, begin: &str) -> Option<&'a str> {
    line.strip_prefix(begin)?.strip_suffix("-----")
}
