//! What survives a power loss, on the image alone: no mount, no root.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::file::File;
use crate::image::{Content, Image, Lost, Refused, ROOT};

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

fn disk() -> Image {
    Image::new(1 << 20)
}

fn make(disk: &mut Image, text: &str) -> u64 {
    let file = Content::File(File::default());
    disk.make(ROOT, name(text), file, 0o644).unwrap()
}

fn sync(disk: &mut Image, number: u64) {
    let now = disk.now();
    disk.sync(number, now);
}

fn text(disk: &Image, number: u64) -> String {
    String::from_utf8(disk.read(number, 0, u32::MAX).unwrap().to_vec()).unwrap()
}

/// What can be left of what `work` does, over many power losses: the text of the
/// file `f`, or `None` where there is no such file.
fn outcomes(work: impl Fn(&mut Image)) -> BTreeSet<Option<String>> {
    let left = |seed| {
        let mut disk = disk();
        work(&mut disk);
        disk.lose_power(&mut StdRng::seed_from_u64(seed));
        let found = disk.find(ROOT, name("f")).ok();
        found.map(|number| text(&disk, number))
    };
    (0..200).map(left).collect()
}

fn texts<const N: usize>(all: [Option<&str>; N]) -> BTreeSet<Option<String>> {
    all.into_iter().map(|t| t.map(str::to_owned)).collect()
}

#[test]
fn a_synced_file_under_a_synced_name_stays() {
    let left = outcomes(|disk| {
        let f = make(disk, "f");
        disk.write(f, 0, b"abc").unwrap();
        sync(disk, f);
        sync(disk, ROOT);
    });
    assert_eq!(left, texts([Some("abc")]));
}

#[test]
fn a_synced_file_whose_name_is_not_may_be_gone() {
    let left = outcomes(|disk| {
        let f = make(disk, "f");
        disk.write(f, 0, b"abc").unwrap();
        sync(disk, f);
    });
    assert_eq!(left, texts([Some("abc"), None]));
}

#[test]
fn of_what_is_not_synced_a_beginning_survives_and_a_part_of_the_next() {
    let left = outcomes(|disk| {
        let f = make(disk, "f");
        sync(disk, ROOT);
        disk.write(f, 0, b"ab").unwrap();
        disk.write(f, 2, b"cd").unwrap();
        disk.write(f, 0, b"xy").unwrap();
    });
    assert_eq!(
        left,
        texts(["", "ab", "abc", "abcd", "xbcd", "xycd"].map(Some))
    );
}

#[test]
fn a_sync_covers_what_was_there_when_it_began() {
    let left = outcomes(|disk| {
        let f = make(disk, "f");
        sync(disk, ROOT);
        disk.write(f, 0, b"a").unwrap();
        let now = disk.now();
        disk.write(f, 1, b"b").unwrap();
        disk.sync(f, now);
    });
    assert_eq!(left, texts([Some("a"), Some("ab")]));
}

#[test]
fn a_length_comes_back_with_what_stood_there() {
    let left = outcomes(|disk| {
        let f = make(disk, "f");
        disk.write(f, 0, b"abcdef").unwrap();
        sync(disk, f);
        sync(disk, ROOT);
        disk.set_len(f, 2).unwrap();
        disk.write(f, 2, b"zz").unwrap();
    });
    assert_eq!(
        left,
        texts([Some("abcdef"), Some("ab"), Some("abz"), Some("abzz")])
    );
}

#[test]
fn a_rename_over_another_is_all_or_nothing() {
    let left = outcomes(|disk| {
        let f = make(disk, "f");
        disk.write(f, 0, b"old").unwrap();
        sync(disk, f);
        let g = make(disk, "g");
        disk.write(g, 0, b"new").unwrap();
        sync(disk, g);
        sync(disk, ROOT);
        disk.rename(ROOT, name("g"), ROOT, name("f")).unwrap();
    });
    assert_eq!(left, texts([Some("old"), Some("new")]));
}

#[test]
fn a_rename_may_be_durable_before_the_bytes() {
    let left = outcomes(|disk| {
        let g = make(disk, "g");
        disk.write(g, 0, b"new").unwrap();
        disk.rename(ROOT, name("g"), ROOT, name("f")).unwrap();
        sync(disk, ROOT);
    });
    assert!(left.contains(&Some(String::new())), "{left:?}");
}

#[test]
fn a_removed_file_may_come_back() {
    let left = outcomes(|disk| {
        let f = make(disk, "f");
        disk.write(f, 0, b"abc").unwrap();
        sync(disk, f);
        sync(disk, ROOT);
        disk.unlink(ROOT, name("f")).unwrap();
    });
    assert_eq!(left, texts([Some("abc"), None]));
}

#[test]
fn after_a_sync_that_failed_no_sync_helps() {
    let left = outcomes(|disk| {
        let f = make(disk, "f");
        sync(disk, ROOT);
        disk.write(f, 0, b"a").unwrap();
        disk.spoil(f);
        disk.write(f, 1, b"b").unwrap();
        sync(disk, f);
    });
    assert_eq!(left, texts([Some("")]));
}

#[test]
fn a_link_is_the_same_file_and_the_last_name_ends_it() {
    let mut disk = disk();
    let (_, free) = disk.space();
    let f = make(&mut disk, "f");
    disk.write(f, 0, b"abc").unwrap();
    disk.link(f, ROOT, name("g")).unwrap();
    disk.unlink(ROOT, name("f")).unwrap();
    assert_eq!(disk.find(ROOT, name("g")), Ok(f));
    disk.open(f).unwrap();
    disk.unlink(ROOT, name("g")).unwrap();
    sync(&mut disk, ROOT);
    assert_eq!(text(&disk, f), "abc", "it is open");
    disk.release(f);
    assert_eq!(disk.read(f, 0, 1).unwrap_err(), Refused::Missing);
    assert_eq!(disk.space().1, free);
}

#[test]
fn a_full_disk_takes_what_fits_and_then_nothing() {
    let mut disk = Image::new(3 * 4_096);
    let f = make(&mut disk, "f");
    let piece = vec![7; 3_000];
    assert_eq!(disk.write(f, 0, &piece), Ok(3_000));
    assert_eq!(disk.write(f, 3_000, &piece), Ok(1_096));
    assert_eq!(disk.write(f, 4_096, &piece), Err(Refused::Full));
    let file = Content::File(File::default());
    let made = disk.make(ROOT, name("g"), file, 0o644);
    assert_eq!(made, Err(Refused::Full));
    disk.set_len(f, 0).unwrap();
    assert_eq!(disk.space().1, 4_096);
}

/// All files and folders below a folder, with their bytes.
fn tree(disk: &Image, folder: u64, at: &str, all: &mut BTreeMap<String, Vec<u8>>) {
    for (name, number) in disk.names(folder).unwrap() {
        let path = format!("{at}/{}", name.to_string_lossy());
        match &disk.node(*number).unwrap().content {
            Content::Folder(_) => {
                all.insert(path.clone(), Vec::new());
                tree(disk, *number, &path, all);
            }
            Content::File(_) => {
                let bytes = disk.read(*number, 0, u32::MAX).unwrap();
                all.insert(path, bytes.to_vec());
            }
        }
    }
}

fn all(disk: &Image) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    tree(disk, ROOT, "", &mut found);
    found
}

/// A random step on a small tree of two folders.
fn step(disk: &mut Image, rng: &mut StdRng) {
    let folders = [ROOT, disk.find(ROOT, name("d")).unwrap()];
    let one = |rng: &mut StdRng| {
        let text = ["a", "b", "c"][rng.gen_range(0..3)];
        (folders[rng.gen_range(0..2)], OsStr::new(text))
    };
    let ((folder, name), (folder_to, name_to)) = (one(rng), one(rng));
    let found = disk.find(folder, name);
    // A step that is refused changes nothing.
    let _ = match (rng.gen_range(0..7), found) {
        (0, _) => {
            let file = Content::File(File::default());
            disk.make(folder, name, file, 0o644).map(|_| ())
        }
        (1, _) => disk.unlink(folder, name),
        (2, _) => disk.rename(folder, name, folder_to, name_to),
        (3, Ok(number)) => disk.link(number, folder_to, name_to),
        (4, Ok(number)) => disk.set_len(number, rng.gen_range(0..40)),
        (_, Ok(number)) => {
            let bytes = vec![rng.gen(); rng.gen_range(1..20)];
            disk.write(number, rng.gen_range(0..30), &bytes).map(|_| ())
        }
        _ => Ok(()),
    };
}

/// Numbers that no test here gets beyond.
const NUMBERS: u64 = 2_000;

/// Bytes that the files and folders of a disk take.
fn used(disk: &Image) -> u64 {
    let nodes = (0..NUMBERS).filter_map(|number| disk.node(number).ok());
    let bytes = nodes.map(|node| match &node.content {
        Content::File(file) => 4_096 + file.len(),
        Content::Folder(_) => 4_096,
    });
    bytes.sum()
}

#[test]
fn random_steps_lose_nothing_synced_and_leak_no_space() {
    let mut lost = Lost::default();
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut disk = disk();
        let folder = Content::Folder(BTreeMap::new());
        disk.make(ROOT, name("d"), folder, 0o755).unwrap();
        for _ in 0..rng.gen_range(0..60) {
            step(&mut disk, &mut rng);
        }
        // Once all is synced, a power loss takes nothing.
        (0..NUMBERS).for_each(|number| sync(&mut disk, number));
        let before = all(&disk);
        assert_eq!(disk.lose_power(&mut rng), Lost::default(), "seed {seed}");
        assert_eq!(all(&disk), before, "seed {seed}");
        for _ in 0..rng.gen_range(1..60) {
            step(&mut disk, &mut rng);
        }
        let some = disk.lose_power(&mut rng);
        lost.writes += some.writes;
        lost.names += some.names;
        let (capacity, free) = disk.space();
        assert_eq!(capacity - free, used(&disk), "seed {seed}");
    }
    assert!(lost.writes > 300 && lost.names > 300, "{lost:?}");
}
