//! The commands that say who may do what: principals and their tokens.

use std::io::Write;

use data_encoding::HEXLOWER;
use futures::executor::block_on;
use rustix::rand::{getrandom, GetRandomFlags};
use serde_json::json;
use z4_client::{NewToken, Principal};

use super::connect;
use crate::error::Error;
use crate::limits;
use crate::options::{AccessCommand, AccessList, AccessPut, CreateToken, NewRootToken, Output};
use crate::private_file::{Existing, PrivateFile};
use crate::show;

pub(super) fn run(command: &AccessCommand, out: &mut impl Write) -> Result<(), Error> {
    match command {
        AccessCommand::Put(put) => self::put(put, out),
        AccessCommand::Get(which) => {
            let principal = block_on(connect(&which.target)?.get_principal(&which.name))?;
            print(which.output, &principal, out)
        }
        AccessCommand::List(which) => list(which, out),
        AccessCommand::Delete(which) => {
            block_on(connect(&which.target)?.delete_principal(&which.name))?;
            let value = json!({"name": which.name, "deleted": true});
            match which.output {
                Output::Text => writeln!(out, "{} deleted", which.name)?,
                Output::Json => writeln!(out, "{value:#}")?,
            }
            Ok(())
        }
        AccessCommand::CreateToken(create) => create_token(create, out),
        AccessCommand::RevokeToken(which) => {
            let (name, id) = (&which.name, &which.token_id);
            block_on(connect(&which.target)?.revoke_token(name, id))?;
            let value = json!({"principal": name, "id": id, "revoked": true});
            match which.output {
                Output::Text => writeln!(out, "token {} of {name} revoked", show::escape(id))?,
                Output::Json => writeln!(out, "{value:#}")?,
            }
            Ok(())
        }
        AccessCommand::Whoami(which) => {
            let identity = block_on(connect(&which.target)?.who_am_i())?;
            match which.output {
                Output::Text => write!(out, "{}", show::identity_text(&identity))?,
                Output::Json => writeln!(out, "{:#}", show::identity_json(&identity))?,
            }
            Ok(())
        }
        AccessCommand::NewRootToken(new) => new_root_token(new, out),
    }
}

fn put(put: &AccessPut, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(&put.target)?;
    let names = &put.certificate_names;
    let principal = block_on(client.put_principal(&put.name, &put.grants, names))?;
    print(put.output, &principal, out)
}

fn print(output: Output, principal: &Principal, out: &mut impl Write) -> Result<(), Error> {
    match output {
        Output::Text => write!(out, "{}", show::principal_text(principal))?,
        Output::Json => writeln!(out, "{:#}", show::principal_json(principal))?,
    }
    Ok(())
}

fn list(which: &AccessList, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(&which.target)?;
    let (mut principals, mut token) = (Vec::new(), String::new());
    loop {
        let page = block_on(client.principals(limits::PAGE_LEN_MAX, &token))?;
        match which.output {
            Output::Text => principals.extend(page.items),
            Output::Json => {
                for principal in &page.items {
                    writeln!(out, "{}", show::principal_json(principal))?;
                }
            }
        }
        match page.next {
            Some(next) => token = next,
            None => break,
        }
    }
    if which.output == Output::Text {
        write!(out, "{}", show::principal_table(&principals))?;
    }
    Ok(())
}

fn create_token(create: &CreateToken, out: &mut impl Write) -> Result<(), Error> {
    // Before the token is made: a file that cannot be written would lose it.
    let file = create.out.as_deref().map(PrivateFile::begin).transpose()?;
    let client = connect(&create.target)?;
    let token = block_on(client.create_token(&create.name, create.expires_in))?;
    hand_over(create, file, &token, out).map_err(|error| {
        let (id, name) = (show::escape(&token.info.id), &create.name);
        Error::Input(format!(
            "{error}; the token was made and nobody has it: z4t access revoke-token {name} {id}"
        ))
    })
}

fn hand_over(
    create: &CreateToken,
    file: Option<PrivateFile>,
    token: &NewToken,
    out: &mut impl Write,
) -> Result<(), Error> {
    let said = show::new_token_text(&create.name, &token.info);
    let is_on_out = file.is_none();
    if let Some(file) = file {
        let line = format!("{}\n", token.secret());
        file.finish(line.as_bytes(), Existing::Replaced)?;
    }
    match (create.output, is_on_out) {
        (Output::Json, _) => {
            let value = show::new_token_json(&create.name, token, is_on_out);
            writeln!(out, "{value:#}")?;
        }
        (Output::Text, true) => writeln!(out, "{}", token.secret())?,
        (Output::Text, false) => {}
    }
    out.flush()?;
    if create.output == Output::Text {
        let how = match &create.out {
            None => "keep it, for it is not shown again".to_owned(),
            Some(path) => format!("it stands in {}", path.display()),
        };
        // With no standard error there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "z4t: {said}; {}", show::escape(&how));
    }
    Ok(())
}

fn new_root_token(new: &NewRootToken, out: &mut impl Write) -> Result<(), Error> {
    let file = PrivateFile::begin(&new.out)?;
    let token = format!("z4_root_{}\n", HEXLOWER.encode(&random()?));
    file.finish(token.as_bytes(), Existing::Kept)?;
    let path = new.out.display().to_string();
    let path = show::escape(&path);
    Ok(writeln!(
        out,
        "{path} has a root token; start each peer with Z4_AUTH=on and Z4_AUTH_ROOT_TOKEN_FILE={path}"
    )?)
}

/// Bytes that nobody can guess.
fn random() -> Result<[u8; limits::SECRET_LEN], Error> {
    let mut bytes = [0; limits::SECRET_LEN];
    // So few bytes are given whole or not at all.
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(len) if len == bytes.len() => Ok(bytes),
        Ok(_) => Err(Error::Input(
            "the system gives no random bytes; try again".into(),
        )),
        Err(e) => Err(Error::Input(format!(
            "the system gives no random bytes: {e}; try again"
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_root_token_is_made_once_for_its_owner_alone() {
        let folder = tempfile::TempDir::new().unwrap();
        let made = |name: &str| {
            let path = folder.path().join(name);
            let new = NewRootToken { out: path.clone() };
            let mut out = Vec::new();
            new_root_token(&new, &mut out).map(|()| (path, String::from_utf8(out).unwrap()))
        };
        let ((one, said), (two, _)) = (made("one").unwrap(), made("two").unwrap());
        assert!(said.contains("Z4_AUTH_ROOT_TOKEN_FILE="), "{said}");
        let read = |path| std::fs::read_to_string(path).unwrap();
        let hex = read(&one);
        let hex = hex
            .strip_prefix("z4_root_")
            .and_then(|t| t.strip_suffix('\n'));
        let hex = hex.unwrap();
        assert_eq!(hex.len(), 64);
        assert!(hex.bytes().all(|b| b.is_ascii_hexdigit()), "{hex}");
        assert!(!said.contains(hex), "{said}");
        assert_ne!(read(&one), read(&two));
        let mode = one.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let error = made("one").unwrap_err();
        assert!(
            error.to_string().contains("there is a file already"),
            "{error}"
        );
    }
}
