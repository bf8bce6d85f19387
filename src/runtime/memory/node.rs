//! The node's memory as the kernel sees it, to be compared with what tasks were given.
//!
//! What a guest grew by is not what it occupies: its pages appear when it touches them. So the sum of the meters is an upper
//! bound, and what this process has of its own in memory is another.

use std::fs;

use rustix::param::page_size;

/// The memory of this node, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// What tasks may use together.
    pub budget_bytes: u64,
    /// What they were given.
    pub held_bytes: u64,
    /// What this process has in memory of its own, tasks and all.
    pub resident_bytes: u64,
}

/// What this process has in memory that is backed by no file; `u64::MAX` where that cannot be read, so that what was given
/// to tasks counts alone. Reading it takes the kernel some microseconds.
pub fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    anonymous_pages(&text).map_or(u64::MAX, |pages| pages.saturating_mul(page_size() as u64))
}

/// The second number is what is resident, the third what of it is shared or a file's.
fn anonymous_pages(statm: &str) -> Option<u64> {
    let mut numbers = statm.split_whitespace().skip(1).map(|word| word.parse::<u64>().ok());
    let (resident, shared) = (numbers.next()??, numbers.next()??);
    Some(resident.saturating_sub(shared))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_what_it_has_in_memory() {
        assert_eq!(anonymous_pages("1000 300 100 5 0 60 0\n"), Some(200));
        assert_eq!(anonymous_pages(""), None);
        let before = resident();
        let touched = vec![1u8; 64 << 20];
        let after = resident();
        assert!(before > 0 && after > before + (32 << 20), "{before} {after}");
        drop(std::hint::black_box(touched));
    }
}
