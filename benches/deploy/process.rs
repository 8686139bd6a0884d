//! The resources of a process, as Linux reports them in `/proc` (proc(5)).

use std::error::Error;
use std::time::Duration;

/// Returns the CPU time that the host of this virtual machine took away since its start, in ticks of 10 ms (`steal`). It
/// is 0 on other machines.
pub fn stolen_time() -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let ticks = stat.split_whitespace().nth(8);
    Ok(Duration::from_millis(ticks.unwrap_or("0").parse::<u64>()? * 10))
}

/// A process.
pub struct Process {
    folder: String,
}

impl Process {
    pub fn of(id: u32) -> Self {
        Self { folder: format!("/proc/{id}") }
    }

    /// Returns the value of a line of its status that counts KiB, such as `VmRSS:`.
    pub fn memory_bytes(&self, line: &str) -> Result<u64, Box<dyn Error>> {
        let status = std::fs::read_to_string(format!("{}/status", self.folder))?;
        let rest = status.lines().find_map(|text| text.strip_prefix(line)).ok_or("the kernel reports no memory")?;
        let kib: u64 = rest.trim().trim_end_matches(" kB").parse()?;
        Ok(kib << 10)
    }

    /// Returns its user and system time.
    ///
    /// For living threads it is exact to the nanosecond. Including threads that have ended, it is known only in ticks of
    /// 10 ms.
    pub fn cpu(&self) -> Result<Duration, Box<dyn Error>> {
        let mut nanoseconds = 0;
        for task in std::fs::read_dir(format!("{}/task", self.folder))? {
            // A thread may end in the meantime.
            let schedule = std::fs::read_to_string(task?.path().join("schedstat"));
            let running = schedule.ok().and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
            nanoseconds += running.unwrap_or_default();
        }
        let stat = std::fs::read_to_string(format!("{}/stat", self.folder))?;
        // The name, in parentheses, may contain spaces. utime is the 12th field after it, stime the 13th.
        let (_, fields) = stat.rsplit_once(')').ok_or("the format of /proc/PID/stat is unknown")?;
        let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_nanos(nanoseconds).max(Duration::from_millis(ticks * 10)))
    }
}
