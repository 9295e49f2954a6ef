//! The results as JSON: every round, the medians and the ratios.

use serde_json::{json, Map, Value};

use crate::results::{Measured, OfSystem, Results, COLUMNS};

/// All of it.
#[must_use]
pub fn text(results: &Results) -> String {
    let systems: Vec<Value> = results
        .systems
        .iter()
        .map(|s| of_system(results, s))
        .collect();
    let ratios = results.ratios().into_iter().map(|row| {
        let peers = results.peers().map(|peer| peer.name.to_owned());
        let of_peers: Map<_, _> = peers
            .zip(row.of_peers.into_iter().map(Value::from))
            .collect();
        json!({
            "figure": row.name,
            "more_is_better": row.more_is_better,
            "z4_to_peer": of_peers,
        })
    });
    let all = json!({
        "rounds": results.rounds,
        "seconds": results.seconds,
        "payload_bytes": crate::inside::BODY,
        "ratios": ratios.collect::<Vec<_>>(),
        "systems": systems,
    });
    format!("{all:#}\n")
}

fn of_system(results: &Results, system: &OfSystem) -> Value {
    let mut medians = Map::new();
    for work in &results.works {
        let median = |c: &crate::results::Column| {
            Some((c.key.to_owned(), Value::from(system.median(work, c)?)))
        };
        let of_work: Map<_, _> = COLUMNS.iter().filter_map(median).collect();
        if !of_work.is_empty() {
            medians.insert(work.name.to_owned(), Value::Object(of_work));
        }
    }
    json!({
        "name": system.name,
        "version": system.version,
        "setup": system.setup,
        "synced_write_p50_ms": system.synced_write_ms,
        "left_out": system.left_out,
        "faults": system.faults,
        "medians": medians,
        "rounds": system.figures.iter().map(of_round).collect::<Vec<_>>(),
    })
}

fn of_round(measured: &Measured) -> Value {
    let mut values = Map::new();
    values.insert("work".to_owned(), measured.work.name.into());
    for column in &COLUMNS {
        values.insert(
            column.key.to_owned(),
            (column.get)(&measured.figures).into(),
        );
    }
    values.insert("faults".to_owned(), measured.figures.faults.clone().into());
    Value::Object(values)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::results::tests::results;

    #[test]
    fn medians_rounds_and_ratios_are_there() {
        let value: serde_json::Value = serde_json::from_str(&super::text(&results())).unwrap();
        assert_eq!(value["ratios"][0]["z4_to_peer"]["nats"], 0.5);
        assert_eq!(
            value["systems"][0]["medians"]["create-1"]["tasks_per_s"],
            20.0
        );
        assert_eq!(
            value["systems"][0]["rounds"].as_array().map(Vec::len),
            Some(6)
        );
        assert_eq!(value["systems"][2]["left_out"][0], "it is not installed");
    }
}
