//! Hours of contention in a moment: guests that spin, work in bursts or mostly sleep, on simulated cores, from a seed that
//! is printed (`CORACLE_SEED` runs another one). What must hold at every step is checked at every step.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

mod mixes;
mod shares;

const US: u64 = 1_000;
const MS: u64 = 1_000_000;
/// The longest slice that is simulated; a million units of fuel took at most 0.45 ms.
const SLICE_MAX_NS: u64 = 500 * US;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn seeded(salt: u64) -> Self {
        let seed = std::env::var("CORACLE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(48);
        println!("CORACLE_SEED={seed} salt={salt}");
        Self(seed ^ (salt << 32))
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }
}

/// A guest works for so long, sleeps for so long, and so on. One that never sleeps spins.
#[derive(Clone, Copy, Debug)]
struct Habit {
    work_ns: u64,
    sleep_ns: u64,
}

const SPIN: Habit = Habit { work_ns: u64::MAX, sleep_ns: 0 };

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Wake(usize),
    /// The executor polls the guest.
    Come(usize),
    PollEnds {
        guest: usize,
        cpu_ns: u64,
    },
    Timer,
}

struct Guest {
    id: WaiterId,
    habit: Habit,
    left_ns: u64,
    wants_since_ns: Option<u64>,
    longest_wait_ns: u64,
}

struct Simulation {
    scheduler: Scheduler<usize>,
    random: Random,
    now_ns: u64,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    guests: Vec<Guest>,
    running: u32,
    /// Of a thousand offers, so many are taken up too late.
    late_per_mille: u64,
}

impl Simulation {
    fn new(cores: u32, random: Random) -> Self {
        let (events, guests) = (BinaryHeap::new(), Vec::new());
        Self { scheduler: Scheduler::new(cores), random, now_ns: 0, events, guests, running: 0, late_per_mille: 0 }
    }

    fn task(&mut self, weight: u32, cap_units: Option<u32>) -> TaskKey {
        self.scheduler.register_task(self.now_ns, TaskShare { weight, cap_units })
    }

    fn container(&mut self, task: TaskKey, weight: u32, habits: &[Habit]) -> ContainerKey {
        let key = self.scheduler.register_container(task, weight).unwrap();
        for &habit in habits {
            let guest = self.guests.len();
            let id = self.scheduler.register_waiter(key, guest).unwrap();
            let (left_ns, wants_since_ns) = (habit.work_ns, None);
            self.guests.push(Guest { id, habit, left_ns, wants_since_ns, longest_wait_ns: 0 });
            let at_ns = self.now_ns + self.random.below(MS);
            self.events.push(Reverse((at_ns, Event::Wake(guest))));
        }
        key
    }

    fn run(&mut self, until_ns: u64) {
        while let Some(&Reverse((at_ns, event))) = self.events.peek()
            && at_ns <= until_ns
        {
            self.events.pop();
            self.now_ns = at_ns;
            self.step(event);
            self.offer();
            self.check();
        }
        self.now_ns = until_ns;
    }

    fn step(&mut self, event: Event) {
        let now_ns = self.now_ns;
        match event {
            Event::Wake(n) => {
                self.guests[n].wants_since_ns.get_or_insert(now_ns);
                self.scheduler.want(now_ns, self.guests[n].id);
            }
            Event::Come(n) => {
                let guest = &mut self.guests[n];
                if self.scheduler.begin(now_ns, guest.id) != Decision::Run {
                    return;
                }
                let waited_ns = now_ns - guest.wants_since_ns.take().expect("only who wants is granted a permit");
                guest.longest_wait_ns = guest.longest_wait_ns.max(waited_ns);
                let cpu_ns = self.random.between(SLICE_MAX_NS / 10, SLICE_MAX_NS).min(guest.left_ns);
                self.running += 1;
                self.events.push(Reverse((now_ns + cpu_ns, Event::PollEnds { guest: n, cpu_ns })));
            }
            Event::PollEnds { guest: n, cpu_ns } => {
                self.running -= 1;
                let guest = &mut self.guests[n];
                if guest.habit.sleep_ns == 0 {
                    guest.left_ns = u64::MAX;
                } else {
                    guest.left_ns -= cpu_ns;
                }
                if guest.left_ns > 0 {
                    guest.wants_since_ns = Some(now_ns);
                    self.scheduler.want(now_ns, guest.id);
                } else {
                    guest.left_ns = guest.habit.work_ns;
                    self.events.push(Reverse((now_ns + guest.habit.sleep_ns, Event::Wake(n))));
                }
                self.scheduler.finish(now_ns, guest.id, cpu_ns);
            }
            Event::Timer => self.scheduler.expire(now_ns),
        }
    }

    /// What the executor and the timer do with what the scheduler said.
    fn offer(&mut self) {
        while let Some(id) = self.scheduler.take_granted() {
            let guest = *self.scheduler.payload_mut(id).unwrap();
            let late = self.random.below(1000) < self.late_per_mille;
            let delay_ns = if late { OFFER_NS + self.random.below(MS) } else { self.random.below(3 * US) };
            self.events.push(Reverse((self.now_ns + delay_ns, Event::Come(guest))));
        }
        if let Some(at_ns) = self.scheduler.next_timer_ns() {
            // The timer counts in milliseconds. It may ring for nothing.
            let at_ns = at_ns.next_multiple_of(MS).max(self.now_ns + 1);
            if !self.events.iter().any(|Reverse((set_ns, event))| *event == Event::Timer && *set_ns <= at_ns) {
                self.events.push(Reverse((at_ns, Event::Timer)));
            }
        }
    }

    fn check(&self) {
        let it = &self.scheduler;
        assert!(self.running <= it.permits_used && it.permits_used <= it.cores, "more permits than cores");
        assert!(it.permits_used == it.cores || it.ready.is_empty(), "a core is idle while someone waits");
        assert_eq!(it.permits_used - self.running, it.offers.len() as u32, "a permit was lost");
    }

    fn used_ns(&self, task: TaskKey) -> u64 {
        self.scheduler.task_usage(self.now_ns, task).charged_ns
    }
}

fn habit(random: &mut Random) -> Habit {
    match random.below(3) {
        0 => SPIN,
        1 => Habit { work_ns: random.between(100 * US, 10 * MS), sleep_ns: random.between(100 * US, 10 * MS) },
        _ => Habit { work_ns: random.between(1, 200 * US), sleep_ns: random.between(5 * MS, 50 * MS) },
    }
}

#[test]
fn nobody_starves_in_thousands_of_mixes() {
    let mut bounds_reached = 0;
    for mix in 0..2_000 {
        let mut random = Random::seeded(mix);
        let cores = random.between(1, 4) as u32;
        let mut it = Simulation::new(cores, random);
        it.late_per_mille = it.random.below(3) * 5;
        let weights: Vec<u32> = (0..it.random.between(1, 16)).map(|_| 256 << it.random.below(3)).collect();
        let mut tasks = Vec::new();
        for &weight in &weights {
            let capped = it.random.below(2) == 0;
            let task = it.task(weight, capped.then_some(weight));
            let first = it.guests.len();
            for _ in 0..it.random.between(1, 2) {
                let habits: Vec<_> = (0..it.random.between(1, 3)).map(|_| habit(&mut it.random)).collect();
                it.container(task, 100, &habits);
            }
            tasks.push((task, weight, first..it.guests.len()));
        }
        let end_ns = 60 * MS;
        it.run(end_ns);
        let total: u32 = weights.iter().sum();
        let late_ns = if it.late_per_mille == 0 { 2 * MS } else { 6 * (OFFER_NS + MS) };
        for (task, weight, guests) in tasks {
            let usage = it.scheduler.task_usage(end_ns, task);
            let instances = guests.len() as u64;
            // Its own turns among all the weight there is, with the cap's pauses, and the lateness of others.
            let turns = u64::from(total.div_ceil(weight)) + weights.len() as u64 + it.guests.len() as u64;
            let bound_ns = SLICE_MAX_NS * turns * instances + usage.throttled_ns + late_ns;
            bounds_reached += u32::from(bound_ns < end_ns);
            for guest in &it.guests[guests] {
                let waits_ns = guest.wants_since_ns.map_or(0, |since_ns| end_ns - since_ns);
                let longest_ns = guest.longest_wait_ns.max(waits_ns);
                assert!(longest_ns <= bound_ns, "mix {mix}: waited {longest_ns} ns, the bound is {bound_ns} ns");
            }
        }
    }
    // Else the mixes would end before anyone could have waited for too long.
    assert!(bounds_reached > 2_000, "{bounds_reached}");
}
