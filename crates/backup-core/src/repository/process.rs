//! Processes: who holds a lease, and whether it is still there.

use serde::{Deserialize, Serialize};

/// A process, as others can tell it from every other one: also from one that has its number later.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Process {
    pub(super) host: String,
    /// What changes when the host is started again.
    pub(super) boot: Option<String>,
    /// In which numbering of processes `pid` counts: each container has its own.
    pub(super) namespace: Option<String>,
    pub(super) pid: u32,
    /// When it was started, in clock ticks since the boot.
    pub(super) start: Option<u64>,
}

impl Process {
    /// This one.
    pub(super) fn own() -> Self {
        Self::of(std::process::id())
    }

    /// The process of this host that has this number.
    pub(super) fn of(pid: u32) -> Self {
        Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            boot: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
                .ok()
                .map(|id| id.trim().to_owned()),
            namespace: std::fs::read_link("/proc/self/ns/pid").ok().map(|link| link.display().to_string()),
            pid,
            start: stat(pid).map(|stat| stat.start),
        }
    }

    /// Whether it certainly is, or was, a process of this host since its last start: only then its number can be looked up.
    pub(super) fn is_of_this_host(&self) -> bool {
        let own = Self::own();
        self.boot.is_some()
            && self.namespace.is_some()
            && (&self.host, &self.boot, &self.namespace) == (&own.host, &own.boot, &own.namespace)
    }

    /// Whether it certainly has ended. It has not just because it cannot be seen from here.
    pub(super) fn has_ended(&self) -> bool {
        if !self.is_of_this_host() {
            return false;
        }
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        let Some(pid) = pid else { return false };
        if rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH) {
            return true;
        }
        match (stat(self.pid), self.start) {
            // One that waits for its parent to notice that it has ended does nothing any more.
            (Some(stat), Some(start)) => stat.start != start || matches!(stat.state, b'Z' | b'X'),
            _ => false,
        }
    }

    /// Whether it certainly is of this host and was stopped, so that it may go on at any time where it stands.
    pub(super) fn is_stopped(&self) -> bool {
        self.is_of_this_host() && stat(self.pid).is_some_and(|stat| matches!(stat.state, b'T' | b't'))
    }
}

struct Stat {
    state: u8,
    start: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, and may hold anything.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = *fields.next()?.as_bytes().first()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some(Stat { state, start })
}

/// Milliseconds on a clock that nobody sets and that goes on while the machine sleeps.
pub(super) fn uptime() -> u64 {
    #[cfg(target_os = "linux")]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(CLOCK);
    (now.tv_sec as u64).saturating_mul(1000).saturating_add(now.tv_nsec as u64 / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_not_ended_and_one_with_its_number_and_another_start_has() {
        let own = Process::own();
        assert!(own.is_of_this_host() && !own.has_ended(), "{own:?}");
        let start = own.start.map(|start| start + 1);
        assert!(Process { start, ..own.clone() }.has_ended());
    }

    #[test]
    fn a_process_that_was_killed_has_ended_also_before_its_parent_looks() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let process = Process::of(child.id());
        assert!(!process.has_ended());
        child.kill().unwrap();
        while !process.has_ended() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.wait().unwrap();
        assert!(process.has_ended());
    }

    #[test]
    fn nothing_is_known_of_processes_elsewhere() {
        let gone = Process { pid: u32::MAX >> 1, start: Some(1), ..Process::own() };
        assert!(gone.has_ended());
        let elsewhere = [
            Process { host: "another".into(), ..gone.clone() },
            Process { boot: Some("another".into()), ..gone.clone() },
            Process { namespace: Some("pid:[1]".into()), ..gone.clone() },
            Process { boot: None, ..gone.clone() },
        ];
        for process in elsewhere {
            assert!(!process.has_ended(), "{process:?}");
        }
    }
}
