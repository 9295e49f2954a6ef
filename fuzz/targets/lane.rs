//! What comes on a lane: frames in pieces of any size, the hello, batches of raft
//! messages.
#![no_main]

use std::io::{self, Read};

use libfuzzer_sys::fuzz_target;
use protobuf::Message as _;
use z4_proto::generated::peer::RaftBatch;
use z4_rpc::fuzzing;

const BODY_LEN_MAX: usize = 100_000;

/// Gives its bytes in pieces.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let len = self.1.min(self.0.len()).min(to.len());
        to[..len].copy_from_slice(&self.0[..len]);
        self.0 = &self.0[len..];
        Ok(len)
    }
}

fuzz_target!(|bytes: &[u8]| {
    // As they are: what is taken for a frame does not hang on how its bytes came.
    let (found, why) = fuzzing::lane_frames(bytes, BODY_LEN_MAX);
    let piece = bytes.first().map_or(1, |byte| 1 + usize::from(byte % 16));
    let in_pieces = fuzzing::lane_frames(Pieces(bytes, piece), BODY_LEN_MAX);
    assert_eq!(in_pieces, (found.clone(), why));
    for (_, body) in &found {
        let _ = fuzzing::lane_hello(body);
        read_batch(body);
    }
    // Checksums are hard to guess: the same bytes as the body of a good frame.
    read_batch(bytes);
    let _ = fuzzing::lane_hello(bytes);
    let good = fuzzing::lane_batch(bytes).expect("it is short");
    let (found, _) = fuzzing::lane_frames(&good[..], BODY_LEN_MAX);
    assert_eq!(found, [(2, bytes.to_owned())]);
    // A byte that was changed on the way is seen.
    let at = bytes.iter().fold(0, |sum, byte| sum * 31 % 65_521 + usize::from(*byte));
    let mut spoiled = good.clone();
    spoiled[at % good.len()] ^= 1 + (at / good.len()) as u8 % 255;
    let (found, _) = fuzzing::lane_frames(&spoiled[..], BODY_LEN_MAX);
    assert!(found.is_empty());
});

fn read_batch(body: &[u8]) {
    if let Ok(batch) = RaftBatch::parse_from_bytes(body) {
        for message in batch.get_messages() {
            let _ = fuzzing::raft_message(message, 2, 1);
        }
    }
}
