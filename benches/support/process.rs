//! What a process used, as Linux counts it.

use std::fs;

/// Clock ticks a second in `/proc`, which Linux fixes for user space.
pub const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time of a process and of its children that live.
pub fn cpu_seconds(process: u32) -> f64 {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|id| id.parse().ok());
    own_cpu_seconds(process) + children.map(own_cpu_seconds).sum::<f64>()
}

fn own_cpu_seconds(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything; user and system time are the 12th and 13th field after it.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}

/// Memory of a process that is in use now, in bytes.
pub fn resident_bytes(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(f64::NAN) * 1024.0
}

/// What else the machine does: figures from a busy one say little.
pub fn load_average() -> String {
    fs::read_to_string("/proc/loadavg").map_or_else(|_| String::from("unknown"), |text| text.trim().to_owned())
}
