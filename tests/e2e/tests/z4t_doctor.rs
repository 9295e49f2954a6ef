//! `z4t doctor` names what is wrong or risky and nothing else, and `z4t top` shows a cluster
//! at work.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use rustix::pty::{grantpt, openpt, ptsname, unlockpt, OpenptFlags};
use rustix::termios::{tcgetattr, LocalModes};
use serde_json::Value;
use z4_e2e::load::Load;
use z4_e2e::{wait, Cluster, Peer, PeerSpec, SmallDisk, Tool};

use crate::z4t_life::{leased, made, single};

const LIMIT: Duration = Duration::from_secs(30);

/// The report of a run of `doctor`: rule, severity and whom it is about.
struct Found {
    code: i32,
    report: Value,
}

impl Found {
    #[track_caller]
    fn at(tool: &Tool) -> Self {
        let done = tool.run(&["doctor", "-o", "json"]);
        let report: Value =
            serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {done:?}"));
        let is_wrong = report["wrong"].as_u64().unwrap() > 0;
        assert_eq!(done.code, i32::from(is_wrong), "{done:?}");
        assert_eq!(done.stderr.is_empty(), !is_wrong, "{done:?}");
        Self {
            code: done.code,
            report,
        }
    }

    /// The findings of a rule.
    fn of(&self, rule: &str) -> Vec<&Value> {
        let findings = self.report["findings"].as_array().unwrap().iter();
        findings.filter(|finding| finding["rule"] == rule).collect()
    }

    /// The rule was looked at and found nothing.
    fn is_well(&self, rule: &str) -> bool {
        let passed = self.report["ok"].as_array().unwrap();
        passed.iter().any(|name| name == rule)
    }

    #[track_caller]
    fn assert_well(&self, rules: &[&str]) {
        for rule in rules {
            assert!(self.is_well(rule), "{rule}: {:#}", self.report);
        }
    }

    #[track_caller]
    fn one(&self, rule: &str) -> &Value {
        let found = self.of(rule);
        assert_eq!(found.len(), 1, "{rule}: {:#}", self.report);
        found[0]
    }
}

/// Rules that hold for a cluster that is well on every machine with a disk that is not full:
/// memory, swap, descriptors and settings of the kernel are those of the machine.
const WELL: [&str; 16] = [
    "leader",
    "reads",
    "answers",
    "learners",
    "versions",
    "level",
    "disk-low",
    "clock-offset",
    "clock-measured",
    "tls",
    "peer-tls",
    "auth",
    "certificates",
    "connections",
    "namespaces",
    "dead-letters",
];

#[test]
fn one_peer_has_its_risks_and_they_go_when_they_are_mended() {
    let (_cluster, tool) = single();
    let first = Found::at(&tool);
    assert_eq!(first.code, 0);
    first.assert_well(&WELL);
    assert_eq!(first.one("voters")["severity"], "risk");
    assert_eq!(first.one("backup")["about"], "cluster");

    // Risks in namespaces are named, and those that were mended are not.
    let _ = made(&tool, "bad", &[]);
    let lease = leased(&tool, "bad", &[]);
    let _ = tool.text(&["nack", "bad", &lease, "--permanent"]);
    let _ = tool.text(&["ns", "pause", "bad"]);
    let _ = tool.text(&["ns", "set", "full", "--pending-max", "1"]);
    let _ = made(&tool, "full", &["--in", "1h"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("z4.backup").display().to_string();
    let done = tool.run(&["backup", &file]);
    assert_eq!(done.code, 0, "{done:?}");
    let second = Found::at(&tool);
    assert_eq!(second.code, 0);
    second.assert_well(&["backup"]);
    let dead = second.one("dead-letters")["measured"].as_str().unwrap();
    assert_eq!(dead, "1 dead letters: bad");
    let held = second.of("namespaces");
    let held: Vec<_> = held
        .iter()
        .map(|f| f["measured"].as_str().unwrap())
        .collect();
    assert_eq!(held.len(), 2, "{held:?}");
    assert!(
        held[0].contains("paused: bad") && held[1].contains("full"),
        "{held:?}"
    );

    // For people: each finding with its remedy.
    let page = tool.text(&["doctor"]);
    for line in [
        "RISK   cluster: one voter [voters]\n",
        "       Do:  add two peers on other machines: z4t add-peer",
        "       Do:  z4t ns resume NAMESPACE.\n",
    ] {
        assert!(page.contains(line), "{line} {page}");
    }
    assert!(page.contains("0 wrong"), "{page}");
}

#[test]
fn a_member_that_was_killed_is_wrong_and_all_else_is_still_told() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let tool = Tool::at(&cluster.peers[leader]);
    // Clocks are measured, and a leader knows levels, within moments.
    wait::until("a cluster of three is well", LIMIT, || {
        let found = Found::at(&tool);
        let is_well = WELL.iter().all(|rule| found.is_well(rule));
        wait::check(is_well && found.is_well("voters"), || {
            format!("{:#}", found.report)
        })
    });
    let lost = cluster.others(leader)[0];
    let id = cluster.peers[lost].spec.id.clone();
    cluster.peers[lost].kill();
    // The peer that is asked has a connection that breaks, or none: it says so either way.
    let found = Found::at(&tool);
    assert_eq!(found.code, 1);
    let finding = found.one("answers");
    assert_eq!(
        (&finding["severity"], &finding["about"]),
        (&"wrong".into(), &id.into())
    );
    found.assert_well(&["leader", "reads", "voters", "disk-low", "clock-measured"]);
    let id = cluster.peers[lost].spec.id.clone();
    let done = tool.run(&["doctor"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stdout.contains(&format!("WRONG  {id}: ")), "{done:?}");
    assert!(
        done.stdout.contains(&format!("Do:  start {id};")),
        "{done:?}"
    );
    assert_eq!(done.stderr, "z4t: 1 finding is WRONG; see the output\n");

    // The screen names it, too, and shows the others.
    let frame = tool.text(&["top", "--once", "--interval", "300ms"]);
    assert!(frame.contains("2 of 3 members answer\n"), "{frame}");
    let row = |id: &str| {
        let mut lines = frame.lines();
        let line = lines.find(|line| line.starts_with(&format!("{id} ")));
        line.unwrap_or_else(|| panic!("no {id}: {frame}"))
            .to_owned()
    };
    assert!(row(&id).contains("no answer"), "{frame}");
    assert!(
        row(&cluster.peers[leader].spec.id).contains("leader"),
        "{frame}"
    );

    // A follower tells the same, and it is over when the member is back.
    let other = cluster.others(leader)[1];
    let elsewhere = Tool::at(&cluster.peers[other]);
    assert_eq!(Found::at(&elsewhere).one("answers")["about"], *id);
    cluster.peers[lost].start();
    wait::until("the member is well again", LIMIT, || {
        let found = Found::at(&tool);
        wait::check(found.is_well("answers"), || format!("{:#}", found.report))
    });
}

#[test]
fn without_a_quorum_the_page_is_printed_all_the_same() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let left = cluster.others(leader)[0];
    for place in 0..3 {
        if place != left {
            cluster.peers[place].kill_soon();
        }
    }
    let tool = Tool::at(&cluster.peers[left]);
    wait::until("the peer that is left has no leader", LIMIT, || {
        let done = tool.run(&["--timeout", "3s", "doctor", "-o", "json"]);
        assert_eq!(done.code, 1, "{done:?}");
        let report: Value = serde_json::from_str(&done.stdout).map_err(|e| e.to_string())?;
        let found = Found { code: 1, report };
        wait::check(found.of("leader").len() == 1, || {
            format!("{:#}", found.report)
        })?;
        wait::check(found.of("reads").len() == 1, || {
            format!("{:#}", found.report)
        })?;
        wait::check(found.of("answers").len() == 2, || {
            format!("{:#}", found.report)
        })
    });
}

#[test]
fn few_descriptors_are_a_risk() {
    let mut spec = PeerSpec::bootstrap("peer1");
    spec.descriptors = Some("1024:4096".to_owned());
    let mut peer = Peer::started(spec);
    peer.wait_ready();
    let found = Found::at(&Tool::at(&peer));
    let finding = found.one("descriptors");
    let measured = finding["measured"].as_str().unwrap();
    assert!(
        measured.ends_with(" of 4096 file descriptors are open"),
        "{measured}"
    );
    let open = measured.split(' ').next().unwrap();
    assert!(open.parse::<u64>().unwrap() > 10, "{measured}");
    assert!(finding["remedy"]
        .as_str()
        .unwrap()
        .contains("LimitNOFILE=65536"));
}

#[test]
fn a_small_disk_in_memory_is_a_risk_and_wrong_when_it_is_full() {
    let Some(disk) = SmallDisk::mounted(256) else {
        return;
    };
    let mut peer = Peer::started(disk.holds(PeerSpec::bootstrap("peer1")));
    peer.wait_ready();
    let tool = Tool::at(&peer);
    let found = Found::at(&tool);
    assert_eq!(found.code, 0);
    let finding = found.one("filesystem");
    let measured = "Z4_DB_DATA_DIR and Z4_PEER_DATA_DIR on tmpfs";
    assert_eq!(finding["measured"], measured);
    found.assert_well(&["disk-low"]);
    // Somebody else takes all but a few MiB; the reserve is a tenth of it all.
    disk.fill_but(10 << 20);
    wait::until("the disk is low", LIMIT, || {
        let found = Found::at(&tool);
        let low = found.of("disk-low");
        wait::check(low.len() == 1 && low[0]["severity"] == "wrong", || {
            format!("{:#}", found.report)
        })
    });
    disk.free();
    wait::until("there is room again", LIMIT, || {
        let found = Found::at(&tool);
        wait::check(found.is_well("disk-low"), || format!("{:#}", found.report))
    });
}

/// The number in front of `/s` behind this word.
#[track_caller]
fn rate(frame: &str, word: &str) -> f64 {
    let (_, rest) = frame
        .split_once(&format!("{word} "))
        .unwrap_or_else(|| panic!("no {word}: {frame}"));
    let (number, _) = rest.split_once("/s").unwrap_or_else(|| panic!("{frame}"));
    number.parse().unwrap_or_else(|e| panic!("{e}: {frame}"))
}

#[test]
fn the_screen_shows_a_cluster_at_work() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    // By way of a follower: its counters count as those of the leader do.
    let other = cluster.others(leader)[0];
    let tool = Tool::at(&cluster.peers[other]);
    let _ = made(&tool, "waiting", &["--in", "1h"]);
    let load = Load::start(&cluster.clients(), "busy", 2, Duration::from_millis(2));
    let mut consumer = tool.start(&["consume", "busy"]);
    load.wait_for_more(20, LIMIT);
    let frame = tool.text(&["top", "--once", "--interval", "2s"]);
    let told = load.finish();
    consumer.kill().unwrap();
    consumer.wait().unwrap();
    assert!(told.refused.is_empty(), "{:?}", told.refused);
    let id = &cluster.peers[leader].spec.id;
    assert!(frame.starts_with(&format!("leader {id}  term ")), "{frame}");
    assert!(frame.contains("3 of 3 members answer\n"), "{frame}");
    for word in ["created", "delivered", "acked", "log syncs"] {
        assert!(rate(&frame, word) > 1.0, "{word}: {frame}");
    }
    assert!(!frame.contains("p50 -"), "{frame}");
    for line in ["PEER ", "NAME ", "waiting  1 ", "busy "] {
        assert!(
            frame.lines().any(|shown| shown.starts_with(line)),
            "{line}: {frame}"
        );
    }
    // No terminal, one frame.
    let piped = tool.text(&["top", "--interval", "200ms"]);
    assert_eq!(piped.matches("PEER ").count(), 1, "{piped}");
    assert!(!piped.contains('\u{1b}'), "{piped:?}");
}

/// Runs `top` on a terminal until it has drawn twice, and has it end so; all that it wrote.
fn on_a_terminal(tool: &Tool, end: impl Fn(&std::fs::File, u32)) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let path = ptsname(&terminal, Vec::new()).unwrap();
    let path = path.to_str().unwrap();
    let open = || {
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).open(path).unwrap()
    };
    let own = open();
    let is_plain = || {
        let modes = tcgetattr(&own).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    };
    assert!(is_plain());
    let mut command = tool.command(&["top", "--interval", "200ms"]);
    command.stdin(open()).stdout(open()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let keyboard = std::fs::File::from(terminal);
    let mut screen = keyboard.try_clone().unwrap();
    let (tx, rx) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut part = [0; 4_096];
        // The terminal is gone when the last of its files is closed.
        while let Ok(count @ 1..) = screen.read(&mut part) {
            let _ = tx.send(String::from_utf8_lossy(&part[..count]).into_owned());
        }
    });
    let mut seen = String::new();
    wait::until("two frames", LIMIT, || {
        seen.extend(rx.try_iter());
        wait::check(seen.matches("PEER ").count() >= 2, || seen.clone())
    });
    assert!(!is_plain(), "keys are not given at once");
    end(&keyboard, child.id());
    let status = z4_e2e::command::wait(&mut child, LIMIT).expect("top ends");
    assert_eq!(status.code(), Some(0));
    assert!(is_plain(), "the terminal is not as it was");
    std::thread::sleep(Duration::from_millis(200));
    seen.extend(rx.try_iter());
    seen
}

#[test]
fn the_terminal_is_given_back_by_a_key_and_by_a_signal() {
    let (_cluster, tool) = single();
    let signals = [Signal::INT, Signal::QUIT, Signal::TERM, Signal::HUP];
    for signal in std::iter::once(None).chain(signals.map(Some)) {
        let seen = on_a_terminal(&tool, |mut keyboard, pid| match signal {
            None => keyboard.write_all(b"q").unwrap(),
            Some(signal) => {
                let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
                rustix::process::kill_process(pid, signal).unwrap();
            }
        });
        assert!(seen.starts_with("\u{1b}[?1049h"), "{seen:?}");
        assert!(seen.ends_with("\u{1b}[?1049l"), "{seen:?}");
    }
}
