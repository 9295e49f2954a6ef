//! The floor: what this machine can do at best, so that every figure of z4 can be seen
//! as a distance from it.
//!
//! A bare commit is what three peers cannot do without. The leader has an entry from a
//! client over a connection, sends it to two followers, and writes and syncs it itself
//! meanwhile; a follower writes, syncs and answers; with its own copy and one answer
//! the leader answers the client. There is no Raft, no state and no codec.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use z4_e2e::Client;

use crate::place::Place;
use crate::report::Report;
use crate::stats::Times;
use crate::unary;

/// Bytes of an entry beside the payload, as z4 has them: stamp, namespace, times.
const ENTRY_BYTES: usize = 64;
/// Rounds, so that a machine that is disturbed for a while does not decide.
const ROUNDS: usize = 3;

/// The plan of a measurement.
pub struct Plan {
    /// How long each of the four is measured in each round.
    pub length: Duration,
    /// Bytes of each payload.
    pub payload_bytes: usize,
}

/// Measures a write that is synced, a round trip over loopback, a bare commit, and one
/// create of z4 at its leader, in turn; gives the medians of the rounds.
///
/// # Errors
/// When a file, a connection or the peers fail.
pub fn run(plan: &Plan) -> Result<Report, String> {
    let place = Place::open(&[]);
    let leader = place.leader()?;
    let mut clients: Vec<Client> = place.clients(1);
    clients.retain(|client| client.address == leader);
    let entry = vec![7; ENTRY_BYTES + plan.payload_bytes];
    let mut rounds: [Vec<f64>; 4] = Default::default();
    for _ in 0..ROUNDS {
        let of_disk = synced_writes(&entry, plan.length).map_err(|e| e.to_string())?;
        let of_loopback = round_trips(&entry, plan.length).map_err(|e| e.to_string())?;
        let of_commit = bare_commits(&entry, plan.length).map_err(|e| e.to_string())?;
        let of_create = unary::run(&clients, 1, plan.length, plan.payload_bytes).latency;
        let all = [of_disk, of_loopback, of_commit, of_create];
        for (round, times) in rounds.iter_mut().zip(all) {
            if times.len() == 0 {
                return Err("a measure has no result".to_owned());
            }
            round.push(times.percentile(0.5).as_secs_f64() * 1e3);
        }
    }
    let [disk, loopback, commit, create] = rounds.map(median);
    let mut report = Report::default();
    for (name, ms) in [
        ("synced_write_p50_ms", disk),
        ("loopback_round_trip_p50_ms", loopback),
        ("bare_commit_p50_ms", commit),
        ("z4_create_p50_ms", create),
    ] {
        report.add(name, (ms * 1e3).round() / 1e3);
    }
    report.add_rounded("z4_create_to_bare_commit", create / commit);
    Ok(report)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Does something again and again, for so long.
fn timed(length: Duration, mut what: impl FnMut() -> io::Result<()>) -> io::Result<Times> {
    let (mut times, end) = (Times::default(), Instant::now() + length);
    while Instant::now() < end {
        let began = Instant::now();
        what()?;
        times.push(began.elapsed());
    }
    Ok(times)
}

/// A log to which entries are appended, each with a sync.
struct Log(File);

impl Log {
    fn create(folder: &Path, name: &str) -> io::Result<Self> {
        File::create(folder.join(name)).map(Self)
    }

    fn append(&mut self, entry: &[u8]) -> io::Result<()> {
        self.0.write_all(entry)?;
        self.0.sync_data()
    }
}

fn synced_writes(entry: &[u8], length: Duration) -> io::Result<Times> {
    let folder = tempfile::tempdir()?;
    let mut log = Log::create(folder.path(), "log")?;
    timed(length, || log.append(entry))
}

/// A listener, and a connection to it.
fn connected() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

/// Runs `each` for every entry that comes, until the other side hangs up.
fn serve(
    mut stream: TcpStream,
    entry_len: usize,
    mut each: impl FnMut(&[u8], &mut TcpStream) -> io::Result<()> + Send + 'static,
) -> JoinHandle<io::Result<()>> {
    thread::spawn(move || {
        let mut entry = vec![0; entry_len];
        loop {
            match stream.read_exact(&mut entry) {
                Ok(()) => each(&entry, &mut stream)?,
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    })
}

/// Sends an entry and waits for the answer of one byte.
fn ask(stream: &mut TcpStream, entry: &[u8]) -> io::Result<()> {
    stream.write_all(entry)?;
    stream.read_exact(&mut [0])
}

fn round_trips(entry: &[u8], length: Duration) -> io::Result<Times> {
    let (mut near, far) = connected()?;
    let server = serve(far, entry.len(), |_, stream| stream.write_all(&[1]));
    let times = timed(length, || ask(&mut near, entry))?;
    drop(near);
    joined(server)?;
    Ok(times)
}

fn bare_commits(entry: &[u8], length: Duration) -> io::Result<Times> {
    let folder = tempfile::tempdir()?;
    let (answered, answers) = mpsc::channel();
    let (mut followers, mut ends, mut threads) = (Vec::new(), Vec::new(), Vec::new());
    for name in ["follower1", "follower2"] {
        let (near, far) = connected()?;
        let mut log = Log::create(folder.path(), name)?;
        threads.push(serve(far, entry.len(), move |entry, stream| {
            log.append(entry)?;
            stream.write_all(&[1])
        }));
        let answered = answered.clone();
        // The number of entries that are synced at this follower.
        let mut count = 0_u64;
        threads.push(serve(near.try_clone()?, 1, move |_, _| {
            count += 1;
            // The leader has ended when this fails.
            let _ = answered.send(count);
            Ok(())
        }));
        ends.push(near.try_clone()?);
        followers.push(near);
    }
    let (mut client, far) = connected()?;
    let mut log = Log::create(folder.path(), "leader")?;
    let (mut last, mut synced) = (0_u64, 0_u64);
    let leader = serve(far, entry.len(), move |entry, stream| {
        last += 1;
        for follower in &mut followers {
            follower.write_all(entry)?;
        }
        log.append(entry)?;
        while synced < last {
            let of_one = answers.recv().map_err(io::Error::other)?;
            synced = synced.max(of_one);
        }
        stream.write_all(&[1])
    });
    let times = timed(length, || ask(&mut client, entry))?;
    drop(client);
    joined(leader)?;
    for end in ends {
        end.shutdown(Shutdown::Both)?;
    }
    threads.into_iter().try_for_each(joined)?;
    Ok(times)
}

fn joined(thread: JoinHandle<io::Result<()>>) -> io::Result<()> {
    thread
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("a thread of the bench panicked")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_bare_commit_is_on_two_disks_when_it_is_answered() {
        let entry = vec![3; 100];
        let times = bare_commits(&entry, Duration::from_millis(50)).unwrap();
        assert!(times.len() > 0);
        let trips = round_trips(&entry, Duration::from_millis(20)).unwrap();
        assert!(trips.len() > 0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
