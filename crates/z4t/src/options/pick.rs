//! Which tasks of a list, and what of each.

use std::collections::BTreeMap;

use structopt::StructOpt;
use z4_client::Task;

use super::{key_value, Output};
use crate::error::Error;
use crate::moment::{self, Moment};

#[derive(StructOpt, Clone, Debug)]
pub(crate) struct Pick {
    /// Due (the dead: died) at or after this time
    #[structopt(long, value_name = "TIME", parse(try_from_str = moment::parse))]
    pub from: Option<Moment>,
    /// Due (the dead: died) before this time
    #[structopt(long, value_name = "TIME", parse(try_from_str = moment::parse))]
    pub to: Option<Moment>,
    /// With this metadata; repeatable, and then all of it. There is no index: z4t
    /// looks at every task of the list and says how many
    #[structopt(
        long = "where",
        value_name = "KEY=VALUE",
        number_of_values = 1,
        multiple = true,
        parse(try_from_str = key_value)
    )]
    pub wanted: Vec<(String, String)>,
    /// At most so many; 0 for all
    #[structopt(long, value_name = "COUNT", default_value = "100")]
    pub limit: u64,
    /// With metadata
    #[structopt(long)]
    pub metadata: bool,
    /// With metadata and payload
    #[structopt(long)]
    pub body: bool,
    /// text or json (a line of JSON for each task)
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
}

impl Pick {
    /// Whether the list must come with payloads and metadata.
    pub(crate) fn needs_body(&self) -> bool {
        self.body || self.metadata || self.is_filter()
    }

    /// Whether not all tasks that come are taken.
    pub(crate) fn is_filter(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Whether a task has the metadata that is wanted.
    pub(crate) fn takes(&self, task: &Task) -> bool {
        let has = |(key, value): &(String, String)| task.metadata.get(key) == Some(value);
        self.wanted.iter().all(has)
    }
}

/// Refuses a key that is given two values: only one of them could count.
///
/// # Errors
/// [`Error::Usage`] that names flag, key and values.
pub(crate) fn each_key_once(flag: &str, pairs: &[(String, String)]) -> Result<(), Error> {
    let mut seen = BTreeMap::new();
    for (key, value) in pairs {
        if let Some(first) = seen.insert(key, value) {
            return Err(Error::Usage(format!(
                "{flag} {key}={first} and {flag} {key}={value}: a key has one value; leave one of them out"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn a_key_with_two_values_is_refused() {
        assert!(each_key_once("-m", &pairs(&[("a", "1"), ("b", "1")])).is_ok());
        for second in ["a", "b"] {
            let twice = pairs(&[("to", "a"), ("x", "y"), ("to", second)]);
            let error = each_key_once("-m", &twice).unwrap_err();
            let said = format!("-m to=a and -m to={second}: ");
            assert!(error.to_string().starts_with(&said), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
