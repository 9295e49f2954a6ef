//! Flags of backups.

use std::path::PathBuf;

use structopt::StructOpt;

use super::{Output, Target};

#[derive(StructOpt, Debug)]
pub(crate) struct Backup {
    /// The file to write; - for standard output
    ///
    /// The file is written under another name, which ends with .partial, and has its own name when all of it is there,
    /// checked and durable. It holds the payloads of all tasks and the fingerprints of access tokens, so
    /// that nobody else may read it.
    #[structopt(value_name = "FILE", parse(from_os_str))]
    pub file: Option<PathBuf>,
    /// Most bytes per second, such as 20MiB; 256KiB at least
    #[structopt(long, value_name = "BYTES", parse(try_from_str = rate))]
    pub rate: Option<u64>,
    /// text or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    #[structopt(flatten)]
    pub target: Target,
    #[structopt(subcommand)]
    pub command: Option<BackupCommand>,
}

#[derive(StructOpt, Debug)]
pub(crate) enum BackupCommand {
    /// Check all of a backup file, without a cluster
    ///
    /// Prints `ok` and what the file holds; or says, with exit code 1, what is wrong with it.
    Verify(BackupVerify),
}

#[derive(StructOpt, Debug)]
pub(crate) struct BackupVerify {
    /// The file to check; - for standard input
    #[structopt(value_name = "FILE", parse(from_os_str))]
    pub file: PathBuf,
    /// text or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
}

/// The least rate, in bytes per second: a peer sends away who takes next to nothing.
const RATE_MIN: u64 = 256 << 10;

fn rate(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("", 1),
    ];
    let complaint = || "give bytes per second, such as 20MiB, 500kB or 1000000".to_owned();
    let size = text.strip_suffix("/s").unwrap_or(text).trim();
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &size[digits.len()..];
    let (_, unit) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(complaint)?;
    let count: u64 = digits.trim().parse().map_err(|_| complaint())?;
    match count.checked_mul(*unit).ok_or_else(complaint)? {
        bytes if bytes < RATE_MIN => Err("give 256KiB at least".to_owned()),
        bytes => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("20MiB", 20 << 20),
            ("20 MiB/s", 20 << 20),
            ("500kB", 500_000),
            ("262144", 262_144),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(rate(text), Ok(bytes), "{text}");
        }
        for bad in [
            "",
            "MiB",
            "20 parsecs",
            "-1MiB",
            "1kB",
            "99999999999GiB",
            "1.5MiB",
        ] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
