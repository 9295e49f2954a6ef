//! Rates in a unit that suits them, from the command line to the delivery.

use std::time::{Duration, Instant};

use z4_e2e::wait;

use crate::z4t_life::{id_of, leased, made, single};

#[test]
fn a_rate_is_set_and_shown_in_its_own_unit() {
    let (_cluster, tool) = single();
    for (flags, rate, per_s, line) in [
        (["--rate", "100/h"], "100/h", 1, "rate              100/h"),
        (["--rate", "90/m"], "90/m", 2, "rate              90/m"),
        (
            ["--rate", "3/90s"],
            "3/1m30s",
            1,
            "rate              3/1m30s",
        ),
        (["--rate", "5/s"], "5/s", 5, "rate              5/s"),
        // An older client shows and sets a rate per second.
        (["--rate-per-s", "7"], "7/s", 7, "rate              7/s"),
    ] {
        let set = tool.json(&[&["ns", "set", "unit"], &flags[..]].concat());
        assert_eq!(set["settings"]["rate"], rate, "{set}");
        assert_eq!(set["settings"]["rate_per_s"], per_s, "{set}");
        assert_eq!(tool.json(&["ns", "get", "unit"]), set);
        let text = tool.text(&["ns", "get", "unit"]);
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    for none in [["--rate", "0"], ["--rate-per-s", "0"]] {
        let _ = tool.text(&["ns", "set", "unit", "--rate", "1/d"]);
        let set = tool.json(&[&["ns", "set", "unit"], &none[..]].concat());
        assert!(set["settings"]["rate"].is_null(), "{set}");
        assert_eq!(set["settings"]["rate_per_s"], 0, "{set}");
    }
    for wrong in ["100", "1/fortnight", "x/s"] {
        tool.refused(&["ns", "set", "unit", "--rate", wrong], 2, &["100/h"]);
    }
    let both = ["--rate", "1/s", "--rate-per-s", "1"];
    tool.refused(
        &[&["ns", "set", "unit"], &both[..]].concat(),
        2,
        &["--rate"],
    );
}

/// Twenty a minute is one in three seconds: no whole number of deliveries per
/// second says so.
#[test]
fn a_slow_rate_holds_tasks_back() {
    const INTERVAL: Duration = Duration::from_secs(3);
    let (_cluster, tool) = single();
    let _ = tool.text(&["ns", "set", "slow", "--rate", "20/m"]);
    let ids = [made(&tool, "slow", &[]), made(&tool, "slow", &[])];
    let start = Instant::now();
    assert_eq!(id_of(&leased(&tool, "slow", &[])), ids[0]);
    assert_eq!(tool.text(&["lease", "slow"]), "", "one at a time");
    let explained = tool.text(&["explain", "slow", &ids[1]]);
    let said = "- rate_limit: the rate limit of 20 a minute is used up";
    assert!(explained.contains(said), "{explained}");
    wait::until("the second one comes", Duration::from_secs(60), || {
        let text = tool.text(&["lease", "slow"]);
        wait::check(text.contains(&ids[1]), || text.clone())
    });
    let waited = start.elapsed();
    assert!(waited >= INTERVAL, "it came after {waited:?}");
}
