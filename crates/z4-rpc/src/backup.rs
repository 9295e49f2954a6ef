//! The hooks of the server for backups, and the thread that makes one.
//!
//! ```text
//!  thread of the backup                      gRPC thread
//!  rows as of one commit, packed,       ┌──▶ writes each piece to the client; gives up when the
//!  compressed, cut into pieces ─ queue ─┘    client is gone or takes nothing for a minute
//!  notes the backup when the client has all of it
//! ```
//!
//! The rows stand still for the backup alone: work goes on above them. Whoever reads slowly
//! holds them for as long, and the space on the disk that they take.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use futures::channel::{mpsc, oneshot};
use futures::executor::block_on;
use futures::SinkExt;
use z4_backup::{BackupError, Header, Manifest, Writer};
use z4_core::state::{machine_ns, Row, RowKey, StateError};
use z4_core::{Code, Refusal, View};
use z4_proto::generated::admin::BackupChunk;

use crate::errors::Error;
use crate::limits;

/// The commit that rows are of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cut {
    /// The cluster.
    pub cluster_id: [u8; 16],
    /// Term of the last entry that the rows hold.
    pub term: u64,
    /// Its index.
    pub index: u64,
    /// The level of the cluster there.
    pub level: u32,
}

/// The backup that the state of a cluster began with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The cluster that the backup is of.
    pub cluster_id: [u8; 16],
    /// The last entry of its log that the backup holds.
    pub index: u64,
    /// Fingerprint of all rows of the backup.
    pub state_hash: u128,
}

/// Reads all rows as of one commit; see [`StateHooks::at_once`].
pub type AtOnceHook = Arc<dyn Fn(&mut dyn FnMut(Cut, &dyn View)) + Send + Sync>;
/// Notes a backup; see [`StateHooks::sent`].
pub type SentHook = Arc<dyn Fn(u64) + Send + Sync>;
/// Tells where the state came from; see [`StateHooks::origin`].
pub type OriginHook = Arc<dyn Fn() -> Result<Option<Origin>, StateError> + Send + Sync>;

/// The hooks of the server for those who ask for all of the state.
#[derive(Clone)]
pub struct StateHooks {
    /// Calls back once, with all rows as of one commit and which commit that is. Called from
    /// a thread of its own, for minutes maybe; work goes on meanwhile.
    pub at_once: AtOnceHook,
    /// Notes durably that a backup up to this index was sent to its end. Called from a thread
    /// of its own.
    pub sent: SentHook,
    /// The backup that the state began with, if it began with one.
    pub origin: OriginHook,
}

/// The backups of a peer: one at a time.
#[derive(Clone)]
pub(crate) struct Backups {
    hooks: StateHooks,
    busy: Arc<AtomicBool>,
}

/// A message of the thread of a backup.
pub(crate) enum Piece {
    /// The next bytes of the file.
    Chunk(BackupChunk),
    /// All bytes came before.
    End(Manifest),
    /// The backup cannot go on.
    Failed(Error),
}

/// A backup that is being made. It ends when this is dropped.
pub(crate) struct Making {
    pub pieces: mpsc::Receiver<Piece>,
    /// To be told when the client has all of it.
    pub sent: oneshot::Sender<()>,
}

/// Held while a backup is made.
struct Turn(Arc<AtomicBool>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Nobody takes the pieces any more, or the backup cannot go on.
enum Stop {
    Left,
    Failed(Error),
}

impl From<BackupError> for Stop {
    fn from(error: BackupError) -> Self {
        Self::Failed(Error::Internal(error.to_string()))
    }
}

impl From<StateError> for Stop {
    fn from(error: StateError) -> Self {
        Self::Failed(Error::Internal(format!(
            "the task state cannot be read: {error}"
        )))
    }
}

impl Backups {
    pub(crate) fn new(hooks: StateHooks) -> Self {
        Self {
            hooks,
            busy: Arc::default(),
        }
    }

    pub(crate) fn hooks(&self) -> &StateHooks {
        &self.hooks
    }

    /// Begins a backup of what is applied here now.
    ///
    /// # Errors
    /// [`Error::Refused`] with RESOURCE_EXHAUSTED while another one is made here, or when the
    /// system gives no thread.
    pub(crate) fn begin(&self, peer_id: String) -> Result<Making, Error> {
        if self.busy.swap(true, Ordering::AcqRel) {
            let why = "this peer makes a backup already, and one at a time is the limit; wait \
                       until that has ended, or ask another peer";
            return Err(Refusal::new(Code::Exhausted, why).into());
        }
        let turn = Turn(Arc::clone(&self.busy));
        let (mut pieces, taken) = mpsc::channel(limits::BACKUP_QUEUE_LEN);
        let (sent, is_sent) = oneshot::channel();
        let hooks = self.hooks.clone();
        let work = move || {
            let _turn = turn;
            let made = make(&hooks, peer_id, &mut pieces);
            let last = match made {
                Ok(manifest) => Piece::End(manifest),
                Err(Stop::Failed(error)) => Piece::Failed(error),
                Err(Stop::Left) => return,
            };
            let index = match &last {
                Piece::End(manifest) => Some(manifest.header.index),
                Piece::Chunk(_) | Piece::Failed(_) => None,
            };
            let told = block_on(pieces.send(last));
            if let (Ok(()), Some(index), Ok(())) = (told, index, block_on(is_sent)) {
                (hooks.sent)(index);
            }
        };
        let thread = std::thread::Builder::new().name("z4-backup".into());
        match thread.spawn(work) {
            Ok(_) => Ok(Making {
                pieces: taken,
                sent,
            }),
            // The closure is gone, and the turn with it.
            Err(error) => {
                let why = format!("the system gives no thread to make a backup in: {error}");
                Err(Refusal::new(Code::Exhausted, why).into())
            }
        }
    }
}

/// Makes a backup, and hands its bytes over.
fn make(
    hooks: &StateHooks,
    peer_id: String,
    pieces: &mut mpsc::Sender<Piece>,
) -> Result<Manifest, Stop> {
    let mut made = Err(Stop::Left);
    (hooks.at_once)(&mut |cut, view| {
        made = header(cut, peer_id.clone(), view)
            .map_err(Stop::from)
            .and_then(|header| write(header, view, pieces));
    });
    made
}

fn header(cut: Cut, peer_id: String, view: &dyn View) -> Result<Header, StateError> {
    let Cut {
        cluster_id,
        term,
        index,
        level,
    } = cut;
    let mut header = Header {
        cluster_id,
        peer_id,
        term,
        index,
        stamp_ns: machine_ns(view)?,
        level,
        tasks: 0,
        namespaces: 0,
    };
    let (from, to) = RowKey::namespaces();
    view.scan(&from, &to, &mut |_, row| {
        if let Row::Namespace(row) = row {
            header.namespaces += 1;
            header.tasks += row.counts.pending + row.counts.leased + row.counts.dead;
        }
        true
    })?;
    Ok(header)
}

fn write(
    header: Header,
    view: &dyn View,
    pieces: &mut mpsc::Sender<Piece>,
) -> Result<Manifest, Stop> {
    let tasks_total = header.tasks;
    let mut hand_over = |bytes: &mut Vec<u8>, tasks_done: u64| {
        for data in std::mem::take(bytes).chunks(limits::BACKUP_CHUNK_LEN) {
            let mut chunk = BackupChunk::default();
            chunk.set_data(data.to_vec());
            chunk.set_tasks_done(tasks_done.min(tasks_total));
            chunk.set_tasks_total(tasks_total);
            let sent = block_on(pieces.send(Piece::Chunk(chunk)));
            sent.map_err(|_| Stop::Left)?;
        }
        Ok(())
    };
    let mut writer = Writer::new(Vec::new(), header)?;
    let mut went_on = Ok(());
    view.scan(&RowKey::Meta, &RowKey::End, &mut |key, row| {
        went_on = writer.row(&key, &row).map_err(Stop::from).and_then(|()| {
            let done = writer.tasks_done();
            match writer.get_mut() {
                // Bytes come when a part is full.
                bytes if bytes.len() >= limits::BACKUP_CHUNK_LEN => hand_over(bytes, done),
                _ => Ok(()),
            }
        });
        went_on.is_ok()
    })?;
    went_on?;
    let (mut bytes, manifest) = writer.finish()?;
    hand_over(&mut bytes, tasks_total)?;
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use futures::StreamExt;
    use z4_core::command::{CreateTasks, LeaseTasks, Nack, NackTasks, NewTask, Taker};
    use z4_core::invariants::state_hash;
    use z4_core::{Command, Machine, MemState, Namespace, Outcome};

    use super::*;

    const CUT: Cut = Cut {
        cluster_id: [4; 16],
        term: 3,
        index: 77,
        level: 2,
    };

    /// A state with tasks of bytes that do not compress.
    fn state(count: usize) -> MemState {
        let mut machine = Machine::open(MemState::new()).unwrap();
        let mut x = 1_u32;
        for index in 2..2 + count as u64 {
            let payload = (0..200_000)
                .map(|_| {
                    x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (x >> 24) as u8
                })
                .collect();
            let create = Command::CreateTasks(CreateTasks {
                namespace: Namespace::new("ns").unwrap(),
                request_id: String::new(),
                tasks: vec![NewTask {
                    payload,
                    ..NewTask::default()
                }],
            });
            let mut events = Vec::new();
            machine
                .apply_entry(index, 1, vec![create], &mut events)
                .unwrap();
        }
        machine.into_state()
    }

    fn backups(state: MemState, sent: Arc<Mutex<Vec<u64>>>) -> Backups {
        Backups::new(StateHooks {
            at_once: Arc::new(move |read| read(CUT, &state)),
            sent: Arc::new(move |index| sent.lock().unwrap().push(index)),
            origin: Arc::new(|| Ok(None)),
        })
    }

    fn wait_for_turn(backups: &Backups) {
        while backups.busy.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_backup_comes_in_bounded_pieces_and_is_noted_when_the_client_has_it() {
        let (state, sent) = (state(30), Arc::default());
        let hash = state_hash(&state).unwrap();
        let backups = backups(state, Arc::clone(&sent));
        let Making {
            mut pieces,
            sent: tell,
        } = backups.begin("peer1".into()).unwrap();
        let (mut file, mut done, mut end) = (Vec::new(), 0, None);
        while let Some(piece) = block_on(pieces.next()) {
            match piece {
                Piece::Chunk(chunk) => {
                    assert!(chunk.get_data().len() <= limits::BACKUP_CHUNK_LEN);
                    assert_eq!(chunk.get_tasks_total(), 30);
                    assert!(chunk.get_tasks_done() >= done);
                    done = chunk.get_tasks_done();
                    file.extend_from_slice(chunk.get_data());
                }
                Piece::End(manifest) => {
                    end = Some(manifest);
                    break;
                }
                Piece::Failed(error) => panic!("{error}"),
            }
        }
        assert_eq!(done, 30);
        assert!(sent.lock().unwrap().is_empty(), "not sent yet");
        tell.send(()).unwrap();
        wait_for_turn(&backups);
        assert_eq!(*sent.lock().unwrap(), [77]);
        let read = z4_backup::read_all(&file[..], |_| Ok::<(), ()>(())).unwrap();
        assert_eq!(Some(&read), end.as_ref());
        assert_eq!(read.state_hash, hash);
        let header = &read.header;
        assert_eq!((header.index, header.term, header.level), (77, 3, 2));
        assert_eq!((header.tasks, header.namespaces), (30, 1));
    }

    #[test]
    fn one_backup_at_a_time_and_none_for_who_has_left() {
        let sent = Arc::default();
        let backups = backups(state(30), Arc::clone(&sent));
        let making = backups.begin("peer1".into()).unwrap();
        let refused = backups.begin("peer1".into()).map(drop).unwrap_err();
        assert_eq!(refused.code(), grpcio::RpcStatusCode::RESOURCE_EXHAUSTED);
        assert!(
            refused.to_string().contains("ask another peer"),
            "{refused}"
        );
        // The thread waits for room in the queue, and ends.
        drop(making);
        wait_for_turn(&backups);
        drop(backups.begin("peer1".into()).unwrap());
        wait_for_turn(&backups);
        assert!(sent.lock().unwrap().is_empty());
    }

    /// The piece that a backup ends with. Its thread waits for the client behind it.
    fn ended(mut pieces: mpsc::Receiver<Piece>) -> Option<Piece> {
        loop {
            match block_on(pieces.next()) {
                Some(Piece::Chunk(_)) => {}
                end => return end,
            }
        }
    }

    #[test]
    fn a_backup_that_its_client_has_not_to_the_end_is_not_noted() {
        let sent = Arc::default();
        let backups = backups(state(1), Arc::clone(&sent));
        let Making { pieces, sent: tell } = backups.begin("peer1".into()).unwrap();
        assert!(matches!(ended(pieces), Some(Piece::End(_))));
        drop(tell);
        wait_for_turn(&backups);
        assert!(sent.lock().unwrap().is_empty());
    }

    #[test]
    fn the_header_counts_tasks_in_all_places() {
        let namespace = || Namespace::new("ns").unwrap();
        let mut machine = Machine::open(state(3)).unwrap();
        let stamp_ns = machine.stamp_ns() + 5;
        let mut apply = |index, command| {
            let applied = machine.apply_entry(index, stamp_ns, vec![command], &mut Vec::new());
            applied.unwrap().remove(0)
        };
        let lease = Command::LeaseTasks(LeaseTasks {
            namespace: namespace(),
            takers: vec![Taker {
                consumer: "c".into(),
                room: 2,
            }],
            lease_ms: 60_000,
            ahead_ms: 0,
        });
        let Outcome::Leased { grants, .. } = apply(10, lease) else {
            panic!("no lease");
        };
        let nack = Command::NackTasks(NackTasks {
            namespace: namespace(),
            nacks: vec![Nack {
                id: grants[0].id,
                token: grants[0].token,
                delay_ms: None,
                error: String::new(),
                permanent: true,
            }],
        });
        apply(11, nack);
        let header = header(CUT, "peer1".into(), machine.state()).unwrap();
        assert_eq!((header.tasks, header.stamp_ns), (3, stamp_ns));
    }

    /// A state that ends with a row that no backup takes, or that cannot be read to its end.
    struct Unsound {
        state: MemState,
        last: Option<(RowKey, Row)>,
    }

    impl View for Unsound {
        fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
            self.state.get(key)
        }

        fn scan(
            &self,
            from: &RowKey,
            to: &RowKey,
            visit: &mut dyn FnMut(RowKey, Row) -> bool,
        ) -> Result<(), StateError> {
            self.state.scan(from, to, visit)?;
            match &self.last {
                _ if *to != RowKey::End => Ok(()),
                Some((key, row)) => {
                    visit(key.clone(), row.clone());
                    Ok(())
                }
                None => Err(StateError("a block is damaged".into())),
            }
        }
    }

    #[test]
    fn rows_that_cannot_all_be_written_make_no_whole_backup() {
        let mut large = None;
        let state = state(1);
        let scanned = state.scan(&RowKey::Meta, &RowKey::End, &mut |key, row| {
            if let Row::Body(mut body) = row {
                body.payload = vec![0; 3 << 20];
                large = Some((key, Row::Body(body)));
            }
            true
        });
        scanned.unwrap();
        assert!(large.is_some());
        for last in [large, None] {
            let sound = backups(MemState::new(), Arc::default());
            let unsound = Unsound {
                state: state.clone(),
                last,
            };
            let backups = Backups::new(StateHooks {
                at_once: Arc::new(move |read| read(CUT, &unsound)),
                ..sound.hooks().clone()
            });
            let making = backups.begin("peer1".into()).unwrap();
            assert!(matches!(ended(making.pieces), Some(Piece::Failed(_))));
        }
    }
}
