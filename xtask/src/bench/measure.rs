//! Runs commands and measures them: wall time, processor time, and the peak memory of the largest process.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) seconds: f64,
    /// The processor time of the process and of those that it waited for, user and system, to a hundredth of a second.
    pub(crate) cpu_seconds: f64,
    /// The peak resident memory of the process, as the kernel counts it, last looked at within 10 ms of its end.
    pub(crate) peak_mib: f64,
}

/// Runs a command to its end. What others have written goes to the disk first: nobody waits for what the run before left.
pub(crate) fn measure(command: &mut Command) -> Result<Run> {
    if !Command::new("sync").status()?.success() {
        return Err("sync failed".into());
    }
    let cpu_before = cpu_of_children()?;
    let start = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let peak = fs::read_to_string(&status_file).ok().and_then(|text| {
            text.lines()
                .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        });
        peak_kib = peak_kib.max(peak.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(10));
    };
    let seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = cpu_of_children()? - cpu_before;
    if status.success() {
        return Ok(Run { seconds, cpu_seconds, peak_mib: peak_kib as f64 / 1024.0 });
    }
    let mut complaint = String::new();
    if let Some(mut stderr) = child.stderr {
        std::io::Read::read_to_string(&mut stderr, &mut complaint)?;
    }
    Err(format!("{command:?} failed: {status}: {complaint}").into())
}

/// The processor time of all children that ended and were waited for. The kernel counts in hundredths of a second.
fn cpu_of_children() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // Behind the program's name, which may contain anything, the user's time is the 14th field and the system's the 15th.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks = fields.skip(13).take(2).map(str::parse::<u64>).sum::<std::result::Result<u64, _>>()?;
    Ok(ticks as f64 / 100.0)
}

/// Removes a directory or a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result {
    if path.is_dir() {
        fs::remove_dir_all(path)?;
    } else if path.exists() {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// The bytes of all files below a directory.
pub(crate) fn size(path: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(sum)
}

/// The middle of some figures.
pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The largest of some figures.
pub(crate) fn largest(figures: impl IntoIterator<Item = f64>) -> f64 {
    figures.into_iter().fold(0.0, f64::max)
}
