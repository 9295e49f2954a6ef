//! Flags of the commands about contexts.

use structopt::StructOpt;

use super::{address, Output, Secure};
use crate::contexts;

#[derive(StructOpt, Debug)]
pub(crate) enum ContextCommand {
    /// Make a context, or change what is given of one
    ///
    /// Every command takes from the current context, or the one of --context, what its flags
    /// do not say. A context holds the paths of files, and no token. To take something out of
    /// one, delete it and set it anew.
    Set(ContextSet),
    /// Make a context the current one
    Use(ContextName),
    /// List the contexts; the current one has a star
    List(ContextList),
    /// Remove a context; the files that it names stay
    Delete(ContextName),
}

#[derive(StructOpt, Debug)]
pub(crate) struct ContextSet {
    #[structopt(parse(try_from_str = contexts::name))]
    pub name: String,
    /// Service address of a peer, or several: the first that answers is used
    #[structopt(
        short = "t",
        long = "target",
        value_name = "HOST:PORT",
        use_delimiter = true,
        number_of_values = 1,
        multiple = true,
        parse(try_from_str = address)
    )]
    pub targets: Vec<String>,
    #[structopt(flatten)]
    pub secure: Secure,
}

#[derive(StructOpt, Debug)]
pub(crate) struct ContextName {
    pub name: String,
}

#[derive(StructOpt, Debug)]
pub(crate) struct ContextList {
    /// text or json (a line of JSON for each context)
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
}
