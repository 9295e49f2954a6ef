//! Black-box tests of z4 on real binaries: one idea per file. `make e2e` builds
//! the binaries and runs them all; `cargo test -p z4-e2e walk` runs one file.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod address_checks;
mod addresses;
mod all_killed;
mod bad_bytes;
mod bad_fields;
mod bad_peers;
mod bodies;
mod client_crate;
mod consume_exec;
mod deliver;
mod descriptors;
mod disk_full;
mod fail_points;
mod failover;
mod forward;
mod get;
mod health;
mod join_checks;
mod leases;
mod life;
mod metrics;
mod names;
mod namespaces;
mod priorities;
mod quorum;
mod races;
mod remove;
mod request_id;
mod restart;
mod returned;
mod share;
mod silence;
mod snapshot;
mod streams;
mod waiting;
mod walk;
mod words;
mod z4t_given;
mod z4t_input;
mod z4t_life;
mod z4t_rates;
mod z4t_shown;
mod z4t_views;
