//! Processes from outside.

use std::error::Error;
use std::time::Duration;

/// What a virtual machine's host has taken of its processors since they were started, in ticks of 10 ms (proc(5),
/// `steal`); nothing elsewhere.
pub fn stolen() -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let ticks = stat.split_whitespace().nth(8);
    Ok(Duration::from_millis(ticks.unwrap_or("0").parse::<u64>()? * 10))
}

/// What Linux tells of a process (proc(5)).
pub struct Process {
    folder: String,
}

impl Process {
    pub fn of(id: u32) -> Self {
        Self { folder: format!("/proc/{id}") }
    }

    /// A line of its status that tells KiB.
    pub fn memory_bytes(&self, line: &str) -> Result<u64, Box<dyn Error>> {
        let status = std::fs::read_to_string(format!("{}/status", self.folder))?;
        let rest = status.lines().find_map(|text| text.strip_prefix(line)).ok_or("the kernel tells no memory")?;
        let kib: u64 = rest.trim().trim_end_matches(" kB").parse()?;
        Ok(kib << 10)
    }

    /// User and system time. Of threads that live it is known to the nanosecond; with those that have
    /// ended, only in ticks of 10 ms.
    pub fn cpu(&self) -> Result<Duration, Box<dyn Error>> {
        let mut nanoseconds = 0;
        for task in std::fs::read_dir(format!("{}/task", self.folder))? {
            // A thread may end meanwhile.
            let schedule = std::fs::read_to_string(task?.path().join("schedstat"));
            let running = schedule.ok().and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
            nanoseconds += running.unwrap_or_default();
        }
        let stat = std::fs::read_to_string(format!("{}/stat", self.folder))?;
        // The name, in parentheses, may hold spaces; utime is the 12th field behind it, stime the 13th.
        let (_, fields) = stat.rsplit_once(')').ok_or("no stat that is known")?;
        let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_nanos(nanoseconds).max(Duration::from_millis(ticks * 10)))
    }
}
