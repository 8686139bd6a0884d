//! A share of a processor, as Lambda gives it to a function: the kernel's own quota for a group of processes.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use dropship::config::ONE_VCPU_MIB;

/// The period in which a group may use its share, in microseconds. It is the kernel's default (kernel documentation, "CFS
/// Bandwidth Control").
const PERIOD_US: f64 = 100_000.0;

const ROOT: &str = "/sys/fs/cgroup";

/// Returns the share of a processor that a function with this memory has.
pub fn share_of(memory_mib: u64) -> f64 {
    memory_mib as f64 / ONE_VCPU_MIB as f64
}

/// A control group with a quota, which ends with the value.
pub struct Group {
    folder: PathBuf,
}

impl Group {
    /// Creates a group.
    ///
    /// # Errors
    /// If this kernel has no such quota, or the user may not set one.
    pub fn with_share(share: f64) -> Result<Self, Box<dyn Error>> {
        let name = format!("dropship-bench-{}-{}", std::process::id(), fastrand::u32(..));
        let quota_us = (share * PERIOD_US).round();
        let create = || -> std::io::Result<Self> {
            let root = Path::new(ROOT);
            if root.join("cgroup.controllers").exists() {
                let controllers = root.join("cgroup.subtree_control");
                if !fs::read_to_string(&controllers)?.split_whitespace().any(|controller| controller == "cpu") {
                    set(&controllers, "+cpu")?;
                }
                let group = Self::at(root.join(name))?;
                set(&group.folder.join("cpu.max"), &format!("{quota_us} {PERIOD_US}"))?;
                Ok(group)
            } else {
                let group = Self::at(root.join("cpu").join(name))?;
                set(&group.folder.join("cpu.cfs_period_us"), &PERIOD_US.to_string())?;
                set(&group.folder.join("cpu.cfs_quota_us"), &quota_us.to_string())?;
                Ok(group)
            }
        };
        create().map_err(|error| {
            format!("the kernel gives no quota: {error}; --processor needs root, and the controller `cpu` in {ROOT}")
                .into()
        })
    }

    fn at(folder: PathBuf) -> std::io::Result<Self> {
        fs::create_dir(&folder)?;
        Ok(Self { folder })
    }

    /// Returns the file that takes the ids of the group's processes.
    pub fn processes(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // An empty group that stays costs nothing.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Writes to a file of the kernel. It must exist: a new one would be an ordinary file, without effect.
fn set(file: &Path, value: &str) -> std::io::Result<()> {
    fs::OpenOptions::new().write(true).open(file)?.write_all(value.as_bytes())
}
