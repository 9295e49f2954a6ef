//! Facts that the kernel tells of the machine, of the process on it, and of file systems.
//!
//! They come from `/proc` and `/sys`, and a fact that is not there is left at its default: a
//! peer serves on a system without them, too.

use std::fs;
use std::path::{Path, PathBuf};

use z4_rpc::facts::SystemFacts;

/// The machine as it is now.
pub(crate) fn facts() -> SystemFacts {
    SystemFacts {
        memory_bytes: kib_of("/proc/meminfo", "MemTotal:"),
        memory_limit_bytes: memory_limit_bytes(),
        transparent_huge_pages: read("/sys/kernel/mm/transparent_hugepage/enabled")
            .map(|text| chosen(&text))
            .unwrap_or_default(),
        overcommit_memory: number("/proc/sys/vm/overcommit_memory") as u32,
        somaxconn: number("/proc/sys/net/core/somaxconn"),
    }
}

/// Memory of this process that is in swap, in bytes.
pub(crate) fn swapped_bytes() -> u64 {
    kib_of("/proc/self/status", "VmSwap:")
}

/// The kind of the file system of a folder; empty: the system does not tell.
pub(crate) fn filesystem(folder: &Path) -> String {
    // The type of the field differs from system to system.
    let told = rustix::fs::statfs(folder).map(|told| told.f_type as u64);
    told.map_or(String::new(), |magic| name_of(magic & 0xffff_ffff))
}

/// Names of file systems, by the number that the kernel has for each.
const FILESYSTEMS: [(u64, &str); 14] = [
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x2fc1_2fc1, "zfs"),
    (0xf2f5_2010, "f2fs"),
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    (0x794c_7630, "overlay"),
    (0x6969, "nfs"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x6573_5546, "fuse"),
    (0x00c3_6400, "ceph"),
    (0x0102_1997, "9p"),
];

fn name_of(magic: u64) -> String {
    let known = FILESYSTEMS.iter().find(|(number, _)| *number == magic);
    known.map_or_else(|| format!("{magic:#x}"), |(_, name)| (*name).to_owned())
}

/// The least that this process and the control groups around it may use; 0: no limit.
fn memory_limit_bytes() -> u64 {
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let files = limit_files(Path::new("/sys/fs/cgroup"), &groups);
    let limits = files.iter().filter_map(|file| {
        // A group without a limit says `max`, or a number beyond all memory.
        let bytes: u64 = read(file)?.trim().parse().ok()?;
        (bytes < 1 << 60).then_some(bytes)
    });
    limits.min().unwrap_or(0)
}

/// The files that may hold a limit, of the group of this process and of those around it, as
/// `/proc/self/cgroup` names it: `0::/a/b` (version 2) or `4:memory:/a/b` (version 1). In a
/// container the path may be that of the host, while the root is the own group.
fn limit_files(root: &Path, groups: &str) -> Vec<PathBuf> {
    let mut files = vec![
        root.join("memory.max"),
        root.join("memory/memory.limit_in_bytes"),
    ];
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(kind), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (base, name) = match kind.split(',').any(|kind| kind == "memory") {
            true => (root.join("memory"), "memory.limit_in_bytes"),
            false if kind.is_empty() => (root.to_owned(), "memory.max"),
            false => continue,
        };
        let own = Path::new(path.trim_start_matches('/'));
        // A path of the kernel has no `..`, but that of a group outside of a namespace.
        let is_inside = own.components().all(|part| part.as_os_str() != "..");
        let within = own.ancestors().filter(|part| !part.as_os_str().is_empty());
        files.extend(
            within
                .filter(|_| is_inside)
                .map(|part| base.join(part).join(name)),
        );
    }
    files
}

/// The choice in brackets of a line such as `always [madvise] never`.
fn chosen(line: &str) -> String {
    let chosen = line
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    chosen.map_or(String::new(), |(word, _)| word.to_owned())
}

/// The value of a line such as `VmSwap:  12 kB`, in bytes.
fn kib_of(path: &str, name: &str) -> u64 {
    let text = read(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1_024)
}

fn number(path: &str) -> u64 {
    read(path)
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_of_this_test_is_seen() {
        let facts = facts();
        assert!(facts.memory_bytes > 64 << 20, "{facts:?}");
        assert!(facts.somaxconn > 0, "{facts:?}");
        assert_eq!(filesystem(Path::new("/proc")), "0x9fa0");
        assert_eq!(filesystem(Path::new("/no/such/folder")), "");
    }

    #[test]
    fn file_systems_have_their_names() {
        assert_eq!(name_of(0xef53), "ext4");
        assert_eq!(name_of(0x0102_1994), "tmpfs");
        assert_eq!(name_of(0x1234), "0x1234");
    }

    #[test]
    fn the_choice_stands_in_brackets() {
        assert_eq!(chosen("always [madvise] never\n"), "madvise");
        assert_eq!(chosen("always madvise"), "");
    }

    #[test]
    fn a_group_and_those_around_it_may_have_a_limit() {
        let text = |groups| {
            let files = limit_files(Path::new("/r"), groups);
            let files = files.iter().skip(2);
            files
                .map(|file| file.display().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(text("0::/a/b\n"), ["/r/a/b/memory.max", "/r/a/memory.max"]);
        assert_eq!(
            text("5:cpu:/x\n4:memory:/a\n"),
            ["/r/memory/a/memory.limit_in_bytes"]
        );
        for none in ["", "0::/\n", "0::/../../other\n", "odd"] {
            assert_eq!(text(none), Vec::<String>::new(), "{none}");
        }
    }
}
