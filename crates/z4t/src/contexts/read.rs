//! The file of contexts as JSON. Keys that nobody knows and keys that stand twice are refused:
//! a misspelt `token_file` would otherwise be a command without a token.

use std::fmt;
use std::path::PathBuf;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::{name, Context, Contexts};
use crate::options::address;

impl<'de> Deserialize<'de> for Contexts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FileVisitor)
    }
}

struct FileVisitor;

impl<'de> Visitor<'de> for FileVisitor {
    type Value = Contexts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with current and contexts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Contexts, A::Error> {
        let (mut contexts, mut seen) = (Contexts::default(), Vec::new());
        while let Some(key) = map.next_key::<String>()? {
            once(&mut seen, &key)?;
            match &*key {
                "current" => contexts.current = map.next_value()?,
                "contexts" => contexts.all = map.next_value::<Named>()?.0,
                _ => return Err(unknown(&key, "current and contexts")),
            }
        }
        let current = contexts.current.as_ref();
        match current.filter(|current| !contexts.all.contains_key(*current)) {
            None => Ok(contexts),
            Some(current) => Err(A::Error::custom(format!(
                "current is {current:?}, and there is no context of that name"
            ))),
        }
    }
}

struct Named(std::collections::BTreeMap<String, Context>);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NamedVisitor)
    }
}

struct NamedVisitor;

impl<'de> Visitor<'de> for NamedVisitor {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a context for each name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named, A::Error> {
        let mut all = std::collections::BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let key = name(&key).map_err(A::Error::custom)?;
            if all.contains_key(&key) {
                return Err(twice(&key));
            }
            all.insert(key, map.next_value()?);
        }
        Ok(Named(all))
    }
}

impl<'de> Deserialize<'de> for Context {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ContextVisitor)
    }
}

struct ContextVisitor;

impl<'de> Visitor<'de> for ContextVisitor {
    type Value = Context;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the fields of a context")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Context, A::Error> {
        const KEYS: &str = "targets, ca, cert, key, server_name and token_file";
        let (mut context, mut seen) = (Context::default(), Vec::new());
        while let Some(key) = map.next_key::<String>()? {
            once(&mut seen, &key)?;
            let path = match &*key {
                "targets" => {
                    let targets: Vec<String> = map.next_value()?;
                    let checked = targets.iter().map(|target| address(target));
                    let checked = checked.collect::<Result<_, _>>();
                    context.targets = checked
                        .map_err(|why| A::Error::custom(format!("an address is none: {why}")))?;
                    continue;
                }
                "server_name" => {
                    context.server_name = Some(filled(&key, map.next_value()?)?);
                    continue;
                }
                "ca" => &mut context.ca,
                "cert" => &mut context.cert,
                "key" => &mut context.key,
                "token_file" => &mut context.token_file,
                _ => return Err(unknown(&key, KEYS)),
            };
            *path = Some(PathBuf::from(filled(&key, map.next_value()?)?));
        }
        Ok(context)
    }
}

fn filled<E: Error>(key: &str, text: String) -> Result<String, E> {
    match text.is_empty() {
        true => Err(E::custom(format!("{key} is empty"))),
        false => Ok(text),
    }
}

fn once<E: Error>(seen: &mut Vec<String>, key: &str) -> Result<(), E> {
    if seen.iter().any(|other| other == key) {
        return Err(twice(key));
    }
    seen.push(key.to_owned());
    Ok(())
}

fn twice<E: Error>(key: &str) -> E {
    E::custom(format!("the key {key:?} stands twice"))
}

fn unknown<E: Error>(key: &str, known: &str) -> E {
    E::custom(format!("{key:?} is no key of it; there are {known}"))
}
