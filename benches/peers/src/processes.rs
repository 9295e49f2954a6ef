//! What the kernel says of processes: processor time, memory, bytes written.

use std::fs;
use std::iter::Sum;
use std::ops::Sub;
use std::time::Duration;

/// What processes have used.
#[derive(Clone, Copy, Default, Debug)]
pub struct Usage {
    /// Processor time.
    pub cpu: Duration,
    /// Bytes that went to a disk, as the kernel counts them.
    pub written: u64,
    /// Resident memory; what several processes share is divided among them.
    pub memory: u64,
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            cpu: sum.cpu + one.cpu,
            written: sum.written + one.written,
            memory: sum.memory + one.memory,
        })
    }
}

impl Sub for Usage {
    type Output = Self;

    /// What was used since `before`; the memory is that of now.
    fn sub(self, before: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            written: self.written.saturating_sub(before.written),
            memory: self.memory,
        }
    }
}

/// The kernel counts processor time in ticks.
fn of_ticks(ticks: u64) -> Duration {
    let per_s = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_secs(ticks) / u32::try_from(per_s).unwrap_or(100)
}

/// A process at a moment.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its id.
    pub id: u32,
    parent: u32,
    started: u64,
    /// Its processor time, and that of children that have ended.
    ticks: u64,
}

impl Process {
    fn read(id: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name stands in brackets and may contain blanks and brackets.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            id,
            parent: u32::try_from(number(1)?).ok()?,
            ticks: (11..15).filter_map(number).sum(),
            started: number(19)?,
        })
    }

    /// Processor time so far, with that of children that have ended.
    pub fn cpu_time(&self) -> Duration {
        of_ticks(self.ticks)
    }

    /// What it has used so far, with children that have ended.
    pub fn usage(&self) -> Usage {
        Usage {
            cpu: self.cpu_time(),
            written: number_of(&format!("/proc/{}/io", self.id), "write_bytes:"),
            memory: 1024 * number_of(&format!("/proc/{}/smaps_rollup", self.id), "Pss:"),
        }
    }

    /// Whether this very process still runs, and not another one of its id.
    pub fn is_alive(&self) -> bool {
        Self::read(self.id).is_some_and(|now| now.started == self.started)
    }
}

/// The number after `name` in a file of lines; 0 when it is not there, as for a process
/// that has ended.
fn number_of(path: &str, name: &str) -> u64 {
    let file = fs::read_to_string(path).unwrap_or_default();
    let line = file.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_ascii_whitespace().next());
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// These processes and all that descend from them.
#[must_use]
pub fn tree(roots: &[u32]) -> Vec<Process> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut left: Vec<Process> = ids.filter_map(Process::read).collect();
    let mut found: Vec<Process> = Vec::new();
    loop {
        let is_in = |p: &Process| roots.contains(&p.id) || found.iter().any(|f| f.id == p.parent);
        let (new, others): (Vec<_>, Vec<_>) = left.into_iter().partition(is_in);
        if new.is_empty() {
            return found;
        }
        found.extend(new);
        left = others;
    }
}

/// Processor time of this program so far.
#[must_use]
pub fn own_cpu_time() -> Duration {
    Process::read(std::process::id()).map_or(Duration::ZERO, |own| own.cpu_time())
}

/// Processor time of the whole machine so far.
#[derive(Clone, Copy, Default, Debug)]
pub struct Machine {
    busy: Duration,
    all: Duration,
}

impl Machine {
    /// That of now; nothing where the kernel does not tell.
    #[must_use]
    pub fn read() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = stat.lines().next().unwrap_or_default();
        let words = line.split_ascii_whitespace().skip(1);
        // User, nice, system, idle, iowait, irq, softirq, steal; guests are in user.
        let ticks: Vec<u64> = words.take(8).filter_map(|word| word.parse().ok()).collect();
        let all: u64 = ticks.iter().sum();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        Self {
            busy: of_ticks(all.saturating_sub(idle)),
            all: of_ticks(all),
        }
    }

    /// The share that was not spent on `own` since `before`, of all there was.
    #[must_use]
    pub fn others_percent(self, before: Self, own: Duration) -> f64 {
        let busy = self.busy.saturating_sub(before.busy);
        let all = self.all.saturating_sub(before.all).as_secs_f64();
        let others = busy.saturating_sub(own).as_secs_f64();
        100.0 * others / all.max(f64::MIN_POSITIVE)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_child_is_in_the_tree_and_has_memory() {
        let mut child = std::process::Command::new("sleep")
            .arg("9")
            .spawn()
            .unwrap();
        let own = std::process::id();
        let all = tree(&[own]);
        assert!(all.iter().any(|p| p.id == child.id() && p.is_alive()));
        assert!(all.iter().map(Process::usage).sum::<Usage>().memory > 0);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(all.iter().all(|p| p.id != child.id() || !p.is_alive()));
    }
}
