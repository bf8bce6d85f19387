//! Counts the WebAssembly instructions of guests, charges their host calls, and holds both against budgets.
//!
//! wasmtime counts instructions in its *fuel*, and calls us at every crossing from a guest into the host: at a host call, and
//! where a slice of [`SLICE`] instructions ends. Between two crossings only instructions are used up, so what was used is
//! known exactly at each of them, with no cost to the instructions themselves. The store's own fuel never runs out: a budget
//! is held here.
//!
//! **The budget of a request** ends it at its last instruction, or at the host call that would go beyond it. Only where
//! host calls were made in the last slice may the end be noticed at the end of that slice: at most [`SLICE`] late.
//!
//! **The budget of a task** is leased to its instances, a slice ahead of what they use, and what they do not use comes back.
//! So with one instance at a time it is as exact as that of a request; with n at once, the task may end while the others
//! still hold what they leased: at most n − 1 slices early, and never more than a slice for each instance late.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;
use tokio_util::sync::WaitForCancellationFuture;

/// Instructions from one look at the budget to the next. It is also what ends a poll: 0.1 to 0.45 ms of work, at 1 % of
/// overhead (measured: a tenth of it costs 11 %, ten times as much delays others by milliseconds).
pub const SLICE: u64 = 1_000_000;
/// What a crossing into the host costs beyond the instructions around it: a host call, the growth of a memory or a table, an
/// allocation of the garbage collector. They take 0.1 to 0.5 us, in which a guest executes some 1,000 instructions.
pub const HOST_CALL: u64 = 1_000;
/// What a store is filled with: nobody lives to see the end of it.
pub const STORE_FUEL: u64 = u64::MAX;

/// The instruction budget of a task.
#[derive(Debug)]
pub struct Budget {
    left: AtomicU64,
    exhausted: CancellationToken,
}

impl Budget {
    pub fn new(instructions: u64) -> Budget {
        Budget { left: AtomicU64::new(instructions), exhausted: CancellationToken::new() }
    }

    /// As much of what is wanted as there is.
    fn take(&self, wanted: u64) -> u64 {
        let taken = |left: u64| Some(left.saturating_sub(wanted));
        let before = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).unwrap_or(0);
        before.min(wanted)
    }

    fn give_back(&self, unused: u64) {
        self.left.fetch_add(unused, Ordering::Relaxed);
    }

    /// Resolves when a guest of the task needed more than was left: then the task is over.
    pub fn exhausted(&self) -> WaitForCancellationFuture<'_> {
        self.exhausted.cancelled()
    }

    pub fn is_exhausted(&self) -> bool {
        self.exhausted.is_cancelled()
    }
}

/// What a crossing leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    Go,
    /// The slice that begins now is to be so long.
    Slice(u64),
    /// A budget is used up.
    Out,
}

/// Counts for one instance.
#[derive(Debug)]
pub struct FuelMeter {
    /// The container's count.
    used: Arc<AtomicU64>,
    budget: Option<Arc<Budget>>,
    request: Option<u64>,
    /// Left of `request`; `u64::MAX` where there is none.
    request_left: u64,
    /// Taken from the budget and not used; `u64::MAX` where there is none.
    leased: u64,
    /// The store's fuel at the last crossing, and where its slice ends.
    seen: u64,
    slice_ends: u64,
    slice: u64,
    /// Used by this instance in all, and what of it `used` does not have yet.
    total: u64,
    unreported: u64,
}

impl FuelMeter {
    pub fn new(used: Arc<AtomicU64>, budget: Option<Arc<Budget>>, request: Option<u64>) -> FuelMeter {
        let leased = if budget.is_some() { 0 } else { u64::MAX };
        FuelMeter {
            used,
            budget,
            request,
            request_left: 0,
            leased,
            seen: STORE_FUEL,
            slice_ends: 0,
            slice: 0,
            total: 0,
            unreported: 0,
        }
    }

    /// A run or a request begins, in a store that was filled to [`STORE_FUEL`]: how long its first slice is.
    pub fn begin(&mut self) -> Crossing {
        self.request_left = self.request.unwrap_or(u64::MAX);
        self.seen = STORE_FUEL;
        self.lease();
        match self.next_slice() {
            0 => self.out(),
            slice => {
                self.slice_ends = STORE_FUEL - slice;
                self.slice = slice;
                Crossing::Slice(slice)
            }
        }
    }

    /// The guest calls the host, or its slice has ended; `fuel` is what its store has left.
    pub fn cross(&mut self, fuel: u64) -> Crossing {
        let instructions = self.seen.saturating_sub(fuel);
        self.seen = fuel;
        let slice_ended = fuel <= self.slice_ends;
        // The end of a slice is our affair, not the guest's.
        self.spend(if slice_ended { instructions } else { instructions.saturating_add(HOST_CALL) });
        let next = self.next_slice();
        if next == 0 {
            return self.out();
        }
        if !slice_ended {
            // The store's fuel may be set only at the end of a slice: elsewhere compiled code may have it in a register.
            return Crossing::Go;
        }
        self.report();
        self.slice_ends = fuel.saturating_sub(next);
        if std::mem::replace(&mut self.slice, next) == next { Crossing::Go } else { Crossing::Slice(next) }
    }

    /// A run or a request has ended: what was used since the last crossing.
    pub fn settle(&mut self, fuel: u64) {
        let instructions = self.seen.saturating_sub(fuel);
        self.seen = fuel;
        self.spend(instructions);
        self.give_back();
        self.report();
    }

    /// Used by this instance.
    pub fn total(&self) -> u64 {
        self.total
    }

    fn next_slice(&self) -> u64 {
        SLICE.min(self.request_left).min(self.leased)
    }

    fn spend(&mut self, spent: u64) {
        self.total = self.total.saturating_add(spent);
        self.unreported = self.unreported.saturating_add(spent);
        if self.unreported >= SLICE {
            self.report();
        }
        if self.request.is_some() {
            self.request_left = self.request_left.saturating_sub(spent);
        }
        if let Some(budget) = &self.budget {
            // One bulk operation may use more than was leased ahead.
            budget.take(spent.saturating_sub(self.leased));
            self.leased = self.leased.saturating_sub(spent);
            self.lease();
        }
    }

    fn lease(&mut self) {
        if let Some(budget) = &self.budget {
            self.leased += budget.take(SLICE.saturating_sub(self.leased));
        }
    }

    fn give_back(&mut self) {
        if let Some(budget) = &self.budget {
            budget.give_back(std::mem::take(&mut self.leased));
        }
    }

    fn report(&mut self) {
        self.used.fetch_add(std::mem::take(&mut self.unreported), Ordering::Relaxed);
    }

    fn out(&mut self) -> Crossing {
        if let Some(budget) = self.budget.as_ref().filter(|_| self.leased == 0) {
            budget.exhausted.cancel();
        }
        Crossing::Out
    }
}

impl Drop for FuelMeter {
    /// A guest that was cut off between two crossings used at most a slice more than is counted.
    fn drop(&mut self) {
        self.give_back();
        self.report();
    }
}

#[cfg(test)]
mod tests;
