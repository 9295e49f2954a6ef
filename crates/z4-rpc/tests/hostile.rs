//! The peer port and what may come to it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;

use futures::executor::block_on;
use futures::{SinkExt, StreamExt};
use grpcio::{ChannelBuilder, ChannelCredentialsBuilder, EnvBuilder, RpcStatusCode, WriteFlags};
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use support::{Peer, SnapshotsOfTest, CLUSTER};
use tempfile::TempDir;
use z4_proto::generated::peer::{
    ForwardRequest, JoinRequest, Opening, ProbeRequest, RaftBatch, SnapshotChunk, SnapshotFile,
    SnapshotPart,
};
use z4_proto::generated::peer_grpc::PeerClient;
use z4_rpc::{limits, PeerTls};
use z4_tls::{Authority, Files, NamedFile, Role, Use, Watched};

fn client(peer: &Peer) -> PeerClient {
    let env = Arc::new(EnvBuilder::new().cq_count(1).build());
    PeerClient::new(ChannelBuilder::new(env).connect(&peer.peer_address))
}

fn opening() -> Opening {
    let mut opening = Opening::default();
    opening.set_cluster_id(CLUSTER.to_vec());
    opening.set_from_raft_id(2);
    opening.set_from_peer_id("b".into());
    opening.set_to_raft_id(1);
    opening.set_protocol_version(limits::PROTOCOL_VERSION);
    opening
}

fn message(from: u64, to: u64, kind: MessageType, term: u64) -> Vec<u8> {
    let mut message = Message::default();
    message.set_from(from);
    message.set_to(to);
    message.set_msg_type(kind);
    message.set_term(term);
    message.set_commit(1 << 40);
    message.write_to_bytes().unwrap()
}

/// How the stream ends on which these batches are sent.
fn raft(client: &PeerClient, batches: Vec<RaftBatch>) -> Result<(), (RpcStatusCode, String)> {
    let (mut sender, receiver) = client.raft().unwrap();
    for batch in batches {
        // The other side may have ended the stream.
        let _ = block_on(sender.send((batch, WriteFlags::default())));
    }
    let _ = block_on(sender.close());
    refused(block_on(receiver).map(|_| ()))
}

fn refused(result: grpcio::Result<()>) -> Result<(), (RpcStatusCode, String)> {
    match result {
        Ok(()) => Ok(()),
        Err(grpcio::Error::RpcFailure(status)) => Err((status.code(), status.message().to_owned())),
        Err(other) => panic!("{other}"),
    }
}

fn batch(opening: Option<Opening>, messages: Vec<Vec<u8>>) -> RaftBatch {
    let mut batch = RaftBatch::default();
    if let Some(opening) = opening {
        batch.set_opening(opening);
    }
    batch.set_messages(messages.into());
    batch
}

/// A CA, and TLS of the peer `a` with it.
fn sealed() -> (Authority, TempDir, PeerTls) {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::create("ca", 1, now_s()).unwrap();
    let own = ca.issue(Role::Peer, "a", &["127.0.0.1".to_owned()], 1, now_s());
    let own = own.unwrap();
    let put = |name: &str, text: &[u8]| {
        std::fs::write(dir.path().join(name), text).unwrap();
        NamedFile::new("a file", dir.path().join(name))
    };
    let files = Files {
        usage: Use::Peer,
        own: Some((put("cert", &own.cert_pem), put("key", &own.key_pem))),
        ca: Some(put("ca", &ca.to_pem().unwrap().cert_pem)),
    };
    let tls = PeerTls {
        watched: Arc::new(Watched::open(files).unwrap()),
        names: Vec::new(),
    };
    (ca, dir, tls)
}

fn now_s() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs() as i64
}

#[test]
fn strangers_and_liars_are_turned_away_and_the_peer_goes_on() {
    let peer = Peer::bootstrapped("a", &SnapshotsOfTest::default());
    turned_away(peer, client);
}

/// Lies like these, by somebody who has the certificate of the member that it plays.
#[test]
fn behind_tls_too_liars_are_turned_away_and_the_peer_goes_on() {
    let (ca, _dir, tls) = sealed();
    let snapshots = SnapshotsOfTest::default();
    let waiting = Peer::waiting_behind("a", &snapshots, Some("127.0.0.1:0"), Some(tls));
    let peer = Peer::founded(waiting, "a");
    turned_away(peer, |peer| {
        let shown = ca.issue(Role::Peer, "b", &["z".to_owned()], 1, now_s());
        let shown = shown.unwrap();
        let credentials = ChannelCredentialsBuilder::new()
            .root_cert(ca.to_pem().unwrap().cert_pem)
            .cert(shown.cert_pem, shown.key_pem)
            .build();
        let env = Arc::new(EnvBuilder::new().cq_count(1).build());
        let builder = ChannelBuilder::new(env).set_credentials(credentials);
        PeerClient::new(builder.connect(&peer.peer_address))
    });
}

fn turned_away(peer: Peer, client: impl Fn(&Peer) -> PeerClient) {
    let client = client(&peer);
    let heartbeat = || message(2, 1, MessageType::MsgHeartbeat, 1);
    let mut other_cluster = opening();
    other_cluster.set_cluster_id(vec![1; 16]);
    let mut other_version = opening();
    other_version.set_protocol_version(99);
    let precondition = RpcStatusCode::FAILED_PRECONDITION;
    let invalid = RpcStatusCode::INVALID_ARGUMENT;
    let table = [
        (
            vec![batch(Some(other_cluster), vec![heartbeat()])],
            precondition,
        ),
        (
            vec![batch(Some(other_version), vec![heartbeat()])],
            precondition,
        ),
        (vec![batch(None, vec![heartbeat()])], invalid),
        (
            vec![
                batch(Some(opening()), vec![]),
                batch(Some(opening()), vec![]),
            ],
            invalid,
        ),
        (
            vec![batch(
                Some(opening()),
                vec![message(3, 1, MessageType::MsgAppend, 9)],
            )],
            invalid,
        ),
        (
            vec![batch(
                Some(opening()),
                vec![message(2, 9, MessageType::MsgAppend, 9)],
            )],
            invalid,
        ),
        (
            vec![batch(
                Some(opening()),
                vec![message(2, 1, MessageType::MsgSnapshot, 9)],
            )],
            invalid,
        ),
        (
            vec![batch(Some(opening()), vec![b"\xff\xff".to_vec()])],
            invalid,
        ),
        (
            vec![batch(
                Some(opening()),
                vec![vec![]; limits::RAFT_BATCH_LEN_MAX + 1],
            )],
            invalid,
        ),
    ];
    for (batches, code) in table {
        let (got, text) = raft(&client, batches).unwrap_err();
        assert_eq!(got, code, "{text}");
    }
    let mut forward = ForwardRequest::default();
    forward.set_consumer_gone("x".into());
    let (mut sender, mut receiver) = client.forward().unwrap();
    let _ = block_on(sender.send((forward, WriteFlags::default())));
    let first = block_on(receiver.next()).unwrap().map(|_| ());
    assert_eq!(refused(first).unwrap_err().0, invalid);

    let status = peer.node.handle().status();
    assert_eq!((status.term, status.leader), (status.term, 1));
    peer.client().health().unwrap();
    peer.stop();
}

#[test]
fn a_member_is_who_it_is() {
    let peer = Peer::bootstrapped("a", &SnapshotsOfTest::default());
    let client = client(&peer);
    let probe = client.probe(&ProbeRequest::default()).unwrap();
    assert_eq!((probe.get_peer_id(), probe.get_raft_id()), ("a", 1));
    assert!(probe.get_has_data());
    let mut join = JoinRequest::default();
    join.set_cluster_id(vec![9; 16]);
    join.set_raft_id(5);
    join.set_peer_id("a".into());
    let result = client.join(&join).map(|_| ());
    assert_eq!(
        refused(result).unwrap_err().0,
        RpcStatusCode::FAILED_PRECONDITION
    );
    for (cluster_id, raft_id, peer_id) in [
        (vec![9; 15], 5, "a"),
        (vec![9; 16], 0, "a"),
        (vec![9; 16], 5, "a/b"),
    ] {
        join.set_cluster_id(cluster_id);
        join.set_raft_id(raft_id);
        join.set_peer_id(peer_id.into());
        let result = client.join(&join).map(|_| ());
        assert_eq!(
            refused(result).unwrap_err().0,
            RpcStatusCode::INVALID_ARGUMENT
        );
    }
    assert_eq!(peer.node.network().identity().map(|i| i.raft_id), Some(1));
    peer.stop();
}

fn header(name: &str, size_bytes: u64) -> SnapshotPart {
    let mut message = Message::default();
    message.set_from(2);
    message.set_to(1);
    message.set_msg_type(MessageType::MsgSnapshot);
    let metadata = message.mut_snapshot().mut_metadata();
    metadata.set_index(1_000);
    metadata.set_term(1);
    let mut file = SnapshotFile::default();
    file.set_name(name.into());
    file.set_size_bytes(size_bytes);
    let mut part = SnapshotPart::default();
    part.mut_header().set_opening(opening());
    part.mut_header()
        .set_message(message.write_to_bytes().unwrap());
    part.mut_header().mut_files().push(file);
    part
}

fn piece(data: &[u8], crc: u32) -> SnapshotPart {
    let mut chunk = SnapshotChunk::default();
    chunk.set_data(data.to_vec());
    chunk.set_crc32c(crc);
    let mut part = SnapshotPart::default();
    part.set_chunk(chunk);
    part
}

#[test]
fn a_snapshot_that_is_not_whole_leaves_nothing_and_lets_the_next_one_in() {
    let peer = Peer::bootstrapped("a", &SnapshotsOfTest::default());
    let client = client(&peer);
    let good = crc32c::crc32c(b"abc");
    let mut stranger = header("f", 3);
    stranger
        .mut_header()
        .mut_opening()
        .set_cluster_id(vec![1; 16]);
    let table = [
        (
            vec![header("../f", 3), piece(b"abc", good)],
            RpcStatusCode::INVALID_ARGUMENT,
        ),
        (
            vec![header("/f", 3), piece(b"abc", good)],
            RpcStatusCode::INVALID_ARGUMENT,
        ),
        (
            vec![header("f", 3), piece(b"abc", good + 1)],
            RpcStatusCode::DATA_LOSS,
        ),
        (
            vec![header("f", 4), piece(b"abc", good)],
            RpcStatusCode::INVALID_ARGUMENT,
        ),
        (
            vec![header("f", 2), piece(b"abc", good)],
            RpcStatusCode::INVALID_ARGUMENT,
        ),
        (vec![header("f", u64::MAX)], RpcStatusCode::INVALID_ARGUMENT),
        (vec![piece(b"abc", good)], RpcStatusCode::INVALID_ARGUMENT),
        (
            vec![header("f", 3), header("f", 3)],
            RpcStatusCode::INVALID_ARGUMENT,
        ),
        (vec![stranger], RpcStatusCode::FAILED_PRECONDITION),
        (vec![], RpcStatusCode::INVALID_ARGUMENT),
    ];
    for (parts, code) in table {
        let (mut sender, receiver) = client.snapshot().unwrap();
        for part in parts {
            // The other side may have ended the stream.
            let _ = block_on(sender.send((part, WriteFlags::default())));
        }
        let _ = block_on(sender.close());
        let (got, text) = refused(block_on(receiver).map(|_| ())).unwrap_err();
        assert_eq!(got, code, "{text}");
        let left = std::fs::read_dir(peer.dir()).unwrap().count();
        assert_eq!(left, 0, "{text}");
    }
    peer.stop();
}
