//! One row: three peers are brought to where it begins, measured, and audited.
//!
//! Lateness and whole lives come before the creates, whose tasks wait as those of the
//! backlog do: the first row would not be one without a backlog otherwise. The leader is
//! killed last.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use z4_e2e::{create, http, wait, Client, Cluster, Edit};
use z4_proto::generated::admin::{ListNamespacesRequest, PeerRole};
use z4_proto::generated::collection::CreateTaskRequest;

use super::audit::{self, Made};
use super::{described, footprint, Plan, Point};
use crate::crew::Crew;
use crate::cycle::rest;
use crate::place::{report_sync_cost, Place};
use crate::random::seed_of_now;
use crate::report::Report;
use crate::{first_create, lateness, stream};

/// When tasks of the backlog are due: nobody waits for them.
const FAR: Duration = Duration::from_secs(365 * 24 * 3_600);
/// Creates in flight while their rate is measured, and while the backlog is made.
const WINDOW: usize = 1_024;
/// Whole lives that go on at one time.
const INSIDE: u64 = 1_024;
/// Streams that create for the consumers: as many, however many consumers there are.
const CREATORS: usize = 4;
/// Tasks of the backlog that are made in one go: the latency of each is kept meanwhile.
const FILL: u64 = 1 << 20;
/// From the first create of tasks that fall due to the earliest of their times, for each
/// of them beside a fixed time.
const LEAD_OF_ONE: Duration = Duration::from_micros(200);
const LEAD: Duration = Duration::from_secs(5);
/// How long what is missing is waited for.
const GRACE: Duration = Duration::from_secs(60);
/// The beginning of the names of all namespaces that are audited.
const NAMES: &str = "growth-";
/// The namespace in which the first create after the kill is looked for.
const FIRST: &str = "first";

/// A row in the making.
struct Row<'a> {
    plan: &'a Plan,
    length: Duration,
    point: &'a Point,
    place: Place,
    made: Made,
    report: Report,
}

/// Measures one row, on three peers of its own.
///
/// # Errors
/// When something was refused, lost or came twice, or no peer leads.
pub fn measure(plan: &Plan, length: Duration, point: &Point) -> Result<Report, String> {
    let mut row = Row {
        plan,
        length,
        point,
        place: Place::open(&[]),
        made: Made::default(),
        report: described(point),
    };
    report_sync_cost(&mut row.report)?;
    row.consume_before()?;
    row.fill()?;
    row.lateness()?;
    row.lives()?;
    row.creates()?;
    row.takes();
    row.kill()?;
    Ok(row.report)
}

impl Row<'_> {
    fn name(nth: u64) -> String {
        format!("{NAMES}{nth}")
    }

    fn create(&self, nth: u64) -> CreateTaskRequest {
        create(&Self::name(nth), vec![b'x'; self.plan.payload_bytes])
    }

    /// The namespaces in which consumers are.
    fn worked(&self) -> u64 {
        self.point.namespaces.min(self.point.consumers)
    }

    fn leader(&self) -> Result<Vec<Client>, String> {
        let leader = self.place.leader()?;
        let mut clients = self.place.clients(1);
        clients.retain(|client| client.address == leader);
        Ok(clients)
    }

    fn crew(&self) -> Crew {
        let consumers = self.point.consumers;
        Crew {
            requests: (0..self.worked()).map(|n| self.create(n)).collect(),
            workers: consumers as usize,
            creators: CREATORS,
            in_flight: (INSIDE / consumers).max(1) as u32,
        }
    }

    /// Makes `INSIDE` tasks that are due at once, over the namespaces that are worked in.
    fn put_inside(&mut self) -> Result<(), String> {
        let requests: Vec<_> = (0..INSIDE)
            .map(|n| self.create(n % self.worked()))
            .collect();
        let mut requests = Some(requests.into_iter());
        let made = stream::run_with(&self.leader()?, WINDOW, || {
            requests.take().into_iter().flatten()
        });
        match made.latency.len() as u64 == INSIDE {
            true => Ok(()),
            false => Err(format!("tasks inside: {:?}", made.refused)),
        }
    }

    fn consume_before(&mut self) -> Result<(), String> {
        if self.point.consumed > 0 {
            self.put_inside()?;
            let working = self.crew().start(&self.place.clients(2));
            working.wait_done(self.point.consumed, GRACE)?;
            let sum = working.finish(INSIDE, GRACE)?;
            self.made.add_done(sum.done);
        }
        Ok(())
    }

    /// Makes the backlog, over all namespaces in turn: each has a task at least when
    /// there are several, for it is there from its first task on.
    fn fill(&mut self) -> Result<(), String> {
        let namespaces = self.point.namespaces;
        let least = if namespaces > 1 { namespaces } else { 0 };
        let count = self.point.backlog.max(least);
        let start = Instant::now();
        for from in (0..count).step_by(FILL as usize) {
            let to = count.min(from + FILL);
            self.wait(from, to - from)?;
        }
        let spent = start.elapsed().as_secs_f64();
        self.report.add_rounded("filled_s", spent);
        let rested = rest(&self.place);
        self.report.add_rounded("rested_s", rested.as_secs_f64());
        Ok(())
    }

    /// Makes tasks that wait, over all namespaces from the `from`-th on.
    fn wait(&mut self, from: u64, count: u64) -> Result<(), String> {
        let requests = self.far(from).take(count as usize);
        let mut requests = Some(requests);
        let made = stream::run_with(&self.leader()?, WINDOW, || {
            requests.take().into_iter().flatten()
        });
        self.made.add_waiting(made.latency.len() as u64);
        match made.latency.len() as u64 == count {
            true => Ok(()),
            false => Err(format!("of {count} tasks: {:?}", made.refused)),
        }
    }

    /// Creates of tasks that wait, over all namespaces in turn, without an end.
    fn far(&self, from: u64) -> impl Iterator<Item = CreateTaskRequest> + Send + 'static {
        let due = SystemTime::now() + FAR;
        let (request, namespaces) = (self.create(0).at(due), self.point.namespaces);
        (from..).map(move |nth| {
            let mut request = request.clone();
            request.set_namespace(Self::name(nth % namespaces));
            request
        })
    }

    fn lateness(&mut self) -> Result<(), String> {
        let tasks = (self.plan.due_per_s as f64 * self.length.as_secs_f64()) as usize;
        let seed = self.plan.seed.unwrap_or_else(seed_of_now);
        self.report.add("seed", seed);
        let late = lateness::run(
            &self.place,
            &lateness::Plan {
                namespaces: (0..self.worked()).map(Self::name).collect(),
                tasks,
                over: self.length,
                lead: LEAD + LEAD_OF_ONE * tasks as u32,
                streams: self.point.consumers as usize,
                seed,
                grace: GRACE,
            },
        )?;
        let late = late.into_value();
        for wrong in ["early", "missing", "twice", "foreign", "streams_that_ended"] {
            if late[wrong].as_u64() != Some(0) {
                return Err(format!("{wrong}: {late}"));
            }
        }
        self.made.add_done(tasks as u64);
        for name in ["lateness_p50_ms", "lateness_p99_ms", "lateness_max_ms"] {
            self.report.add(name, late[name].clone());
        }
        let cpu = late["cpu_us_per_delivered_task_all_peers"].clone();
        self.report.add("lateness_cpu_us_per_task", cpu);
        Ok(())
    }

    fn lives(&mut self) -> Result<(), String> {
        rest(&self.place);
        self.put_inside()?;
        let working = self.crew().start(&self.place.clients(2));
        let lives = working.measure(&self.place, self.length);
        let sum = working.finish(INSIDE, GRACE)?;
        self.made.add_done(sum.done);
        self.report.add_rounded("cycle_per_s", lives.per_s);
        if let Some(us) = lives.cpu_us {
            self.report.add_rounded("cycle_cpu_us_per_task", us);
        }
        Ok(())
    }

    fn creates(&mut self) -> Result<(), String> {
        rest(&self.place);
        let (leader, end) = (self.leader()?, Instant::now() + self.length);
        let requests = self.far(0).take_while(move |_| Instant::now() < end);
        let (mut requests, before) = (Some(requests), self.place.cpu_time());
        let made = stream::run_with(&leader, WINDOW, || requests.take().into_iter().flatten());
        let count = made.latency.len() as u64;
        self.made.add_waiting(count);
        if count == 0 || !made.refused.is_empty() {
            return Err(format!("{count} creates; {:?}", made.refused));
        }
        self.report.add_rounded("create_per_s", made.rate());
        if let Some((before, after)) = before.zip(self.place.cpu_time()) {
            let us = (after - before).as_secs_f64() * 1e6 / count as f64;
            self.report.add_rounded("create_cpu_us_per_task", us);
        }
        Ok(())
    }

    fn takes(&mut self) {
        rest(&self.place);
        if let Some(cluster) = &self.place.cluster {
            footprint::report(cluster, &mut self.report);
        }
    }

    /// Kills the leader, starts it again at once, and sees when it serves and when
    /// anybody does; then audits what it has.
    fn kill(&mut self) -> Result<(), String> {
        let cluster: &mut Cluster = self
            .place
            .cluster
            .as_mut()
            .ok_or_else(|| "the peers are not of this program".to_owned())?;
        let leader = cluster.wait_leader();
        let others = cluster.others(leader);
        let clients = cluster.clients();
        let others: Vec<Client> = others.iter().map(|n| clients[*n].clone()).collect();
        let start = Instant::now();
        cluster.peers[leader].kill();
        cluster.peers[leader].start();
        let (status, client) = (
            cluster.peers[leader].metrics_address(),
            clients[leader].clone(),
        );
        let serving = thread::spawn(move || serving(start, &status, &client));
        let first = first_create::after(start, &others, FIRST, GRACE);
        let serving = serving.join();
        let (ready, serving) =
            serving.unwrap_or_else(|_| Err("the thread that looks has panicked".to_owned()))?;
        self.report.add_rounded("ready_s", ready.as_secs_f64());
        self.report.add_rounded("serving_s", serving.as_secs_f64());
        let first = first.gap.as_secs_f64();
        self.report.add_rounded("first_create_s", first);
        cluster.wait_leader();
        let namespaces = self.point.namespaces;
        audit::compare(&clients[leader], NAMES, self.made, namespaces)?;
        self.report.add("created", self.made.created);
        self.report.add("waiting", self.made.waiting);
        self.report.add("done", self.made.done);
        Ok(())
    }
}

/// How long after the kill a peer says that it is ready, and how long until a read that
/// has to be up to date is answered there.
fn serving(start: Instant, status: &str, client: &Client) -> Result<(Duration, Duration), String> {
    let ready = wait::within(GRACE, || {
        let (code, body) = http::get(status, "/readyz")?;
        wait::check(code == 200, || format!("/readyz says {code} {body}"))?;
        Ok(start.elapsed())
    })?;
    let serving = wait::within(GRACE, || {
        let info = client.info().map_err(|e| e.to_string())?;
        wait::check(info.get_role() != PeerRole::PEER_ROLE_LEARNER, || {
            format!("{info:?}")
        })?;
        let request = ListNamespacesRequest::new();
        let limit = z4_e2e::client::option(z4_e2e::client::CALL_LIMIT);
        let answer = client.admin.list_namespaces_opt(&request, limit);
        answer.map_err(|e| e.to_string())?;
        Ok(start.elapsed())
    })?;
    Ok((ready, serving))
}
