//! The cost of a synced write where the systems keep their data. Rates say little
//! without it.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::system::text;

/// How long writes are measured.
const LENGTH: Duration = Duration::from_millis(300);

/// The time of a synced append that half of all stay below, in milliseconds.
///
/// # Errors
/// When the folder cannot be written.
pub fn synced_write_ms(folder: &Path) -> Result<f64, String> {
    let mut file = File::create(folder.join("probe")).map_err(text)?;
    let (begin, mut times) = (Instant::now(), Vec::new());
    while begin.elapsed() < LENGTH {
        let start = Instant::now();
        file.write_all(&[7; 512]).map_err(text)?;
        file.sync_data().map_err(text)?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let middle = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok(middle.as_secs_f64() * 1e3)
}
