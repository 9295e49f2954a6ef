//! Gauges of the process, under the names that Prometheus has for them, read when somebody
//! asks for metrics.
//!
//! They come from `/proc`, and are left out where there is none.

use std::fs;

use prometheus::{Counter, IntGauge, Registry};
use rustix::param::{clock_ticks_per_second, page_size};

/// Gauges of the process.
#[derive(Clone, Debug)]
pub(crate) struct ProcessMetrics {
    descriptors: IntGauge,
    resident: IntGauge,
    threads: IntGauge,
    cpu: Counter,
}

impl ProcessMetrics {
    /// Registers the gauges. `descriptors_max` is how many files the process may have open.
    ///
    /// # Errors
    /// When the registry has gauges of these names.
    pub(crate) fn new(registry: &Registry, descriptors_max: u64) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        gauge(
            "process_max_fds",
            "File descriptors that the process may have",
        )?
        .set(number(descriptors_max));
        let cpu = Counter::new(
            "process_cpu_seconds_total",
            "Processor time of the process, in seconds",
        )?;
        registry.register(Box::new(cpu.clone()))?;
        Ok(Self {
            descriptors: gauge("process_open_fds", "File descriptors that are open")?,
            resident: gauge(
                "process_resident_memory_bytes",
                "Memory of the process that is in RAM",
            )?,
            threads: gauge("process_threads", "Threads of the process")?,
            cpu,
        })
    }

    /// Reads what the system says into the gauges. What it does not say keeps its last value.
    pub(crate) fn sample(&self) {
        if let Some(open) = descriptors_open() {
            self.descriptors.set(number(open));
        }
        if let Some(stat) = Stat::now() {
            self.cpu
                .inc_by((stat.cpu_seconds() - self.cpu.get()).max(0.0));
            self.threads.set(number(stat.threads));
            self.resident.set(number(stat.resident_bytes()));
        }
    }
}

/// File descriptors that are open; `None`: the system does not tell.
pub(crate) fn descriptors_open() -> Option<u64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?;
    // One of them is the folder that is read.
    Some(entries.count().saturating_sub(1) as u64)
}

/// What is read of `/proc/self/stat`.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Stat {
    cpu_ticks: u64,
    threads: u64,
    resident_pages: u64,
}

impl Stat {
    /// The figures of this process now; `None`: the system does not tell.
    pub(crate) fn now() -> Option<Self> {
        Self::read(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// Processor time of all threads.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.cpu_ticks as f64 / clock_ticks_per_second().max(1) as f64
    }

    /// Memory that is in RAM.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.resident_pages.saturating_mul(page_size() as u64)
    }

    /// Reads one line, as `proc(5)` has it; `None`: it has another form.
    fn read(line: &str) -> Option<Self> {
        // The name of the program may have blanks and brackets in it. The field behind it is
        // the third of the line.
        let (_, rest) = line.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)?.saturating_add(field(15)?),
            threads: field(20)?,
            resident_pages: field(24)?,
        })
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_line_of_the_system_is_read_whatever_the_program_is_called() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 31 0 9000 \
                    1000000 2048 18446744073709551615 1 1 0 0 0 0 0";
        let expected = Stat {
            cpu_ticks: 300,
            threads: 31,
            resident_pages: 2048,
        };
        assert_eq!(Stat::read(line), Some(expected));
        for line in [
            "",
            "7 (a",
            "7 (a) S 1",
            "7 (a) S x x x x x x x x x x x x x x x x x x x x x",
        ] {
            assert_eq!(Stat::read(line), None, "{line}");
        }
    }

    #[test]
    fn this_process_is_seen() {
        let registry = Registry::new();
        let metrics = ProcessMetrics::new(&registry, 1_024).unwrap();
        metrics.sample();
        let before = metrics.descriptors.get();
        assert!(before > 0 && metrics.threads.get() > 0 && metrics.resident.get() > 1 << 20);
        let held: Vec<_> = (0..100)
            .map(|_| fs::File::open("/dev/null").unwrap())
            .collect();
        metrics.sample();
        // Other tests of this process open files, too.
        assert!(metrics.descriptors.get() >= before + 50, "{}", held.len());
    }
}
