//! The setting that has clients asked who they are, and the token of the first admin.

use std::io::Read;

use z4_rpc::Access;

use crate::options::Options;

/// Bytes of a token that nobody guesses: 32 letters and digits are enough.
const ROOT_TOKEN_LEN_MIN: usize = 32;
/// More than a token has.
const ROOT_TOKEN_LEN_MAX: usize = 4_096;

/// Reads from the options who may do what.
///
/// # Errors
/// The file of the token cannot be read, or what is in it is none: the variable, the file
/// and what to give.
pub(crate) fn read(options: &Options) -> Result<Access, String> {
    if !options.auth {
        return Ok(Access::off());
    }
    let Some(path) = &options.auth_root_token_file else {
        return Ok(Access::on(None));
    };
    let failed = |why: &dyn std::fmt::Display| {
        format!(
            "Z4_AUTH_ROOT_TOKEN_FILE: {}: {why}; z4t access new-root-token --out FILE makes one",
            path.display()
        )
    };
    let file = std::fs::File::open(path).map_err(|e| failed(&e))?;
    let mut text = String::new();
    let mut limited = file.take(ROOT_TOKEN_LEN_MAX as u64 + 1);
    limited.read_to_string(&mut text).map_err(|e| failed(&e))?;
    let token = text.trim();
    let is_one = token.bytes().all(|c| c.is_ascii_graphic());
    if !is_one || !(ROOT_TOKEN_LEN_MIN..=ROOT_TOKEN_LEN_MAX).contains(&token.len()) {
        return Err(failed(&format_args!(
            "there is no token in it: give {ROOT_TOKEN_LEN_MIN} to {ROOT_TOKEN_LEN_MAX} visible \
             ASCII characters on one line"
        )));
    }
    Ok(Access::on(Some(token)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::options::Told;

    fn of(text: Option<&str>) -> Result<Access, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root");
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let path = path.display().to_string();
        let line = [
            "z4-server",
            "--peer-id",
            "a",
            "--auth",
            "on",
            "--auth-root-token-file",
            &path,
        ];
        match Options::read(line) {
            Ok(Told::Run(options)) => read(&options),
            _ => Err("not an option".to_owned()),
        }
    }

    #[test]
    fn a_token_that_is_none_is_named_with_its_file() {
        assert!(of(Some(&format!("{}\n", "a".repeat(32)))).unwrap().is_on());
        for text in [
            None,
            Some(""),
            Some("short"),
            Some(&*"a b".repeat(20)),
            Some(&*"a".repeat(5_000)),
        ] {
            let said = of(text).err().unwrap();
            assert!(said.contains("Z4_AUTH_ROOT_TOKEN_FILE"), "{said}");
            assert!(
                !said.contains("aaaa"),
                "a secret has no place in an error: {said}"
            );
        }
    }
}
