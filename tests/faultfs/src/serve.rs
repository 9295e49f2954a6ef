//! Answers the kernel (FUSE): each request is one step on the image.

use std::ffi::OsStr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use crate::file::File;
use crate::image::{Content, Image, Refused};
use crate::Disk;

/// The kernel asks anew each time: a power loss changes everything behind its
/// back.
const ASK_AGAIN: Duration = Duration::ZERO;
/// The unit that space is told in.
const BLOCK: u32 = 4_096;
/// `fallocate` that sets space aside and leaves the length: nothing to do here.
const KEEP_SIZE: i32 = 1;

/// What the kernel talks to.
pub struct Server(pub Arc<Disk>);

impl From<Refused> for Errno {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Missing => Self::ENOENT,
            Refused::Exists => Self::EEXIST,
            Refused::NotEmpty => Self::ENOTEMPTY,
            Refused::NoFolder => Self::ENOTDIR,
            Refused::NoFile => Self::EISDIR,
            Refused::Full => Self::ENOSPC,
        }
    }
}

fn attributes(image: &Image, number: u64) -> Result<FileAttr, Refused> {
    let node = image.node(number)?;
    let (kind, size) = match &node.content {
        Content::File(file) => (FileType::RegularFile, file.len()),
        Content::Folder(_) => (FileType::Directory, u64::from(BLOCK)),
    };
    let then = SystemTime::UNIX_EPOCH;
    Ok(FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: then,
        mtime: then,
        ctime: then,
        crtime: then,
        kind,
        perm: (node.mode & 0o7777) as u16,
        nlink: node.links,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    })
}

fn done(reply: ReplyEmpty, result: Result<(), Refused>) {
    match result {
        Ok(()) => reply.ok(),
        Err(refused) => reply.error(refused.into()),
    }
}

impl Server {
    fn entry(&self, reply: ReplyEntry, find: impl FnOnce(&mut Image) -> Result<u64, Refused>) {
        let mut image = self.0.image();
        let found = find(&mut image).and_then(|number| attributes(&image, number));
        match found {
            Ok(found) => reply.entry(&ASK_AGAIN, &found, Generation(0)),
            Err(refused) => reply.error(refused.into()),
        }
    }

    /// A sync takes its time, and only then is durable what was there when it
    /// began.
    fn sync(&self, number: u64, reply: ReplyEmpty) {
        let (disk, now) = (Arc::clone(&self.0), self.0.image().now());
        let (wait, fate) = disk.next_sync(number);
        let end = move || {
            thread::sleep(wait);
            match fate {
                Fate::Done => disk.image().sync(number, now),
                Fate::Lie => {}
                Fate::Fail => {
                    disk.image().spoil(number);
                    return reply.error(Errno::EIO);
                }
            }
            reply.ok();
        };
        // Other requests go on meanwhile. Without a thread they wait.
        if wait.is_zero() {
            end();
        } else {
            thread::spawn(end);
        }
    }
}

/// What becomes of a sync.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is done.
    Done,
    /// It says so, and is not.
    Lie,
    /// An IO error.
    Fail,
}

impl Filesystem for Server {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(reply, |image| image.find(parent.0, name));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match attributes(&self.0.image(), ino.0) {
            Ok(found) => reply.attr(&ASK_AGAIN, &found),
            Err(refused) => reply.error(refused.into()),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut image = self.0.image();
        let len = size.map_or(Ok(()), |size| image.set_len(ino.0, size));
        let set = len.and_then(|()| mode.map_or(Ok(()), |mode| image.set_mode(ino.0, mode)));
        match set.and_then(|()| attributes(&image, ino.0)) {
            Ok(found) => reply.attr(&ASK_AGAIN, &found),
            Err(refused) => reply.error(refused.into()),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let folder = Content::Folder(std::collections::BTreeMap::new());
        self.entry(reply, |image| image.make(parent.0, name, folder, mode));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.0.image().unlink(parent.0, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.0.image().remove_folder(parent.0, name));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        parent_to: INodeNo,
        name_to: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let mut image = self.0.image();
        done(reply, image.rename(parent.0, name, parent_to.0, name_to));
    }

    fn link(
        &self,
        _: &Request,
        ino: INodeNo,
        parent_to: INodeNo,
        name_to: &OsStr,
        reply: ReplyEntry,
    ) {
        self.entry(reply, |image| {
            image.link(ino.0, parent_to.0, name_to).map(|()| ino.0)
        });
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.0.image().open(ino.0) {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(refused) => reply.error(refused.into()),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let mut image = self.0.image();
        let file = Content::File(File::default());
        let made = image.make(parent.0, name, file, mode).and_then(|number| {
            image.open(number)?;
            attributes(&image, number)
        });
        match made {
            Ok(made) => reply.created(
                &ASK_AGAIN,
                &made,
                Generation(0),
                FileHandle(0),
                FopenFlags::empty(),
            ),
            Err(refused) => reply.error(refused.into()),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.0.image().read(ino.0, offset, size) {
            Ok(bytes) => reply.data(bytes),
            Err(refused) => reply.error(refused.into()),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.0.image().write(ino.0, offset, data) {
            Ok(written) => reply.written(written),
            Err(refused) => reply.error(refused.into()),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // A close syncs nothing.
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.0.image().release(ino.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(ino.0, reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(ino.0, reply);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let image = self.0.image();
        let names = match image.names(ino.0) {
            Ok(names) => names,
            Err(refused) => return reply.error(refused.into()),
        };
        // Places in the list are by number: they stay when other names go.
        let mut listed: Vec<_> = names.iter().map(|(name, number)| (*number, name)).collect();
        listed.sort();
        for (number, name) in listed.into_iter().filter(|(number, _)| *number > offset) {
            let kind = match image.node(number).map(|node| &node.content) {
                Ok(Content::Folder(_)) => FileType::Directory,
                _ => FileType::RegularFile,
            };
            if reply.add(INodeNo(number), number, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let image = self.0.image();
        let (all, free) = image.space();
        let blocks = |bytes: u64| bytes / u64::from(BLOCK);
        reply.statfs(
            blocks(all),
            blocks(free),
            blocks(free),
            image.count(),
            1 << 20,
            BLOCK,
            255,
            BLOCK,
        );
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode == KEEP_SIZE {
            reply.ok();
        } else {
            reply.error(Errno::EOPNOTSUPP);
        }
    }
}
