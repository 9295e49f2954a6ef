//! What the status says of a member from which nothing arrives.

use std::time::Duration;

use z4_e2e::{wait, Cluster, Tool};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn the_status_says_since_when_a_member_is_silent() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let [gone, other] = cluster.others(leader)[..] else {
        panic!("two others");
    };
    let id = cluster.peers[gone].spec.id.clone();
    cluster.peers[gone].kill();
    // The leader's own view, and what it tells a follower.
    for n in [leader, other] {
        let tool = Tool::at(&cluster.peers[n]);
        let mut before_ms = 0;
        // Twice: the span grows for as long as it is silent.
        for _ in 0..2 {
            before_ms = wait::until("it is silent for longer", LIMIT, || {
                let status = tool.json(&["status"]);
                let members = status["members"].as_array().ok_or("no members")?;
                let member = members.iter().find(|m| m["id"] == id.as_str());
                let member = member.ok_or("not listed")?;
                let silent_ms = member["silent_ms"].as_u64().unwrap_or(0);
                let is_silent = member["liveness"] == "silent" && silent_ms > before_ms;
                wait::check(is_silent, || member.to_string())?;
                Ok(silent_ms)
            });
        }
        let text = tool.text(&["status"]);
        let line = text.lines().find(|line| line.starts_with(&id));
        assert!(line.is_some_and(|l| l.contains("silent ")), "{text}");
        let others = text.lines().filter(|line| line.ends_with("alive"));
        assert_eq!(others.count(), 2, "{text}");
    }
    cluster.start_missing();
    let tool = Tool::at(&cluster.peers[leader]);
    wait::until("it answers again", LIMIT, || {
        let text = tool.text(&["status"]);
        wait::check(!text.contains("silent"), || text.clone())
    });
}
