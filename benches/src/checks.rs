//! Tests of the measures against a server that breaks promises on purpose.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use serde_json::json;

use crate::fake::{start, Faults};
use crate::place::Place;
use crate::report::Report;
use crate::{lateness, producer, soak, stream, unary};

fn lateness_of(faults: Faults) -> serde_json::Value {
    let (_server, address) = start(faults);
    let plan = lateness::Plan {
        namespaces: lateness::own_namespace(7),
        tasks: 300,
        over: Duration::from_millis(500),
        lead: Duration::from_secs(2),
        streams: 2,
        seed: 7,
        grace: Duration::from_secs(1),
    };
    lateness::run(&Place::open(&[address]), &plan)
        .unwrap()
        .into_value()
}

#[test]
fn lateness_of_a_server_that_keeps_its_promises() {
    let found = lateness_of(Faults::default());
    for name in ["early", "missing", "twice", "foreign", "streams_that_ended"] {
        assert_eq!(found[name], json!(0), "{name} in {found:#}");
    }
    assert!(
        found["lateness_p50_ms"].as_f64().unwrap() > 0.0,
        "{found:#}"
    );
}

#[test]
fn lateness_sees_early_lost_and_doubled_tasks() {
    let found = lateness_of(Faults {
        early: Some(3),
        lost: Some(5),
        twice: Some(8),
        refused: None,
    });
    for name in ["early", "missing", "twice"] {
        assert_eq!(found[name], json!(1), "{name} in {found:#}");
    }
}

#[test]
fn a_refused_create_makes_lateness_invalid() {
    let (_server, address) = start(Faults {
        refused: Some(4),
        ..Faults::default()
    });
    let plan = lateness::Plan {
        namespaces: lateness::own_namespace(7),
        tasks: 10,
        over: Duration::ZERO,
        lead: Duration::from_secs(2),
        streams: 1,
        seed: 7,
        grace: Duration::ZERO,
    };
    let why = lateness::run(&Place::open(&[address]), &plan).unwrap_err();
    assert!(why.contains("9 of 10"), "{why}");
}

#[test]
fn streams_and_callers_count_every_answer() {
    let (_server, address) = start(Faults {
        refused: Some(10),
        ..Faults::default()
    });
    let place = Place::open(&[address]);
    for window in [1, 2, 1_024] {
        let length = Duration::from_millis(300);
        let tally = stream::run(&place.clients(1), window, length, 10);
        assert!(tally.latency.len() > 20, "window {window}: {tally:?}");
        let refused: u64 = tally.refused.values().sum();
        assert_eq!(
            refused,
            u64::from(window == 1),
            "window {window}: {tally:?}"
        );
    }
    let tally = unary::run(&place.clients(1), 8, Duration::from_millis(300), 10);
    assert!(
        tally.latency.len() > 20 && tally.refused.is_empty(),
        "{tally:?}"
    );
}

#[test]
fn the_producer_of_the_client_hears_every_answer() {
    let (_server, address) = start(Faults {
        refused: Some(10),
        ..Faults::default()
    });
    for window in [1, 1_024] {
        let length = Duration::from_millis(300);
        let tally = producer::run(std::slice::from_ref(&address), window, length, 10);
        assert!(tally.latency.len() > 20, "window {window}: {tally:?}");
        let refused = tally.refused.get("InvalidArgument").copied();
        assert_eq!(
            refused,
            (window == 1).then_some(1),
            "window {window}: {tally:?}"
        );
    }
}

#[test]
fn a_soak_finds_a_lost_task() {
    for (lost, clean) in [(None, true), (Some(20), false)] {
        let (_server, address) = start(Faults {
            lost,
            ..Faults::default()
        });
        let plan = soak::Plan {
            length: Duration::from_millis(500),
            rate: 400.0,
            producers: 4,
            seed: 1,
            grace: Duration::from_secs(1),
        };
        let mut report = Report::default();
        let outcome = soak::run(&Place::open(&[address]), &plan, &mut report);
        assert_eq!(outcome.is_ok(), clean, "{outcome:?}");
        assert_eq!(report.into_value()["lost"], json!(usize::from(!clean)));
    }
}
