//! Cases that measure the whole process, and so need one of their own.

use std::process::Command;

/// Set in the process that runs one case alone.
const ALONE: &str = "LIFEBOAT_TESTKIT_ALONE";

/// Whether this process was started to run the test `path` (as `module_path!()` and the test's name) alone. If
/// not, starts such a process, waits for it, and fails if it fails.
pub fn is_alone(path: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    // The test harness names tests without their crate.
    let name = path.split_once("::").map_or(path, |(_, name)| name);
    let program = std::env::current_exe().expect("a test knows its own program");
    let output = Command::new(program)
        .args([name, "--exact", "--nocapture", "--include-ignored"])
        .env(ALONE, "1")
        .output()
        .expect("the test starts itself");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "alone in a process:\n{said}");
    // A name that fits no test would succeed as well.
    assert!(said.contains("1 passed"), "{name} was not run alone:\n{said}");
    false
}

/// The largest part of this process that was ever in memory, in bytes, since [`forget_peak`]; `None` where the
/// system does not say.
pub fn peak_memory() -> Option<u64> {
    status("VmHWM:")
}

/// Starts to measure anew: the peak becomes what is in memory now, which is returned.
pub fn forget_peak() -> Option<u64> {
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    status("VmRSS:")
}

fn status(line: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|text| text.strip_prefix(line))?;
    Some(kilobytes.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}
