//! RocksDB storage of z4: raft log, task state, snapshots.
