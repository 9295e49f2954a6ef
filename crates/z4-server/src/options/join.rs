//! Settings of peers that assemble a cluster by themselves, and of those that were removed.

use std::collections::BTreeSet;
use std::str::FromStr;

use structopt::StructOpt;
use z4_consensus::assembly::Settings;
use z4_consensus::limits::JOIN_COUNT_MAX;
use z4_core::address::Address;

/// What a peer does that was removed from its cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum OnRemoved {
    /// The peer stays up, says so, and serves nothing.
    #[default]
    Wait,
    /// The peer ends with exit code 0.
    Exit,
}

impl FromStr for OnRemoved {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "wait" => Ok(Self::Wait),
            "exit" => Ok(Self::Exit),
            _ => Err("give wait or exit"),
        }
    }
}

#[derive(StructOpt, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct JoinOptions {
    /// Peer ports of members or of peers to be, HOST:PORT with commas between them:
    /// an empty peer asks there to be added until it is
    #[structopt(
        long,
        env = "Z4_JOIN",
        value_name = "LIST",
        default_value = "",
        hide_default_value = true
    )]
    pub join: String,

    /// Found a cluster when Z4_JOIN lists so many peers and all of them are empty and agree
    #[structopt(long, env = "Z4_BOOTSTRAP_EXPECT", value_name = "COUNT")]
    pub bootstrap_expect: Option<u32>,

    /// What to do when removed from the cluster: wait, or exit with code 0
    #[structopt(
        long,
        env = "Z4_ON_REMOVED",
        value_name = "ACT",
        default_value = "wait"
    )]
    pub on_removed: OnRemoved,
}

impl JoinOptions {
    /// Checks what the argument library does not.
    ///
    /// # Errors
    /// The variable and what to give, in one line.
    pub(super) fn check(&self, bootstrap_cluster: bool) -> Result<(), String> {
        let addresses = self.addresses()?;
        if !addresses.is_empty() && bootstrap_cluster {
            return Err(
                "Z4_BOOTSTRAP_CLUSTER and Z4_JOIN are both set: the first makes a new cluster \
                 whenever the directories are empty, also after a volume was lost, and the second \
                 looks for the cluster that is there; set one of them (with Z4_JOIN, \
                 Z4_BOOTSTRAP_EXPECT lets empty peers found a cluster together)"
                    .to_owned(),
            );
        }
        let Some(expect) = self.bootstrap_expect else {
            return Ok(());
        };
        if addresses.is_empty() {
            return Err(format!(
                "Z4_BOOTSTRAP_EXPECT is {expect} and Z4_JOIN is not set: list there the peer ports \
                 of all {expect} peers, the same list at each of them"
            ));
        }
        if expect == 0 || expect as usize > JOIN_COUNT_MAX {
            return Err(format!(
                "Z4_BOOTSTRAP_EXPECT is {expect}: give 1 to {JOIN_COUNT_MAX}, the number of peers \
                 that Z4_JOIN lists"
            ));
        }
        Ok(())
    }

    /// The list, in normal form.
    fn addresses(&self) -> Result<BTreeSet<String>, String> {
        let mut addresses = BTreeSet::new();
        if self.join.is_empty() {
            return Ok(addresses);
        }
        for text in self.join.split(',') {
            let address = Address::parse(text.trim()).map_err(|why| format!("Z4_JOIN: {why}"))?;
            if !addresses.insert(address.to_string()) {
                return Err(format!(
                    "Z4_JOIN lists {address} twice: list each peer once"
                ));
            }
            if addresses.len() > JOIN_COUNT_MAX {
                return Err(format!(
                    "Z4_JOIN lists more than {JOIN_COUNT_MAX} addresses: a few members are enough \
                     for a peer to find its cluster"
                ));
            }
        }
        Ok(addresses)
    }

    /// What the peer is told of the cluster that it is to be in; `None` where it waits for
    /// an operator.
    pub(crate) fn settings(&self, peer_id: &str, address: &str) -> Option<Settings> {
        // The setting was checked at the start.
        let join = self.addresses().unwrap_or_default();
        (!join.is_empty()).then(|| Settings {
            peer_id: peer_id.to_owned(),
            address: address.to_owned(),
            join,
            expect: self.bootstrap_expect,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_one_form() {
        let options = JoinOptions {
            join: "B.org:06356, a.org:1".to_owned(),
            bootstrap_expect: Some(2),
            ..JoinOptions::default()
        };
        assert_eq!(options.check(false), Ok(()));
        let settings = options.settings("a", "a.org:1");
        let join = settings.map(|s| s.join.into_iter().collect::<Vec<_>>());
        assert_eq!(join, Some(vec!["a.org:1".to_owned(), "b.org:6356".into()]));
        assert_eq!(JoinOptions::default().settings("a", "a:1"), None);
    }

    #[test]
    fn a_list_is_bounded() {
        let many: Vec<String> = (0..65).map(|n| format!("p{n}:1")).collect();
        let options = JoinOptions {
            join: many.join(","),
            ..JoinOptions::default()
        };
        let said = options.check(false).err().unwrap_or_default();
        assert!(said.contains("more than 64"), "{said}");
    }
}
