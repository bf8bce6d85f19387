//! Memory that is not the task's, or not any more.

use std::hint::black_box;

use wasip2::random::random;

use crate::report::Report;

const MIB_BYTES: usize = 1 << 20;
const PAGE_BYTES: usize = 64 << 10;

/// What one tenant leaves and another one looks for.
const STAIN: u8 = 0xa5;

/// All that a 32-bit memory can be, in one step, then in smaller ones. Being refused is the program's end, so nothing is
/// printed after the first.
pub fn grow_at_once(report: &mut Report) {
    println!("begun");
    for pages in [65_000, 32_000, 16_000] {
        if grow(pages).is_some() {
            return report.breach(&format!("{pages} pages at once"));
        }
    }
    report.held("grow", "refused in wasm's own way");
}

#[cfg(target_arch = "wasm32")]
fn grow(pages: usize) -> Option<*mut u8> {
    let before = core::arch::wasm32::memory_grow(0, pages);
    (before != usize::MAX).then(|| (before * PAGE_BYTES) as *mut u8)
}

#[cfg(not(target_arch = "wasm32"))]
fn grow(_: usize) -> Option<*mut u8> {
    None
}

/// Fills memory with what `search` looks for.
pub fn stain(mib: usize) {
    let mut memory = vec![0u8; mib * MIB_BYTES];
    memory.fill(black_box(STAIN));
    black_box(&memory);
    println!("stained {mib} MiB");
}

/// Looks at memory that nobody wrote to yet.
pub fn search(report: &mut Report, mib: usize) {
    let pages = mib * MIB_BYTES / PAGE_BYTES;
    let Some(start) = grow(pages) else { return report.held("search", "no memory to look at") };
    // SAFETY: memory.grow just gave these pages to this program, and nobody else knows of them.
    let fresh = unsafe { std::slice::from_raw_parts(start, pages * PAGE_BYTES) };
    match fresh.iter().filter(|byte| **byte != 0).count() {
        0 => report.held("search", format!("{mib} fresh MiB are zero")),
        found => report.breach(&format!("{found} bytes of another tenant")),
    }
}

/// One call that wants the host to make so many bytes.
pub fn random(bytes: u64) {
    println!("begun");
    println!("BREACH {} random bytes", random::get_random_bytes(bytes).len());
}
