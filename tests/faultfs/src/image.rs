//! What is on the disk: files and names, as a running process sees them, and
//! what a power loss would take back.
//!
//! Every change since the last sync is remembered with what it replaced, so that
//! it can be undone: writes for each file by itself, names in one journal.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};

use rand::rngs::StdRng;
use rand::Rng;

use crate::file::File;

/// The folder that everything is in.
pub const ROOT: u64 = 1;
/// Changes of names that wait for a sync; what is older the system has brought
/// to the disk by itself, as any journal does after some seconds.
const NAMES_UNSYNCED_MAX: usize = 4_096;
/// What a file or folder takes besides its bytes.
const NODE_BYTES: u64 = 4_096;

/// Why something cannot be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// ENOENT.
    Missing,
    /// EEXIST.
    Exists,
    /// ENOTEMPTY.
    NotEmpty,
    /// ENOTDIR.
    NoFolder,
    /// EISDIR.
    NoFile,
    /// ENOSPC.
    Full,
}

/// A file or a folder.
#[derive(Debug)]
pub enum Content {
    /// Its bytes.
    File(File),
    /// What is in it, by name.
    Folder(BTreeMap<OsString, u64>),
}

/// What a number stands for.
#[derive(Debug)]
pub struct Node {
    /// What it is.
    pub content: Content,
    /// Permissions, as they were asked for.
    pub mode: u32,
    /// Names it has.
    pub links: u32,
    /// Processes that have it open, and changes in the journal that name it.
    held: u32,
}

/// One name that changed.
#[derive(Debug)]
struct Renamed {
    folder: u64,
    name: OsString,
    before: Option<u64>,
    after: Option<u64>,
}

/// Names that changed together.
#[derive(Debug)]
struct Step {
    number: u64,
    names: Vec<Renamed>,
}

/// What a power loss took.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Lost {
    /// Writes to files, truncations among them.
    pub writes: u64,
    /// Changes of names: files made, renamed, removed.
    pub names: u64,
    /// Writes of which a part is there.
    pub torn: u64,
}

/// A disk.
#[derive(Debug)]
pub struct Image {
    nodes: BTreeMap<u64, Node>,
    number_next: u64,
    /// Changes of names that are not durable, oldest first.
    journal: VecDeque<Step>,
    /// Counts every change, so that a sync covers what came before it only.
    steps: u64,
    used: u64,
    capacity: u64,
}

impl Image {
    /// An empty disk of so many bytes.
    pub fn new(capacity: u64) -> Self {
        let root = Node {
            content: Content::Folder(BTreeMap::new()),
            mode: 0o755,
            links: 1,
            held: 0,
        };
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
            number_next: ROOT + 1,
            journal: VecDeque::new(),
            steps: 0,
            used: NODE_BYTES,
            capacity,
        }
    }

    /// Bytes in all, and bytes that are free.
    pub fn space(&self) -> (u64, u64) {
        (self.capacity, self.capacity.saturating_sub(self.used))
    }

    /// Files and folders.
    pub fn count(&self) -> u64 {
        self.nodes.len() as u64
    }

    /// The latest change: what a sync that begins now has to make durable.
    pub fn now(&self) -> u64 {
        self.steps
    }

    /// What a number stands for.
    ///
    /// # Errors
    /// [`Refused::Missing`].
    pub fn node(&self, number: u64) -> Result<&Node, Refused> {
        self.nodes.get(&number).ok_or(Refused::Missing)
    }

    /// What a folder holds.
    ///
    /// # Errors
    /// It is missing or no folder.
    pub fn names(&self, folder: u64) -> Result<&BTreeMap<OsString, u64>, Refused> {
        match &self.node(folder)?.content {
            Content::Folder(names) => Ok(names),
            Content::File(_) => Err(Refused::NoFolder),
        }
    }

    /// The number of a name in a folder.
    ///
    /// # Errors
    /// It is missing.
    pub fn find(&self, folder: u64, name: &OsStr) -> Result<u64, Refused> {
        let found = self.names(folder)?.get(name).copied();
        found.ok_or(Refused::Missing)
    }

    /// Whether a name of this number ends so.
    pub fn is_named(&self, number: u64, end: &str) -> bool {
        self.nodes.values().any(|node| match &node.content {
            Content::Folder(names) => names.iter().any(|(name, named)| {
                *named == number && name.to_str().is_some_and(|name| name.ends_with(end))
            }),
            Content::File(_) => false,
        })
    }

    fn file(&mut self, number: u64) -> Result<&mut File, Refused> {
        match &mut self.nodes.get_mut(&number).ok_or(Refused::Missing)?.content {
            Content::File(file) => Ok(file),
            Content::Folder(_) => Err(Refused::NoFile),
        }
    }

    // ---- names ----

    /// Makes an empty file or folder; its number.
    ///
    /// # Errors
    /// The name is taken, the folder is none, or the disk is full.
    pub fn make(
        &mut self,
        folder: u64,
        name: &OsStr,
        content: Content,
        mode: u32,
    ) -> Result<u64, Refused> {
        if self.names(folder)?.contains_key(name) {
            return Err(Refused::Exists);
        }
        if self.space().1 < NODE_BYTES {
            return Err(Refused::Full);
        }
        let number = self.number_next;
        self.number_next += 1;
        self.used += NODE_BYTES;
        let node = Node {
            content,
            mode,
            links: 0,
            held: 0,
        };
        self.nodes.insert(number, node);
        self.change(vec![(folder, name, Some(number))])?;
        Ok(number)
    }

    /// Gives a file another name besides.
    ///
    /// # Errors
    /// The name is taken, or something is missing.
    pub fn link(&mut self, number: u64, folder: u64, name: &OsStr) -> Result<(), Refused> {
        self.file(number)?;
        if self.names(folder)?.contains_key(name) {
            return Err(Refused::Exists);
        }
        self.change(vec![(folder, name, Some(number))])
    }

    /// Takes the name of a file away.
    ///
    /// # Errors
    /// It is missing, or the name of a folder.
    pub fn unlink(&mut self, folder: u64, name: &OsStr) -> Result<(), Refused> {
        let number = self.find(folder, name)?;
        self.file(number)?;
        self.change(vec![(folder, name, None)])
    }

    /// Removes an empty folder.
    ///
    /// # Errors
    /// It is missing, no folder, or not empty.
    pub fn remove_folder(&mut self, folder: u64, name: &OsStr) -> Result<(), Refused> {
        let number = self.find(folder, name)?;
        if !self.names(number)?.is_empty() {
            return Err(Refused::NotEmpty);
        }
        self.change(vec![(folder, name, None)])
    }

    /// Renames, in place of what has the new name.
    ///
    /// # Errors
    /// It is missing, or the new name is that of a folder that is not empty.
    pub fn rename(
        &mut self,
        folder: u64,
        name: &OsStr,
        folder_to: u64,
        name_to: &OsStr,
    ) -> Result<(), Refused> {
        let number = self.find(folder, name)?;
        if let Ok(there) = self.find(folder_to, name_to) {
            if there == number {
                return Ok(());
            }
            if self.names(there).is_ok_and(|names| !names.is_empty()) {
                return Err(Refused::NotEmpty);
            }
        }
        self.names(folder_to)?;
        self.change(vec![
            (folder, name, None),
            (folder_to, name_to, Some(number)),
        ])
    }

    fn change(&mut self, names: Vec<(u64, &OsStr, Option<u64>)>) -> Result<(), Refused> {
        self.steps += 1;
        let mut step = Step {
            number: self.steps,
            names: Vec::new(),
        };
        for (folder, name, after) in names {
            let before = self.set(folder, name, after)?;
            for number in [before, after].into_iter().flatten() {
                self.hold(number);
            }
            step.names.push(Renamed {
                folder,
                name: name.to_owned(),
                before,
                after,
            });
        }
        self.journal.push_back(step);
        if self.journal.len() > NAMES_UNSYNCED_MAX {
            self.forget_oldest();
        }
        Ok(())
    }

    /// What a name stands for from now on; what it stood for.
    fn set(
        &mut self,
        folder: u64,
        name: &OsStr,
        number: Option<u64>,
    ) -> Result<Option<u64>, Refused> {
        let node = self.nodes.get_mut(&folder).ok_or(Refused::Missing)?;
        let Content::Folder(names) = &mut node.content else {
            return Err(Refused::NoFolder);
        };
        let before = match number {
            Some(number) => names.insert(name.to_owned(), number),
            None => names.remove(name),
        };
        if let Some(node) = number.and_then(|number| self.nodes.get_mut(&number)) {
            node.links += 1;
        }
        if let Some(node) = before.and_then(|number| self.nodes.get_mut(&number)) {
            node.links -= 1;
        }
        Ok(before)
    }

    fn hold(&mut self, number: u64) {
        if let Some(node) = self.nodes.get_mut(&number) {
            node.held += 1;
        }
    }

    /// A file was opened: it stays when its last name goes.
    ///
    /// # Errors
    /// It is missing.
    pub fn open(&mut self, number: u64) -> Result<(), Refused> {
        self.node(number)?;
        self.hold(number);
        Ok(())
    }

    /// It was closed, or a change that named it is durable or undone.
    pub fn release(&mut self, number: u64) {
        let Some(node) = self.nodes.get_mut(&number) else {
            return;
        };
        node.held = node.held.saturating_sub(1);
        if node.held > 0 || node.links > 0 || number == ROOT {
            return;
        }
        let bytes = match &node.content {
            Content::File(file) => file.len(),
            Content::Folder(_) => 0,
        };
        self.used = self.used.saturating_sub(bytes + NODE_BYTES);
        self.nodes.remove(&number);
    }

    fn forget_oldest(&mut self) {
        let Some(step) = self.journal.pop_front() else {
            return;
        };
        for name in step.names {
            for number in [name.before, name.after].into_iter().flatten() {
                self.release(number);
            }
        }
    }

    // ---- bytes ----

    /// Bytes of a file from `at` on, `len` at most.
    ///
    /// # Errors
    /// It is missing or a folder.
    pub fn read(&self, number: u64, at: u64, len: u32) -> Result<&[u8], Refused> {
        match &self.node(number)?.content {
            Content::File(file) => Ok(file.read(at, len as usize)),
            Content::Folder(_) => Err(Refused::NoFile),
        }
    }

    /// Writes what there is room for; how much that was.
    ///
    /// # Errors
    /// There is no such file, or no room at all.
    pub fn write(&mut self, number: u64, at: u64, bytes: &[u8]) -> Result<u32, Refused> {
        let free = self.space().1;
        self.steps += 1;
        let step = self.steps;
        let file = self.file(number)?;
        let room = file.len().saturating_add(free).saturating_sub(at);
        let fits = room.min(bytes.len() as u64) as usize;
        if fits == 0 && !bytes.is_empty() {
            return Err(Refused::Full);
        }
        let before = file.len();
        file.write(step, at, &bytes[..fits]);
        self.used += file.len() - before;
        Ok(fits as u32)
    }

    /// Sets the length of a file.
    ///
    /// # Errors
    /// There is no such file, or no room.
    pub fn set_len(&mut self, number: u64, len: u64) -> Result<(), Refused> {
        let free = self.space().1;
        self.steps += 1;
        let step = self.steps;
        let file = self.file(number)?;
        let before = file.len();
        if len > before.saturating_add(free) {
            return Err(Refused::Full);
        }
        file.set_len(step, len);
        self.used = (self.used + len).saturating_sub(before);
        Ok(())
    }

    /// Sets the permissions.
    ///
    /// # Errors
    /// It is missing.
    pub fn set_mode(&mut self, number: u64, mode: u32) -> Result<(), Refused> {
        self.nodes.get_mut(&number).ok_or(Refused::Missing)?.mode = mode;
        Ok(())
    }

    // ---- what is durable ----

    /// Brings a file or the names in a folder to the disk, as they were at
    /// `now`. The journal of names is one: what is older than the last change in
    /// the folder becomes durable with it.
    pub fn sync(&mut self, number: u64, now: u64) {
        let Some(node) = self.nodes.get_mut(&number) else {
            return;
        };
        if let Content::File(file) = &mut node.content {
            return file.sync(now);
        }
        let in_it =
            |step: &Step| step.number <= now && step.names.iter().any(|name| name.folder == number);
        let through = self.journal.iter().rposition(in_it);
        for _ in 0..through.map_or(0, |at| at + 1) {
            self.forget_oldest();
        }
    }

    /// A sync of a file failed: what was not durable never will be, whatever
    /// later syncs say (the kernel drops such pages and calls them clean).
    pub fn spoil(&mut self, number: u64) {
        if let Ok(file) = self.file(number) {
            file.spoil();
        }
    }

    /// The power fails. Of the journal of names some beginning survives, and of
    /// each file some beginning of its writes, perhaps with a part of the next.
    /// No process may have a file open.
    pub fn lose_power(&mut self, rng: &mut StdRng) -> Lost {
        let mut lost = Lost::default();
        let kept = some_of(rng, self.journal.len());
        while self.journal.len() > kept {
            let Some(step) = self.journal.pop_back() else {
                break;
            };
            for name in step.names.into_iter().rev() {
                // The folder is there: changes in it came after its making.
                let _ = self.set(name.folder, &name.name, name.before);
                for number in [name.before, name.after].into_iter().flatten() {
                    self.release(number);
                }
            }
            lost.names += 1;
        }
        while !self.journal.is_empty() {
            self.forget_oldest();
        }
        for node in self.nodes.values_mut() {
            if let Content::File(file) = &mut node.content {
                let before = file.len();
                file.lose_power(rng, &mut lost);
                self.used = (self.used + file.len()).saturating_sub(before);
            }
        }
        lost
    }
}

/// How many of so many changes survive: often none, often all but a few.
pub(crate) fn some_of(rng: &mut StdRng, all: usize) -> usize {
    match rng.gen_range(0..3) {
        0 => 0,
        1 => all.saturating_sub(rng.gen_range(0..4)),
        _ => rng.gen_range(0..=all),
    }
}
