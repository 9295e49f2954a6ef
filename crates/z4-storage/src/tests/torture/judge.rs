//! The judge: what a peer has once it has done what every start does.
//!
//! A peer goes on from the index at which its state stands, and applies the log from
//! there. So an older state is no loss as long as the log has the rest, and what is
//! compared is the state at the end of the log.

use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::Instant;

use raft::eraftpb::{ConfChange, Entry, EntryType};
use tempfile::TempDir;
use z4_consensus::proposals::Envelope;
use z4_consensus::{Change, Membership};
use z4_core::invariants::{check, state_hash};
use z4_proto::level::LEVEL_MAX;

use super::*;

const TORTURED: &str = "Z4_TEST_TORTURED";

/// The answer of a peer that started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    /// The index at which its state stood when it was opened.
    pub opened_at: u64,
    /// The fingerprint of its rows then.
    pub opened: u128,
    /// All that the peer holds once the log is applied, in one line.
    pub whole: String,
}

impl Answer {
    const MARK: &str = "answer: ";

    fn print(&self) {
        println!(
            "{}{} {} {}",
            Self::MARK,
            self.opened_at,
            self.opened,
            self.whole
        );
    }

    fn parse(said: &str) -> Option<Self> {
        let from = said.find(Self::MARK)? + Self::MARK.len();
        let mut words = said[from..].lines().next()?.splitn(3, ' ');
        Some(Self {
            opened_at: words.next()?.parse().ok()?,
            opened: words.next()?.parse().ok()?,
            whole: words.next()?.to_owned(),
        })
    }
}

/// An entry of the log as the replica gives it to the machine.
pub(super) fn committed_of(entry: &Entry, members: &Membership) -> Committed {
    let mut committed = Committed {
        position: at(entry.index, entry.term),
        stamp_ns: 0,
        commands: Vec::new(),
        membership: None,
    };
    if entry.get_entry_type() == EntryType::EntryNormal {
        let envelope = Envelope::decode(&entry.data).unwrap();
        committed.stamp_ns = envelope.stamp_ns;
        committed.commands = envelope.commands;
    } else {
        let conf: ConfChange = protobuf::Message::parse_from_bytes(&entry.data).unwrap();
        let mut members = members.clone();
        members
            .change(&Change::decode(&conf.context, LEVEL_MAX).unwrap())
            .unwrap();
        committed.membership = Some(members);
    }
    committed
}

/// Starts a peer, and applies all of its log. The last entries are committed too, although
/// the peer does not know it yet: its leader will say so.
fn answer(root: &Path) -> Result<Answer, String> {
    let store = open(root).map_err(|e| e.to_string())?;
    let log = store.log();
    let (last, hard_state) = (log.last().unwrap(), log.hard_state().unwrap());
    let opened_at = store.applied().position;
    assert!(hard_state.commit >= opened_at.index, "{hard_state:?}");
    assert_eq!(log.term(opened_at.index).unwrap(), Some(opened_at.term));
    let opened = state_hash(&store.view()).unwrap();
    check(&store.view()).unwrap().verdict().unwrap();

    let mut machine = machine(&store);
    let from = opened_at.index + 1;
    for entry in log.entries(from, last.index + 1, u64::MAX).unwrap() {
        let committed = committed_of(&entry, &machine.applied().membership);
        machine.apply(vec![committed]).unwrap();
    }
    let cut = log.cut().unwrap();
    let entries = log
        .entries(cut.index + 1, last.index + 1, u64::MAX)
        .unwrap();
    let applied = machine.applied();
    let sums = [
        format!("{entries:?}"),
        format!("{:?}", applied.membership),
        // The commit index is no promise: a peer hears it anew.
        format!("{} {}", hard_state.term, hard_state.vote),
    ];
    let sums = sums.map(|text| crc32c::crc32c(text.as_bytes()));
    let state = state_hash(&store.view()).unwrap();
    Ok(Answer {
        opened_at: opened_at.index,
        opened,
        whole: format!(
            "log {cut:?} {last:?} {sums:?} state {:?} {} {state}",
            applied.position, applied.stamp_ns
        ),
    })
}

#[test]
#[ignore = "the child of the tests below"]
fn answers() {
    let Ok(root) = std::env::var(TORTURED) else {
        return;
    };
    match answer(Path::new(&root)) {
        Ok(answer) => answer.print(),
        Err(refusal) => {
            eprintln!("refused: {refusal}");
            std::process::exit(3);
        }
    }
}

/// The answer of a peer, or the words with which it refused. The peer has a process of its
/// own, for damage that is met in a read ends it. Words without the remedy are a panic here.
pub(super) fn asked(root: &Path, what: &str) -> Result<Answer, String> {
    let output = TempDir::new().unwrap();
    let file = |name: &str| std::fs::File::create(output.path().join(name)).unwrap();
    let mut child = Process::new(std::env::current_exe().unwrap())
        .args([
            "tests::torture::judge::answers",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env(TORTURED, root)
        .stdin(Stdio::null())
        .stdout(file("out"))
        .stderr(file("err"))
        .spawn()
        .unwrap();
    let since = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if since.elapsed() > LIMIT {
            let _ = child.kill();
            panic!("{what}: it hangs");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let read = |name: &str| std::fs::read_to_string(output.path().join(name)).unwrap();
    if status.success() {
        let said = read("out");
        return Ok(Answer::parse(&said).unwrap_or_else(|| panic!("{what}: {said}")));
    }
    let said = read("err");
    assert!(said.contains("add it anew"), "{what}: {status} {said}");
    Err(said)
}

/// Copies a folder with all that is in it.
pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
