//! The evidence of one surviving disk.

use data_encoding::HEXLOWER;
use serde_json::{json, Map, Value};

/// The form of evidence as a file. A later one has another number.
const FORM: u64 = 1;

/// The place to which the log and the state of one peer had come, as its disk says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// The cluster.
    pub cluster_id: [u8; 16],
    /// The name of the peer.
    pub peer_id: String,
    /// The number that the log gave it.
    pub raft_id: u64,
    /// The greatest term that it knew.
    pub term: u64,
    /// The last entry that it knew to be committed.
    pub commit_index: u64,
    /// The last entry that its state had applied. All up to it was committed.
    pub applied_index: u64,
    /// The last entry of its log.
    pub last_index: u64,
    /// The term of that entry.
    pub last_term: u64,
    /// Machine time of its state, in nanoseconds since the Unix epoch.
    pub machine_ns: u64,
    /// The level of the cluster.
    pub level: u32,
    /// The members at the end of its log, in the order of raft ids.
    pub members: Vec<Member>,
}

/// A member, as a survivor knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// The number that the log gave it.
    pub raft_id: u64,
    /// Its name.
    pub peer_id: String,
    /// Says that it votes.
    pub is_voter: bool,
}

/// A text is no evidence. What is wrong, for a person.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unread(
    /// The field and what is wrong with it.
    pub String,
);

impl Evidence {
    /// The greatest index up to which this peer knows all entries to be committed.
    #[must_use]
    pub fn known_index(&self) -> u64 {
        self.commit_index.max(self.applied_index)
    }

    /// Tells whether the log of this peer ends with its own removal. One that has received
    /// nothing yet knows no members, and was not removed.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        let is_itself = |member: &Member| member.raft_id == self.raft_id;
        !self.members.is_empty() && !self.members.iter().any(is_itself)
    }

    /// The evidence as the JSON text of a file, which [`parse`](Self::parse) reads.
    #[must_use]
    pub fn to_json(&self) -> String {
        let member = |member: &Member| {
            json!({
                "raft_id": member.raft_id,
                "peer_id": member.peer_id,
                "is_voter": member.is_voter,
            })
        };
        let members: Vec<Value> = self.members.iter().map(member).collect();
        let all = json!({
            "evidence": FORM,
            "cluster_id": HEXLOWER.encode(&self.cluster_id),
            "peer_id": self.peer_id,
            "raft_id": self.raft_id,
            "term": self.term,
            "commit_index": self.commit_index,
            "applied_index": self.applied_index,
            "last_index": self.last_index,
            "last_term": self.last_term,
            "machine_ns": self.machine_ns,
            "level": self.level,
            "members": members,
        });
        format!("{all:#}\n")
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// [`Unread`] names the field. The caller has `z4-server recover inspect` write the file
    /// anew.
    pub fn parse(text: &str) -> Result<Self, Unread> {
        let all: Value =
            serde_json::from_str(text).map_err(|e| Unread(format!("it is no JSON: {e}")))?;
        let all = Fields(all.as_object().ok_or_else(|| missing("evidence"))?);
        let form = all.number("evidence")?;
        if form != FORM {
            return Err(Unread(format!(
                "evidence: the form {form} is not known, {FORM} is; use the z4t of the release \
                 that wrote the file"
            )));
        }
        let members = all.0.get("members").and_then(Value::as_array);
        let members = members.ok_or_else(|| missing("members"))?;
        let member = |member: &Value| {
            let member = Fields(member.as_object().ok_or_else(|| missing("members"))?);
            let is_voter = member.0.get("is_voter").and_then(Value::as_bool);
            Ok(Member {
                raft_id: member.number("raft_id")?,
                peer_id: member.text("peer_id")?,
                is_voter: is_voter.ok_or_else(|| missing("is_voter"))?,
            })
        };
        let cluster_id = HEXLOWER.decode(all.text("cluster_id")?.as_bytes()).ok();
        let cluster_id = cluster_id.and_then(|bytes| bytes.try_into().ok());
        Ok(Self {
            cluster_id: cluster_id
                .ok_or_else(|| Unread("cluster_id: it must be 32 hexadecimal digits".into()))?,
            peer_id: all.text("peer_id")?,
            raft_id: all.number("raft_id")?,
            term: all.number("term")?,
            commit_index: all.number("commit_index")?,
            applied_index: all.number("applied_index")?,
            last_index: all.number("last_index")?,
            last_term: all.number("last_term")?,
            machine_ns: all.number("machine_ns")?,
            level: u32::try_from(all.number("level")?).map_err(|_| missing("level"))?,
            members: members.iter().map(member).collect::<Result<_, Unread>>()?,
        })
    }
}

fn missing(field: &str) -> Unread {
    Unread(format!("{field}: it is missing or of another kind"))
}

struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn number(&self, field: &str) -> Result<u64, Unread> {
        let number = self.0.get(field).and_then(Value::as_u64);
        number.ok_or_else(|| missing(field))
    }

    fn text(&self, field: &str) -> Result<String, Unread> {
        let text = self.0.get(field).and_then(Value::as_str);
        text.map(str::to_owned).ok_or_else(|| missing(field))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn evidence() -> Evidence {
        Evidence {
            cluster_id: [0xab; 16],
            peer_id: "peer \"2\"".into(),
            raft_id: 2,
            term: 9,
            commit_index: 40,
            applied_index: 41,
            last_index: 50,
            last_term: 8,
            machine_ns: u64::MAX,
            level: 2,
            members: vec![Member {
                raft_id: 2,
                peer_id: "peer \"2\"".into(),
                is_voter: false,
            }],
        }
    }

    #[test]
    fn evidence_is_read_as_it_was_written() {
        assert_eq!(Evidence::parse(&evidence().to_json()), Ok(evidence()));
        assert_eq!(evidence().known_index(), 41);
    }

    #[test]
    fn each_field_that_is_missing_is_named() {
        let whole: Value = serde_json::from_str(&evidence().to_json()).unwrap();
        for field in whole.as_object().unwrap().keys() {
            let mut less = whole.clone();
            less.as_object_mut().unwrap().remove(field);
            let why = Evidence::parse(&less.to_string()).unwrap_err().0;
            assert!(
                why.starts_with(field) || field == "cluster_id",
                "{field}: {why}"
            );
        }
        for (text, word) in [
            ("", "JSON"),
            ("[]", "evidence"),
            (r#"{"evidence": 2}"#, "the form 2"),
        ] {
            let why = Evidence::parse(text).unwrap_err().0;
            assert!(why.contains(word), "{text}: {why}");
        }
    }
}
