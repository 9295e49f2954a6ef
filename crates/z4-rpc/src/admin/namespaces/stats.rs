//! GetNamespaceStats.

use z4_core::dispatch::ConsumersView;
use z4_core::inspect::{self, Rates, Stats};
use z4_core::{Namespace, View};
use z4_proto::generated::admin::NamespaceStats;

use super::show;
use crate::collection::no_namespace;
use crate::convert::{duration_of_ns, timestamp_of_ns};
use crate::errors::Error;
use crate::node::Node;
use crate::reading;

/// How a namespace does, `consumers` being its.
pub(in crate::admin) async fn stats<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    name: Namespace,
    consumers: ConsumersView,
) -> Result<NamespaceStats, Error> {
    let wanted = name.clone();
    let found = reading::latest(node, move |view| {
        let now_ns = reading::now_ns(view)?;
        let stats = inspect::stats(view, &wanted, now_ns)?;
        Ok(stats.map(|stats| (stats, now_ns)))
    });
    let (stats, now_ns) = found.await?.ok_or_else(|| no_namespace(&name))?;
    Ok(shown(&name, &stats, consumers, now_ns))
}

fn shown(name: &Namespace, stats: &Stats, consumers: ConsumersView, now_ns: u64) -> NamespaceStats {
    let row = &stats.row;
    let mut shown = NamespaceStats::default();
    shown.set_name(name.as_str().to_owned());
    shown.set_counts(show::counts(&row.counts));
    shown.set_pending_by_priority(row.queues.iter().map(|queue| queue.count).collect());
    if let Some(at_ns) = stats.oldest_due_at_ns {
        shown.set_oldest_due_age(duration_of_ns(now_ns.saturating_sub(at_ns)));
    }
    if let Some(at_ns) = stats.next_due_at_ns {
        shown.set_next_due_at(timestamp_of_ns(at_ns));
    }
    let Rates {
        elapsed_ns,
        created,
        deliveries,
        done,
    } = stats.rates;
    let per_s = |count: u64| count as f64 * 1e9 / elapsed_ns as f64;
    shown.set_created_per_s(per_s(created));
    shown.set_delivered_per_s(per_s(deliveries));
    shown.set_done_per_s(per_s(done));
    shown.set_lateness_mean(duration_of_ns(row.lateness_mean_ns));
    shown.set_consumers(consumers.consumers);
    shown.set_consumer_room(consumers.room);
    if row.leased_at_ns > 0 {
        shown.set_last_leased_at(timestamp_of_ns(row.leased_at_ns));
    }
    if let Some(at_ns) = row.paused_at_ns {
        shown.set_paused_at(timestamp_of_ns(at_ns));
    }
    shown.set_deleting(row.deleting.is_some());
    shown
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use z4_core::state::NamespaceRow;
    use z4_core::NamespaceId;

    #[test]
    fn every_number_is_in_its_field() {
        const S: u64 = 1_000_000_000;
        let mut row = NamespaceRow::new(NamespaceId(1));
        row.counts.pending = 7;
        row.queues[0].count = 3;
        row.queues[9].count = 4;
        row.lateness_mean_ns = 5_000_000;
        row.leased_at_ns = 6 * S;
        let stats = Stats {
            row,
            oldest_due_at_ns: Some(90 * S),
            next_due_at_ns: Some(110 * S),
            rates: Rates {
                elapsed_ns: 20 * S,
                created: 10,
                deliveries: 20,
                done: 40,
            },
        };
        let consumers = ConsumersView {
            consumers: 2,
            room: 9,
        };
        let shown = shown(&Namespace::new("n").unwrap(), &stats, consumers, 100 * S);
        assert_eq!(
            shown.get_pending_by_priority(),
            [3, 0, 0, 0, 0, 0, 0, 0, 0, 4]
        );
        assert_eq!(shown.get_oldest_due_age().get_seconds(), 10);
        assert_eq!(shown.get_next_due_at().get_seconds(), 110);
        let rates = (
            shown.get_created_per_s(),
            shown.get_delivered_per_s(),
            shown.get_done_per_s(),
        );
        assert_eq!(rates, (0.5, 1.0, 2.0));
        assert_eq!((shown.get_consumers(), shown.get_consumer_room()), (2, 9));
        assert_eq!(shown.get_lateness_mean().get_nanos(), 5_000_000);
        assert_eq!(shown.get_last_leased_at().get_seconds(), 6);
        assert!(!shown.has_paused_at() && !shown.get_deleting());
    }
}
