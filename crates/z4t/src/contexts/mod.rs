//! Contexts: names for clusters and for how they are reached, so that not every command needs
//! all flags. They stand in a file of the user. It holds paths of tokens, and no token.

mod file;
mod read;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{json, Map, Value};

use crate::error::Error;
use crate::limits;

pub(crate) use file::path;

/// The way to one cluster. What is not given is as without a context.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Context {
    pub targets: Vec<String>,
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub server_name: Option<String>,
    pub token_file: Option<PathBuf>,
}

/// All contexts, and the one that is used unless another is named.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Contexts {
    pub current: Option<String>,
    pub all: BTreeMap<String, Context>,
}

impl Context {
    /// The context as it stands in the file, and as programs are shown it.
    pub(crate) fn json(&self) -> Value {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|p| p.display().to_string());
        let mut fields = Map::new();
        if !self.targets.is_empty() {
            fields.insert("targets".into(), json!(self.targets));
        }
        for (key, value) in [
            ("ca", path(&self.ca)),
            ("cert", path(&self.cert)),
            ("key", path(&self.key)),
            ("server_name", self.server_name.clone()),
            ("token_file", path(&self.token_file)),
        ] {
            if let Some(value) = value {
                fields.insert(key.into(), value.into());
            }
        }
        fields.into()
    }
}

impl Contexts {
    /// The context of this name.
    ///
    /// # Errors
    /// `Usage` with the names that there are.
    pub(crate) fn named(&self, name: &str) -> Result<&Context, Error> {
        self.all.get(name).ok_or_else(|| {
            let names: Vec<_> = self.all.keys().map(String::as_str).collect();
            let others = match names.is_empty() {
                true => "there is none yet; make it by z4t context set".to_owned(),
                false => format!("give one of these: {}", names.join(", ")),
            };
            Error::Usage(format!("there is no context {name:?}; {others}"))
        })
    }

    /// The context that is used when none is named.
    pub(crate) fn current(&self) -> Option<&Context> {
        self.all.get(self.current.as_ref()?)
    }

    fn json(&self) -> Value {
        let all = self.all.iter();
        let all: Map<_, _> = all.map(|(name, c)| (name.clone(), c.json())).collect();
        json!({"current": self.current, "contexts": all})
    }
}

/// Takes a name of a context.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let max = limits::CONTEXT_NAME_LEN_MAX;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    match (1..=max).contains(&text.len()) && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "the name of a context has 1 to {max} of A-Z a-z 0-9 . _ -"
        )),
    }
}
