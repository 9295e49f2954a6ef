//! Arguments as they come from outside, made fit for the argument library.
//!
//! It does not take two liberties with flags that people take: `-id` for `--id`,
//! and flags before the command as well as after it. And it panics on arguments
//! that are not UTF-8, unless the value is asked for as bytes.

use std::ffi::{OsStr, OsString};

use structopt::clap::{ArgMatches, ErrorKind};
use structopt::StructOpt;

use crate::error::Error;
use crate::options::Options;

/// The positional argument and the flags of `create` that are taken as bytes: a
/// payload may be any, and so may the name of a file.
const BYTES: [&str; 3] = ["payload", "file", "batch"];

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Wish {
    Command(Box<Options>),
    /// Help, or the version, to be printed.
    Help(String),
}

/// Reads the arguments, the name of the program first.
///
/// # Errors
/// `Usage`, with one line that names the argument.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Wish, Error> {
    let args = normalize(args);
    match matches(&args) {
        Ok(matches) => Ok(Wish::Command(Box::new(Options::from_clap(&matches)))),
        Err(Mistake::Library(usage)) => match usage.kind {
            ErrorKind::HelpDisplayed | ErrorKind::VersionDisplayed => Ok(Wish::Help(usage.message)),
            kind => Err(Error::Usage(one_line(&usage.message) + hint(kind, &args))),
        },
        Err(Mistake::NotText(argument)) => Err(Error::Usage(format!(
            "the argument '{argument}' is not UTF-8; only the payload and the paths of \
             z4t create may be other bytes"
        ))),
    }
}

/// What may have been meant by what was taken for a flag.
fn hint(kind: ErrorKind, args: &[OsString]) -> &'static str {
    let is_create = args.get(1).is_some_and(|command| command == "create");
    match kind {
        ErrorKind::UnknownArgument if is_create => {
            "; a payload that begins with - stands behind two of them: z4t create NAMESPACE -- -5"
        }
        ErrorKind::UnknownArgument if args.windows(2).any(|two| is_odd_value(&two[0], &two[1])) => {
            VALUE_HINT
        }
        ErrorKind::EmptyValue => VALUE_HINT,
        _ => "",
    }
}

const VALUE_HINT: &str = "; a value that begins with - stands behind =: --error=-5";

/// Whether `value` looks like a flag and stands where that of `flag` may.
fn is_odd_value(flag: &OsStr, value: &OsStr) -> bool {
    let (flag, value) = (flag.to_string_lossy(), value.to_string_lossy());
    let is_long = flag.starts_with("--") && flag.len() > 2 && !flag.contains('=');
    is_long && value.starts_with('-') && !value.starts_with("--") && value.len() > 1
}

enum Mistake {
    Library(structopt::clap::Error),
    /// With its wrong bytes replaced.
    NotText(String),
}

impl From<structopt::clap::Error> for Mistake {
    fn from(error: structopt::clap::Error) -> Self {
        Self::Library(error)
    }
}

/// What the library makes of the arguments; every value that is asked for as text
/// is text.
fn matches(args: &[OsString]) -> Result<ArgMatches<'static>, Mistake> {
    let app = || Options::clap();
    let not_text = |arg: &&OsString| arg.to_str().is_none();
    let odd: Vec<_> = args.iter().filter(not_text).collect();
    let Some(first) = odd.first() else {
        return Ok(app().get_matches_from_safe(args)?);
    };
    // The library quotes arguments in its complaints, and panics when they are not
    // UTF-8. So it sees replaced ones first: the replacement leaves dashes, equals
    // signs and commas where they are, and so all that it may complain of.
    let replaced = args.iter().map(|arg| arg.to_string_lossy().into_owned());
    app().get_matches_from_safe(replaced)?;
    let matches = app().get_matches_from_safe(args)?;
    let create = matches.subcommand_matches("create");
    let value = |name| create.and_then(|create| create.value_of_os(name));
    let taken_as_bytes = |value: &Option<&OsStr>| value.is_some_and(|v| v.to_str().is_none());
    match BYTES
        .map(value)
        .iter()
        .filter(|v| taken_as_bytes(v))
        .count()
    {
        count if count == odd.len() => Ok(matches),
        _ => Err(Mistake::NotText(first.to_string_lossy().into_owned())),
    }
}

/// Flags with a value that may stand before the command.
const SHARED: [&str; 16] = [
    "-t",
    "--target",
    "-p",
    "--peer",
    "-id",
    "--id",
    "-o",
    "--output",
    "--timeout",
    "--tz",
    "--ca",
    "--cert",
    "--key",
    "--server-name",
    "--token-file",
    "--context",
];

/// Commands that have commands of their own: flags go behind those.
const FAMILIES: [&str; 6] = ["access", "certs", "context", "dead", "ns", "upgrade"];

/// The arguments with `-id` as `--id`, and with flags that stand before the
/// command moved behind it. Nothing behind `--` is touched.
fn normalize(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args = args.into_iter();
    // Whatever the program is called: its name is for the library's own words.
    let mut head: Vec<OsString> = args.next().map(|_| "z4t".into()).into_iter().collect();
    let mut moved = Vec::new();
    let mut tail = Vec::new();
    let mut has_command = false;
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        if SHARED.contains(&text.as_ref()) {
            moved.push(two_dashes(arg));
            moved.extend(args.next());
        } else if is_shared_with_value(&text) {
            moved.push(two_dashes(arg));
        } else if text.starts_with('-') && text != "-" {
            // `--help`, `--version`, or a mistake for the library to name.
            head.push(arg);
        } else if FAMILIES.contains(&text.as_ref()) && head.len() == 1 {
            head.push(arg);
        } else {
            has_command = true;
            head.push(arg);
            tail.extend(args.by_ref());
        }
    }
    // Without a command that is what is missing, whatever the flags are.
    if !has_command {
        return head;
    }
    let open = tail.iter().position(|arg| arg == "--");
    let open = open.unwrap_or(tail.len());
    let closed = tail.split_off(open);
    head.extend(moved);
    head.extend(tail.into_iter().map(two_dashes));
    head.extend(closed);
    head
}

/// `--target=x`, `-id=x`, `-tx`.
fn is_shared_with_value(arg: &str) -> bool {
    let name = arg.split('=').next().unwrap_or(arg);
    let long = SHARED.contains(&name);
    let short = ["-t", "-p", "-o"].iter().any(|flag| arg.starts_with(flag));
    (long && name != arg) || (short && !arg.starts_with("--"))
}

fn two_dashes(arg: OsString) -> OsString {
    match arg.to_str() {
        Some(text) if text == "-id" || text.starts_with("-id=") => format!("-{text}").into(),
        _ => arg,
    }
}

/// The argument library's complaint as one line, without its usage section.
fn one_line(message: &str) -> String {
    let plain = without_colours(message);
    let end = ["\n\nUSAGE", "\n\nFor more information", "USAGE:"]
        .iter()
        .filter_map(|mark| plain.find(mark))
        .min();
    let complaint = plain[..end.unwrap_or(plain.len())].trim();
    let complaint = complaint.strip_prefix("error: ").unwrap_or(complaint);
    let words: Vec<_> = complaint.split_whitespace().collect();
    let words = words.join(" ");
    if words.is_empty() || words.starts_with("z4t ") || words.starts_with("z4t-") {
        return "give a command; see z4t --help".to_owned();
    }
    format!("{words}; see z4t --help")
}

fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        plain.push_str(&rest[..at]);
        let end = rest[at..].find('m').map_or(rest.len(), |m| at + m + 1);
        rest = &rest[end..];
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(line: &str) -> String {
        let args = line.split(' ').map(OsString::from);
        let words: Vec<_> = normalize(args)
            .into_iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        words.join(" ")
    }

    #[test]
    fn flags_before_the_command_move_behind_it() {
        assert_eq!(
            normal("z4t -t localhost:6355 info"),
            "z4t info -t localhost:6355"
        );
        assert_eq!(
            normal("z4t -t a:1 -p b:2 -id peer1 add-peer"),
            "z4t add-peer -t a:1 -p b:2 --id peer1"
        );
        assert_eq!(
            normal("z4t --target=a:1 -tb:1 -id=x remove-peer"),
            "z4t remove-peer --target=a:1 -tb:1 --id=x"
        );
        assert_eq!(
            normal("z4t --token-file f --context=c access get x --context d"),
            "z4t access get --token-file f --context=c x --context d"
        );
        assert_eq!(
            normal("z4t --ca c --cert=d --key e --server-name=f health -t a:1"),
            "z4t health --ca c --cert=d --key e --server-name=f -t a:1"
        );
    }

    #[test]
    fn flags_before_a_command_of_a_family_move_behind_it() {
        assert_eq!(
            normal("z4t -t a:1 ns -o json set x --lease 5s"),
            "z4t ns set -t a:1 -o json x --lease 5s"
        );
        assert_eq!(normal("z4t dead list dead"), "z4t dead list dead");
        assert_eq!(normal("z4t -t a:1 list ns"), "z4t list -t a:1 ns");
    }

    #[test]
    fn without_a_command_flags_do_not_hide_that_it_is_missing() {
        assert_eq!(normal("z4t -t a:1"), "z4t");
        assert_eq!(normal("z4t -t a:1 dead"), "z4t dead");
        assert_eq!(normal("z4t -t a:1 --help"), "z4t --help");
    }

    #[test]
    fn flags_behind_the_command_stay_and_lose_nothing() {
        assert_eq!(
            normal("z4t remove-peer -id peer1 -t a:1"),
            "z4t remove-peer --id peer1 -t a:1"
        );
        assert_eq!(normal("z4t create ns -"), "z4t create ns -");
        assert_eq!(normal("z4t --help"), "z4t --help");
    }

    #[test]
    fn payload_behind_two_dashes_is_left_alone() {
        assert_eq!(
            normal("z4t -t a:1 create ns -- -id"),
            "z4t create -t a:1 ns -- -id"
        );
    }

    #[test]
    fn a_complaint_becomes_one_line() {
        let complaint = "\u{1b}[1;31merror:\u{1b}[0m The following required arguments were not provided:\n    --id <id>\n\nUSAGE:\n    z4t remove-peer";
        assert_eq!(
            one_line(complaint),
            "The following required arguments were not provided: --id <id>; see z4t --help"
        );
    }
}
