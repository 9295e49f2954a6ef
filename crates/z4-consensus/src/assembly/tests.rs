use super::*;

const LIST: [&str; 3] = ["a:1", "b:1", "c:1"];
const SECOND_NS: u64 = 1_000_000_000;

fn list(addresses: &[&str]) -> BTreeSet<String> {
    addresses.iter().map(|a| (*a).to_owned()).collect()
}

fn settings(name: &str) -> Settings {
    Settings {
        peer_id: name.to_owned(),
        address: format!("{name}:1"),
        join: list(&LIST),
        expect: Some(3),
    }
}

fn empty(name: &str) -> Answer {
    Answer::Waiting(WaitingPeer {
        peer_id: name.to_owned(),
        address: format!("{name}:1"),
        join: list(&LIST),
        expect: 3,
    })
}

fn changed(name: &str, change: impl FnOnce(&mut WaitingPeer)) -> Answer {
    match empty(name) {
        Answer::Waiting(mut peer) => {
            change(&mut peer);
            Answer::Waiting(peer)
        }
        other => other,
    }
}

fn member(name: &str, cluster: u8) -> Answer {
    Answer::Member {
        peer_id: name.to_owned(),
        cluster_id: [cluster; 16],
    }
}

fn away() -> Answer {
    Answer::Unreachable("refused".to_owned())
}

fn round(answers: [Answer; 3]) -> BTreeMap<String, Answer> {
    let addresses = LIST.iter().map(|a| (*a).to_owned());
    addresses.zip(answers).collect()
}

fn reason(next: Next) -> String {
    match next {
        Next::Wait { reason } => reason,
        other => format!("{other:?}"),
    }
}

fn all_empty() -> BTreeMap<String, Answer> {
    round([empty("a"), empty("b"), empty("c")])
}

#[test]
fn the_least_address_founds_when_all_are_empty_and_agree() {
    let step = |name: &str| Assembly::new(settings(name)).step(0, &all_empty());
    assert_eq!(step("a"), Next::Found);
    for other in ["b", "c"] {
        assert!(reason(step(other)).contains("at a:1"), "{other}");
    }
}

#[test]
fn nobody_founds_while_one_is_away_or_a_member() {
    let step = |answers| Assembly::new(settings("a")).step(0, &answers);
    let said = reason(step(round([empty("a"), empty("b"), away()])));
    assert!(said.contains("nobody answers at c:1 (refused)"), "{said}");
    // Its volume was lost, and the others went on.
    for answers in [
        round([empty("a"), member("b", 7), member("c", 7)]),
        round([empty("a"), member("b", 7), away()]),
        round([empty("a"), member("b", 7), empty("c")]),
    ] {
        let address = "b:1".to_owned();
        assert_eq!(step(answers), Next::Ask { address });
    }
}

#[test]
fn what_differs_is_named_with_the_peer() {
    let step = |b: Answer| {
        let answers = round([empty("a"), b, empty("c")]);
        reason(Assembly::new(settings("a")).step(0, &answers))
    };
    type Change = fn(&mut WaitingPeer);
    let table: [(&str, Change); 6] = [
        ("Z4_JOIN of a lists c:1, and that of b does not", |p| {
            p.join = list(&["a:1", "b:1"]);
        }),
        ("Z4_JOIN of b lists d:1, and that of a does not", |p| {
            p.join = list(&["a:1", "b:1", "c:1", "d:1"]);
        }),
        ("Z4_BOOTSTRAP_EXPECT is 2 at b and 3 at a", |p| p.expect = 2),
        ("Z4_BOOTSTRAP_EXPECT is 0 at b", |p| p.expect = 0),
        ("answers at b:1 and tells others x:1", |p| {
            p.address = "x:1".to_owned();
        }),
        ("c answers at b:1 and at c:1", |p| {
            p.peer_id = "c".to_owned()
        }),
    ];
    for (text, change) in table {
        let said = step(changed("b", change));
        assert!(said.contains(text), "{text}: {said}");
    }
    let answers = round([
        changed("a", |p| p.peer_id = "z".to_owned()),
        empty("b"),
        empty("c"),
    ]);
    let said = reason(Assembly::new(settings("a")).step(0, &answers));
    assert!(said.contains("z answers at a:1"), "{said}");
}

#[test]
fn a_peer_founds_only_by_a_list_of_the_number_with_itself_in_it() {
    let with = |change: fn(&mut Settings)| {
        let mut settings = settings("a");
        change(&mut settings);
        reason(Assembly::new(settings).step(0, &all_empty()))
    };
    let said = with(|s| s.expect = None);
    assert!(said.contains("is not set"), "{said}");
    let said = with(|s| s.expect = Some(5));
    assert!(said.contains("is 5 and Z4_JOIN lists 3"), "{said}");
    let said = with(|s| s.address = "d:1".to_owned());
    assert!(said.contains("d:1, the address of this peer"), "{said}");
}

#[test]
fn members_of_two_clusters_are_both_named_and_nobody_is_asked() {
    let answers = round([empty("a"), member("b", 1), member("c", 2)]);
    let said = reason(Assembly::new(settings("a")).step(0, &answers));
    for text in [&*"01".repeat(16), &*"02".repeat(16), "b at b:1", "c at c:1"] {
        assert!(said.contains(text), "{text}: {said}");
    }
}

#[test]
fn members_are_asked_in_turn_ever_more_seldom() {
    let mut assembly = Assembly::new(settings("a"));
    let answers = round([empty("a"), member("b", 7), member("c", 7)]);
    let (mut asked, mut waited, mut now_ns) = (Vec::new(), Vec::new(), 0);
    for _ in 0..7 {
        let since_ns = now_ns;
        let address = loop {
            match assembly.step(now_ns, &answers) {
                Next::Ask { address } => break address,
                other => {
                    assert!(reason(other).contains("no leader"));
                    now_ns += SECOND_NS / 10;
                }
            }
        };
        waited.push((now_ns - since_ns) / 1_000_000);
        assembly.refused(now_ns, &address, "no leader is known");
        asked.push(address);
    }
    assert_eq!(asked, ["b:1", "c:1", "b:1", "c:1", "b:1", "c:1", "b:1"]);
    assert_eq!(waited, [0, 200, 400, 800, 1_600, 3_200, 5_000]);
}
