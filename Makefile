# The workshop of z4. `make` alone lists what can be done.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

export CARGO_TARGET_DIR ?= $(HOME)/.cache/z4/target
RELEASE := $(CARGO_TARGET_DIR)/release
DEBUG := $(CARGO_TARGET_DIR)/debug
# The Compose tool is a plugin of the engine or a program of its own.
COMPOSE := $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose) -f docker/docker-compose.yaml

.PHONY: help setup run test verify fix e2e failpoints bench bench_floor bench_growth bench_guard bench_peers fuzz sim mutants shrink chaos chaos_kills chaos_power chaos_lies soak nightly nightly_summary seeing_check deploy_check deploy_test demo compose_up compose_tls_up compose_down compose_test docker_base clean_db

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9_]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install the Debian packages a build needs, if any is missing
	@scripts/setup

run: setup ## build, then run one durable peer in this folder (z4data, z4peer)
	@cargo build --locked --release -p z4-server -p z4t
	@Z4_PEER_ID="$${Z4_PEER_ID:-peer1}" \
	Z4_BOOTSTRAP_CLUSTER="$${Z4_BOOTSTRAP_CLUSTER:-true}" \
	scripts/run "$(RELEASE)"

# Most tests on real binaries wait for a peer most of the time: twice as many
# side by side as there are cores take half as long. Those that fill a disk run
# alone, for a peer that gets no processor sees too late that its disk is full.
test: export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(nproc))))
test: export Z4_BIN_DIR = $(DEBUG)
test: setup ## run every test, those on real binaries included
	@status=0; release=$$(scripts/last_release) || status=$$?; \
	case $$status in 0) skip= ;; 3) skip="--skip upgrade::" ;; *) exit $$status ;; esac; \
	set -x; cargo build --locked --workspace --bins && \
	export Z4_RELEASE_DIR="$$release" && \
	cargo test --locked --workspace -- --skip disk_full $$skip && \
	cargo test --locked --workspace --test suite -- disk_full --test-threads 1 && \
	{ [ -z "$$skip" ] || echo "make test: passed WITHOUT the tests of upgrades" >&2; }

verify: setup ## check format, lints, layers, fuzz targets and docs; changes nothing
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	scripts/layers
	scripts/released
	scripts/fuzz build
	scripts/nightly.d/check
	cargo test --locked -q -p z4-proto --lib surface
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

fix: setup ## format, and mend what clippy can mend by itself
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	cargo fmt --all

e2e: setup ## run the tests on real binaries alone, the long ones included
	@scripts/last_release
	cargo build --locked --workspace --bins
	Z4_RELEASE_DIR="$$(scripts/last_release)" Z4_BIN_DIR="$(DEBUG)" cargo test --locked -p z4-e2e -- --include-ignored

# The seeds are fresh ones; FIRST= begins elsewhere, SEED= runs one alone.
# ARGS: z4-sim run --help.
SEEDS ?= 1000
SECONDS ?= 300
sim: setup ## simulate clusters under faults: SEEDS=1000, SEED=, SECONDS=300
	@cargo build --locked --workspace --bin z4-sim
	@"$(DEBUG)/z4-sim" run $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) \
		$(if $(FIRST),--first $(FIRST)) --seconds $(SECONDS) $(ARGS)

shrink: setup ## make a seed that fails smaller while it fails: SEED=, SECONDS=300
	@cargo build --locked --workspace --bin z4-sim
	@"$(DEBUG)/z4-sim" shrink --seed $(SEED) --seconds $(SECONDS) $(ARGS)

mutants: setup ## put mistakes in on purpose, and see that the simulator finds each
	@cargo build --locked -p z4-sim --features planted
	@"$(DEBUG)/z4-sim" mutants $(ARGS)

# PROFILE=dev is quicker to build; MINUTES, SEED, FAULTS, SKIP, PEERS: z4-chaos --help.
chaos: PROFILE ?= release
chaos: export MINUTES ?= 30
chaos: ## make real faults on a real cluster, as root: MINUTES=30, SEED=
	@scripts/setup chaos
	@scripts/chaos "$(PROFILE)"

chaos_kills: PROFILE ?= release
chaos_kills: ## kill peers of a real cluster 1,000 times, as root
	@scripts/setup chaos
	@scripts/chaos "$(PROFILE)" --kills 1000

chaos_power: PROFILE ?= release
chaos_power: ## take the power from peers of a real cluster 500 times, as root
	@scripts/setup chaos
	@scripts/chaos "$(PROFILE)" --power-losses 500

soak: PROFILE ?= release
soak: export MINUTES ?= 60
soak: ## watch what grows in a real cluster under load and faults, as root: MINUTES=60
	@scripts/setup chaos
	@scripts/chaos "$(PROFILE)" --soak

# Exit code 1 of the runner, a broken promise, is what is wanted here.
chaos_lies: PROFILE ?= release
chaos_lies: ## see that make chaos finds a raft log that is not synced
	@scripts/setup chaos
	@status=0; \
	scripts/chaos "$(PROFILE)" --lying-disks --minutes 1 --faults "power loss of all" || status=$$?; \
	case $$status in \
	1) echo "chaos_lies: found" ;; \
	3) exit 3 ;; \
	*) echo "chaos_lies: syncs in name only were NOT found" >&2; exit 1 ;; \
	esac

failpoints: export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(nproc))))
failpoints: setup ## fail every durable step of real binaries, one at a time
	@bin=$$(scripts/faulty dev | tail -n 1); \
	Z4_BIN_DIR="$$bin" cargo test --locked -p z4-e2e --features failpoints fail_points -- --nocapture

seeing_check: setup ## run every expression of dashboard and alerts on three peers and a real Prometheus
	@scripts/setup seeing
	@cargo build --locked --workspace --bins
	@scripts/seeing_check "$(DEBUG)"

deploy_check: ## render and validate the Helm chart, verify the systemd unit
	@scripts/setup deploy
	@"$$(scripts/deploy_python)" scripts/deploy_check

# As root: the containers run as the user of the chart, with volumes of that user.
deploy_test: setup ## act the life of the Helm chart out with containers
	@scripts/setup deploy
	@cargo build --locked -p z4-server -p z4t
	@"$$(scripts/deploy_python)" scripts/deploy_test "$(DEBUG)"

# PARTS names some of them, in the order in which they are to run.
# AGAIN=1 runs them although they passed, MINUTES=N begins none after that time.
nightly: ## run the long checks that have not passed for this source: PARTS="sim chaos"
	@scripts/nightly $(PARTS)

nightly_summary: ## tell how each part of `make nightly` ended
	@scripts/nightly --summary $(PARTS)

bench: setup ## run the benchmarks
	cargo bench --locked -p z4-bench

bench_floor: setup ## what this machine can do at best, and how far z4 is from it
	@cargo build --locked --release -p z4-server -p z4t -p z4-bench --bins
	@"$(RELEASE)/z4-load" floor

# All of it takes hours and 20 GB; ARGS="--scale 0.01" takes minutes.
bench_growth: setup ## what grows with waiting tasks, namespaces, consumers, consumed tasks: ARGS="--scale 0.01"
	@cargo build --locked --release -p z4-server -p z4t -p z4-bench --bins
	@"$(RELEASE)/z4-load" growth --csv "$(RELEASE)/growth.csv" $(ARGS)

# ARGS=--write stores the new figures.
bench_guard: setup ## count the instructions of the hot path, against the stored figures
	@scripts/bench_guard $(ARGS)

# ARGS: scripts/bench_peers --help.
bench_peers: setup ## z4 beside RabbitMQ, NATS, etcd, Redis, PostgreSQL, beanstalkd: ARGS="--only z4,nats"
	@scripts/bench_peers $(ARGS)

fuzz: SECONDS = 30
fuzz: setup ## run the fuzz targets: SECONDS=30 for each
	@scripts/fuzz "$(SECONDS)"

demo: setup ## three peers in temporary folders: create, stream, kill the leader
	@cargo build --locked --release -p z4-server -p z4t
	@scripts/demo "$(RELEASE)"

compose_up: ## build the image, start three peers in containers
	$(COMPOSE) build
	$(COMPOSE) up --detach

compose_down: ## stop the containers and erase their data
	$(COMPOSE) -f docker/docker-compose.tls.yaml down --volumes --remove-orphans

compose_tls_up: ## the same with TLS on every port; what clients need comes to docker/certs
	$(COMPOSE) -f docker/docker-compose.tls.yaml build
	$(COMPOSE) -f docker/docker-compose.tls.yaml up --detach
	@mkdir -p -m 700 docker/certs
	@umask 077; for name in ca.pem clients/admin.pem clients/admin-key.pem; do \
		$(COMPOSE) -f docker/docker-compose.tls.yaml exec -T peer1 cat /certs/$$name \
			> docker/certs/$${name#clients/} || exit 1; done
	@echo "z4t -t localhost:6355 --ca docker/certs/ca.pem --cert docker/certs/admin.pem \\"
	@echo "    --key docker/certs/admin-key.pem info"

compose_test: setup ## walk through a cluster of containers, with checks
	@cargo build --locked --release -p z4t
	@scripts/compose_test "$(RELEASE)/z4t"

docker_base: ## make the base images here, where no image registry is reached
	docker/base-image.sh

clean_db: ## erase the data of `make run`
	rm -rf z4data z4peer
