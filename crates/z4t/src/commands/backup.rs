//! Backups: made of a cluster, and checked without one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use z4_backup::{read_all, Manifest};

use super::connect;
use super::progress::Progress;
use crate::error::Error;
use crate::options::{Backup, BackupCommand, Output};
use crate::show;

pub(super) fn run(backup: &Backup, out: &mut impl Write) -> Result<(), Error> {
    match (&backup.command, &backup.file) {
        (Some(BackupCommand::Verify(verify)), None) => {
            // Flags that stand before the command are those of `backup`.
            let output = match backup.output {
                Output::Json => Output::Json,
                Output::Text => verify.output,
            };
            check(&verify.file, output, out)
        }
        (None, Some(path)) if path.as_os_str() == "-" => {
            let (manifest, bytes) = make(backup, out)?;
            // The file went to standard output, so what is said of it goes elsewhere.
            say(&manifest, bytes, backup.output, &mut io::stderr())
        }
        (None, Some(path)) => {
            let (manifest, bytes) = write_file(path, |file| make(backup, file))?;
            say(&manifest, bytes, backup.output, out)
        }
        (None, None) => Err(Error::Usage(
            "give a file for the backup, or - for standard output: z4t backup FILE".to_owned(),
        )),
        (Some(_), Some(_)) => Err(Error::Usage(
            "give either z4t backup FILE or z4t backup verify FILE".to_owned(),
        )),
    }
}

/// Writes a backup to `out`.
fn make(backup: &Backup, out: &mut impl Write) -> Result<(Manifest, u64), Error> {
    let client = connect(&backup.target)?;
    let mut progress = Progress::new("tasks backed up", None);
    let mut out = Paced::new(out, backup.rate);
    let made = block_on(client.backup(&mut out, |at| {
        progress.of(at.tasks_total);
        progress.at(at.tasks_done);
    }));
    progress.end();
    Ok(made?)
}

/// Writes a file under a passing name of its own, and gives it its name when all of it is
/// durable. A file that had the name stays as it was until then. Nobody else may read it.
fn write_file<T>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<T, Error>,
) -> Result<T, Error> {
    let refuse = |error: &io::Error| {
        let place = path.display();
        Error::Input(format!(
            "{place}: the file cannot be written: {error}; give a path in a folder of yours"
        ))
    };
    let Some(name) = path.file_name().filter(|_| !path.is_dir()) else {
        return Err(refuse(&io::Error::from(io::ErrorKind::IsADirectory)));
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut prefix = name.to_owned();
    prefix.push(".");
    // A rest of it that stays when this fails is of no use, and is removed with the name.
    let mut partial = tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(".partial")
        .tempfile_in(folder)
        .map_err(|e| refuse(&e))?;
    let written = write(partial.as_file_mut())?;
    partial.as_file().sync_all().map_err(|e| refuse(&e))?;
    partial.persist(path).map_err(|e| refuse(&e.error))?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|e| refuse(&e))?;
    Ok(written)
}

/// Checks a file.
fn check(path: &Path, output: Output, out: &mut impl Write) -> Result<(), Error> {
    let mut bytes = 0;
    let from: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => {
            let opened = File::open(path);
            let refuse = |e| Error::Input(format!("{}: cannot be opened: {e}", path.display()));
            Box::new(opened.map_err(refuse)?)
        }
    };
    let counted = Counted {
        from,
        bytes: &mut bytes,
    };
    let checked = read_all(counted, |_| Ok::<(), std::convert::Infallible>(()));
    match checked {
        Ok(manifest) => say(&manifest, bytes, output, out),
        Err(error) => Err(Error::Input(format!("{}: {error}", path.display()))),
    }
}

fn say(manifest: &Manifest, bytes: u64, output: Output, out: &mut impl Write) -> Result<(), Error> {
    match output {
        Output::Text => write!(out, "{}", show::backup_text(manifest, bytes))?,
        Output::Json => writeln!(out, "{}", show::backup_json(manifest, bytes))?,
    }
    Ok(())
}

/// Counts what is read.
struct Counted<'a> {
    from: Box<dyn Read>,
    bytes: &'a mut u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        *self.bytes += read as u64;
        Ok(read)
    }
}

/// Takes no more than so many bytes a second. Whoever writes waits, and so reads no faster
/// from the peer, which sends no faster then.
struct Paced<'a, W> {
    out: &'a mut W,
    rate: Option<u64>,
    /// All that was written is paid for at this moment.
    paid_at: Instant,
}

/// A pause of the peer is made up for by so much at most.
const CATCH_UP_MAX: Duration = Duration::from_millis(500);

impl<'a, W: Write> Paced<'a, W> {
    fn new(out: &'a mut W, rate: Option<u64>) -> Self {
        let paid_at = Instant::now();
        Self { out, rate, paid_at }
    }

    /// The time to wait after `bytes` were written at `now`.
    fn pay(&mut self, bytes: usize, rate: u64, now: Instant) -> Duration {
        let earliest = now.checked_sub(CATCH_UP_MAX).unwrap_or(now);
        let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
        self.paid_at = self.paid_at.max(earliest) + cost;
        self.paid_at.saturating_duration_since(now)
    }
}

impl<W: Write> Write for Paced<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        if let Some(rate) = self.rate {
            std::thread::sleep(self.pay(written, rate, Instant::now()));
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn bytes_are_paid_for_in_time_and_a_pause_saves_little() {
        let mut out = Vec::new();
        let mut paced = Paced::new(&mut out, Some(1_000));
        let start = paced.paid_at;
        let ms = Duration::from_millis;
        assert_eq!(paced.pay(100, 1_000, start), ms(100));
        assert_eq!(paced.pay(100, 1_000, start + ms(100)), ms(100));
        // After a minute of nothing, half a second's worth goes at once.
        let later = start + ms(60_000);
        assert_eq!(paced.pay(500, 1_000, later), ms(0));
        assert_eq!(paced.pay(500, 1_000, later), ms(500));
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup");
        fs::write(&path, "before").unwrap();
        let broken = write_file(&path, |file| {
            file.write_all(b"half").unwrap();
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
            Err::<(), _>(Error::Input("gone".into()))
        });
        assert!(broken.is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        // Two at once, of which the one that ends last has the name.
        write_file(&path, |file| {
            file.write_all(b"whole")?;
            write_file(&path, |file| Ok(file.write_all(b"sooner")?))
        })
        .unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(write_file(dir.path(), |_| Ok(())).is_err());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("notes.txt");
        fs::write(&file, "not a backup at all").unwrap();
        let error = check(&file, Output::Text, &mut Vec::new()).unwrap_err();
        assert_eq!(error.exit_code(), 1);
        let text = error.to_string();
        assert!(
            text.contains("notes.txt") && text.contains("no backup"),
            "{text}"
        );
    }
}
