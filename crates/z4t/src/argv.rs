//! The two liberties with flags that the argument library does not take:
//! `-id` for `--id`, and flags before the command as well as after it.

use std::ffi::OsString;

/// Flags with a value that may stand before the command.
const SHARED: [&str; 9] = [
    "-t",
    "--target",
    "-p",
    "--peer",
    "-id",
    "--id",
    "-o",
    "--output",
    "--timeout",
];

/// Commands that have commands of their own: flags go behind those.
const FAMILIES: [&str; 2] = ["dead", "ns"];

/// The arguments with `-id` as `--id`, and with flags that stand before the
/// command moved behind it. Nothing behind `--` is touched.
pub(crate) fn normalize(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args = args.into_iter();
    let mut head: Vec<OsString> = args.next().into_iter().collect();
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
pub(crate) fn one_line(message: &str) -> String {
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
