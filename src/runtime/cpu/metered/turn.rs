//! How long one guest goes on without a trip through the executor, and who pays for the trip.
//!
//! tokio puts a task that yields at the end of its queue and wakes another worker for it. Between two slices of 0.1 ms that
//! costs a tenth of a core in system calls, which no guest gets and no guest pays: a task with a whole core got 0.88 of it. So
//! on the threads of the guests, where nobody else wants the permit, the guest is polled again in place, for up to
//! [`TURN_MAX_NS`]; and the trip after that is charged to the guest for which it was made.

use std::cell::Cell;

use super::WaiterId;

/// The longest turn: what a thread's sockets and timers may wait for where all threads have spinning guests. A trip through
/// the executor takes some 10 us, so 1 % of it.
const TURN_MAX_NS: u64 = 1_000_000;
/// A shorter slice ended for another reason than fuel: the guest's host code may have yielded to the executor, and only a
/// trip there lets it go on.
const SLICE_MIN_NS: u64 = 20_000;
/// The most that a trip is charged. Whatever else a thread does in between is not the guest's affair.
const TRIP_MAX_NS: u64 = 30_000;

thread_local! {
    static FOR_GUESTS: Cell<bool> = const { Cell::new(false) };
    /// Who was polled last on this thread, and the thread's CPU time at its end.
    static LAST: Cell<Option<(WaiterId, u64)>> = const { Cell::new(None) };
}

/// Says that this thread serves guests only, so that one may go on here while no other wants to.
pub fn this_thread_is_for_guests() {
    FOR_GUESTS.set(true);
}

/// One stay of a guest on a thread.
pub(super) struct Turn {
    id: WaiterId,
    for_guests: bool,
    begun_ns: u64,
    charged_to_ns: u64,
}

impl Turn {
    pub fn begin(id: WaiterId, thread_cpu_ns: u64) -> Turn {
        let for_guests = FOR_GUESTS.get();
        let trip_from_ns = LAST
            .take()
            .filter(|(last, at_ns)| for_guests && *last == id && thread_cpu_ns.saturating_sub(*at_ns) <= TRIP_MAX_NS);
        let charged_to_ns = trip_from_ns.map_or(thread_cpu_ns, |(_, at_ns)| at_ns);
        Turn { id, for_guests, begun_ns: thread_cpu_ns, charged_to_ns }
    }

    /// A slice is over: what it costs, what led to it included.
    pub fn slice(&mut self, thread_cpu_ns: u64) -> u64 {
        let cpu_ns = thread_cpu_ns.saturating_sub(self.charged_to_ns);
        self.charged_to_ns = thread_cpu_ns;
        cpu_ns
    }

    /// Whether it may go on in place, should nobody else want to.
    pub fn may_go_on(&self, slice_ns: u64) -> bool {
        self.for_guests && slice_ns >= SLICE_MIN_NS && self.charged_to_ns.saturating_sub(self.begun_ns) < TURN_MAX_NS
    }

    pub fn end(self) {
        LAST.set(Some((self.id, self.charged_to_ns)));
    }
}
