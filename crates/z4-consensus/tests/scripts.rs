//! Interactions of replicas as readable scripts.
//!
//! A script in `scripts/` is a list of blocks: lines that begin with `>` say
//! what is done, the lines below them what happened. `#` begins a comment.
//! `group N` founds N voters. With `REWRITE=1` the outcomes are written anew,
//! to be reviewed as a change of the file.
//!
//! | verb | what it does |
//! |---|---|
//! | `tick ID [COUNT]` | time passes for one peer |
//! | `campaign ID` | ticks until it asks for votes |
//! | `propose ID TEXT`, `read ID NAME` | what clients ask |
//! | `add`, `promote`, `remove` `ID MEMBER`, `transfer ID TO` | what admins ask |
//! | `deliver [TO]`, `deliver FROM->TO`, `drop …` | messages arrive, or are lost |
//! | `persist ID`, `apply ID`, `flush ID` | the log, apply and flush threads work |
//! | `elect ID` | `campaign` and `settle`, not shown |
//! | `load ID COUNT` | so many `propose` and `settle`, not shown |
//! | `settle` | all of that until nothing more happens |
//! | `crash ID`, `start ID` | power loss and start |
//! | `status` | what each peer knows |

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod group;

use group::Group;

fn outcome(script: &str) -> String {
    let mut group = Group::new(0);
    let mut out = String::new();
    for line in script.lines() {
        if line.starts_with('#') || line.is_empty() {
            out += line;
            out.push('\n');
        } else if let Some(done) = line.strip_prefix("> ") {
            out += line;
            out.push('\n');
            match done.strip_prefix("group ") {
                Some(count) => group = Group::new(count.parse().unwrap()),
                None => out += &group.run(done),
            }
        }
    }
    out
}

#[test]
fn scripts_play_as_written() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 10, "scripts are missing");
    let mut wrong = Vec::new();
    for path in paths {
        let script = std::fs::read_to_string(&path).unwrap();
        let played = outcome(&script);
        if std::env::var_os("REWRITE").is_some() {
            std::fs::write(&path, played).unwrap();
        } else if played != script {
            let lines = script.lines().zip(played.lines());
            let first = lines.enumerate().find(|(_, (a, b))| a != b);
            wrong.push(format!("{}: {first:?}", path.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "play otherwise; REWRITE=1 shows:\n{}",
        wrong.join("\n")
    );
}
