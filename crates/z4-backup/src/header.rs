//! The first and the last frame: whose state a file holds, and all that must be in it.

use openssl::sha::Sha256;
use protobuf::{Message, UnknownFields};
use z4_proto::generated::backup as wire;

/// The first frame: whose state a file holds, and at which place of the log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// The cluster.
    pub cluster_id: [u8; 16],
    /// The peer that made the file.
    pub peer_id: String,
    /// Term of the last entry of the log that the state holds.
    pub term: u64,
    /// Index of that entry.
    pub index: u64,
    /// Machine time there, in nanoseconds.
    pub stamp_ns: u64,
    /// The level of the cluster there.
    pub level: u32,
    /// The number of tasks.
    pub tasks: u64,
    /// The number of namespaces.
    pub namespaces: u64,
}

/// The last frame: all that must have come before it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Manifest {
    /// The first frame once more.
    pub header: Header,
    /// The number of rows.
    pub rows: u64,
    /// Fingerprint of all rows, the same as a verification of the cluster at that index gives.
    pub state_hash: u128,
    /// The number of parts.
    pub parts: u64,
    /// SHA-256 over length and SHA-256 of each part.
    pub parts_sha256: [u8; 32],
    /// Rows and keys before they were compressed, in bytes.
    pub row_bytes: u64,
}

/// The digest of the parts so far.
pub(crate) struct PartsDigest {
    sha: Sha256,
    pub count: u64,
}

impl PartsDigest {
    pub fn new() -> Self {
        Self {
            sha: Sha256::new(),
            count: 0,
        }
    }

    pub fn add(&mut self, len: usize, checksum: &[u8; 32]) {
        self.sha.update(&(len as u64).to_be_bytes());
        self.sha.update(checksum);
        self.count += 1;
    }

    pub fn finish(&self) -> [u8; 32] {
        self.sha.clone().finish()
    }
}

impl Header {
    /// The id of the cluster as people read it.
    #[must_use]
    pub fn cluster_id_hex(&self) -> String {
        hex(&self.cluster_id)
    }

    fn to_wire(&self) -> wire::Header {
        let Self {
            cluster_id,
            peer_id,
            term,
            index,
            stamp_ns,
            level,
            tasks,
            namespaces,
        } = self;
        wire::Header {
            cluster_id: cluster_id.to_vec(),
            peer_id: peer_id.clone(),
            term: *term,
            index: *index,
            stamp_ns: *stamp_ns,
            level: *level,
            tasks: *tasks,
            namespaces: *namespaces,
            ..Default::default()
        }
    }

    fn of_wire(header: &wire::Header) -> Result<Self, String> {
        known(&header.unknown_fields)?;
        Ok(Self {
            cluster_id: fixed("cluster_id", &header.cluster_id)?,
            peer_id: header.peer_id.clone(),
            term: header.term,
            index: header.index,
            stamp_ns: header.stamp_ns,
            level: header.level,
            tasks: header.tasks,
            namespaces: header.namespaces,
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        write(&self.to_wire())
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        Self::of_wire(&parse(bytes)?)
    }
}

impl Manifest {
    /// The fingerprint as people read it.
    #[must_use]
    pub fn state_hash_hex(&self) -> String {
        format!("{:032x}", self.state_hash)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let Self {
            header,
            rows,
            state_hash,
            parts,
            parts_sha256,
            row_bytes,
        } = self;
        let mut manifest = wire::Manifest {
            rows: *rows,
            state_hash: state_hash.to_be_bytes().to_vec(),
            parts: *parts,
            parts_sha256: parts_sha256.to_vec(),
            row_bytes: *row_bytes,
            ..Default::default()
        };
        manifest.set_header(header.to_wire());
        write(&manifest)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let manifest: wire::Manifest = parse(bytes)?;
        known(&manifest.unknown_fields)?;
        Ok(Self {
            header: Header::of_wire(manifest.get_header())?,
            rows: manifest.rows,
            state_hash: u128::from_be_bytes(fixed("state_hash", &manifest.state_hash)?),
            parts: manifest.parts,
            parts_sha256: fixed("parts_sha256", &manifest.parts_sha256)?,
            row_bytes: manifest.row_bytes,
        })
    }
}

/// Bytes as people read them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write(message: &impl Message) -> Vec<u8> {
    // The one error of writing to memory is a message with required fields unset, and proto3
    // has none.
    #[allow(clippy::expect_used)]
    message
        .write_to_bytes()
        .expect("a proto3 message can be written to memory")
}

fn parse<M: Message>(bytes: &[u8]) -> Result<M, String> {
    M::parse_from_bytes(bytes).map_err(|e| e.to_string())
}

/// Refuses fields that this version does not know: what they say may change what the rest
/// means.
fn known(unknown: &UnknownFields) -> Result<(), String> {
    match unknown.iter().map(|(number, _)| number).min() {
        None => Ok(()),
        Some(number) => Err(format!(
            "it has field {number}, which this version does not know"
        )),
    }
}

fn fixed<const N: usize>(name: &str, bytes: &[u8]) -> Result<[u8; N], String> {
    let len = bytes.len();
    let wrong = |_| format!("{name} has {len} bytes, and should have {N}");
    bytes.try_into().map_err(wrong)
}
