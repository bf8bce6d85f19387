use super::*;

/// A store with the meter's hook, as wasmtime would run it.
struct Guest {
    meter: FuelMeter,
    fuel: u64,
    slice_left: u64,
    slice: u64,
}

impl Guest {
    fn begin(meter: FuelMeter) -> Option<Guest> {
        let mut guest = Guest { meter, fuel: STORE_FUEL, slice_left: 0, slice: 0 };
        guest.again().then_some(guest)
    }

    /// The next request of a kept instance.
    fn again(&mut self) -> bool {
        self.fuel = STORE_FUEL;
        match self.meter.begin() {
            Crossing::Slice(slice) => {
                (self.slice, self.slice_left) = (slice, slice);
                true
            }
            Crossing::Go | Crossing::Out => false,
        }
    }

    /// Executes so many instructions; false where its budget ended it.
    fn work(&mut self, mut instructions: u64) -> bool {
        while instructions >= self.slice_left {
            instructions -= self.slice_left;
            self.fuel -= self.slice_left;
            match self.meter.cross(self.fuel) {
                Crossing::Go => {}
                Crossing::Slice(slice) => self.slice = slice,
                Crossing::Out => return false,
            }
            self.slice_left = self.slice;
        }
        self.fuel -= instructions;
        self.slice_left -= instructions;
        true
    }

    fn call_host(&mut self) -> bool {
        self.meter.cross(self.fuel) != Crossing::Out
    }
}

fn budget(instructions: u64) -> Option<Arc<Budget>> {
    Some(Arc::new(Budget::new(instructions)))
}

#[test]
fn counts_every_instruction_and_each_host_call_the_same() {
    let used = Arc::new(AtomicU64::new(0));
    let mut guest = Guest::begin(FuelMeter::new(used.clone(), None, None)).unwrap();
    assert!(guest.work(SLICE / 2) && guest.call_host() && guest.work(5 * SLICE) && guest.call_host());
    assert!(guest.work(7));
    guest.meter.settle(guest.fuel);
    assert_eq!(used.load(Ordering::Relaxed), SLICE / 2 + 5 * SLICE + 7 + 2 * HOST_CALL);
    assert_eq!(guest.meter.total(), used.load(Ordering::Relaxed));
    assert!(guest.again() && guest.work(3));
    drop(guest.meter);
}

#[test]
fn a_budget_ends_at_its_last_instruction() {
    for instructions in [1, SLICE - 1, SLICE, SLICE + 1, 10 * SLICE + 17] {
        let used = Arc::new(AtomicU64::new(0));
        for (of_task, of_request) in [(Some(instructions), None), (None, Some(instructions))] {
            used.store(0, Ordering::Relaxed);
            let of_task = of_task.and_then(budget);
            let meter = FuelMeter::new(used.clone(), of_task.clone(), of_request);
            let mut guest = Guest::begin(meter).unwrap();
            assert!(guest.work(instructions - 1));
            assert!(!guest.work(1));
            guest.meter.settle(guest.fuel);
            assert_eq!(used.load(Ordering::Relaxed), instructions);
            assert!(of_task.is_none_or(|budget| budget.is_exhausted()));
        }
    }
}

#[test]
fn host_calls_alone_use_a_budget_up() {
    let mut guest = Guest::begin(FuelMeter::new(Arc::default(), None, Some(100 * HOST_CALL))).unwrap();
    assert_eq!((0..1000).take_while(|_| guest.call_host()).count(), 99);
}

#[test]
fn after_host_calls_the_end_is_at_most_a_slice_late() {
    let budget = 3 * SLICE / 2;
    let used = Arc::new(AtomicU64::new(0));
    let mut guest = Guest::begin(FuelMeter::new(used.clone(), None, Some(budget))).unwrap();
    for _ in 0..400 {
        assert!(guest.call_host());
    }
    while guest.work(1000) {}
    guest.meter.settle(guest.fuel);
    let used = used.load(Ordering::Relaxed);
    assert!(used >= budget && used <= budget + SLICE, "{used}");
}

#[test]
fn instances_share_a_tasks_budget_within_a_slice_each() {
    const INSTANCES: u64 = 4;
    let instructions = 50 * SLICE + 123;
    let (used, budget) = (Arc::new(AtomicU64::new(0)), budget(instructions));
    let meter = || FuelMeter::new(used.clone(), budget.clone(), None);
    let mut guests: Vec<_> = (0..INSTANCES).map(|_| Guest::begin(meter()).unwrap()).collect();
    // Each at another speed, until the first meets the end.
    while (1..).zip(&mut guests).all(|(speed, guest)| guest.work(speed * 70_001)) {}
    assert!(budget.as_ref().is_some_and(|budget| budget.is_exhausted()));
    for guest in &mut guests {
        guest.meter.settle(guest.fuel);
    }
    let used = used.load(Ordering::Relaxed);
    assert!(used <= instructions && used >= instructions - (INSTANCES - 1) * SLICE, "{used}");
}

#[test]
fn what_an_instance_leaves_is_there_for_the_next() {
    let budget = budget(SLICE);
    for _ in 0..10 {
        let mut guest = Guest::begin(FuelMeter::new(Arc::default(), budget.clone(), None)).unwrap();
        assert!(guest.work(SLICE / 10 - 1));
        guest.meter.settle(guest.fuel);
    }
    let mut guest = Guest::begin(FuelMeter::new(Arc::default(), budget.clone(), None)).unwrap();
    assert!(guest.work(9) && !guest.work(1));
    assert!(Guest::begin(FuelMeter::new(Arc::default(), budget, None)).is_none());
}

#[test]
fn a_bulk_operation_is_charged_whole() {
    let (used, budget) = (Arc::new(AtomicU64::new(0)), budget(10 * SLICE));
    let mut meter = FuelMeter::new(used.clone(), budget, None);
    meter.begin();
    // One instruction that counts as eight slices: wasmtime asks at its end only.
    assert_eq!(meter.cross(STORE_FUEL - 8 * SLICE), Crossing::Go);
    assert_eq!(meter.cross(STORE_FUEL - 10 * SLICE), Crossing::Out);
    drop(meter);
    assert_eq!(used.load(Ordering::Relaxed), 10 * SLICE);
}
