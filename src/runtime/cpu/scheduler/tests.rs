use super::*;

const MS: u64 = 1_000_000;

fn scheduler(cores: u32) -> Scheduler<()> {
    Scheduler::new(cores)
}

fn waiter(it: &mut Scheduler<()>, weight: u32, cap_units: Option<u32>) -> (TaskKey, WaiterId) {
    let task = it.register_task(0, TaskShare { weight, cap_units });
    let container = it.register_container(task, 2).unwrap();
    (task, it.register_waiter(container, ()).unwrap())
}

#[test]
fn a_free_permit_is_given_at_once_and_only_to_those_who_want_it() {
    let mut it = scheduler(1);
    let (task, id) = waiter(&mut it, 1024, None);
    assert_eq!(it.begin(0, id), Decision::Asleep);
    it.want(0, id);
    it.want(0, id);
    assert_eq!((it.take_granted(), it.take_granted()), (Some(id), None));
    assert_eq!(it.begin(0, id), Decision::Run);
    it.finish(MS, id, MS);
    assert_eq!((it.permits_used(), it.take_granted()), (0, None));
    assert_eq!(it.task_usage(MS, task), CpuUsage { charged_ns: MS, polls: 1, ..CpuUsage::default() });
}

#[test]
fn who_was_polled_at_once_is_not_woken_for_it() {
    let mut it = scheduler(1);
    let (_, id) = waiter(&mut it, 1024, None);
    it.want(0, id);
    assert_eq!(it.begin(0, id), Decision::Run);
    assert_eq!(it.take_granted(), None);
}

#[test]
fn a_wake_while_it_runs_is_a_place_in_the_queue() {
    let mut it = scheduler(1);
    let (_, id) = waiter(&mut it, 1024, None);
    it.want(0, id);
    assert_eq!(it.begin(0, id), Decision::Run);
    it.want(1, id);
    it.finish(2, id, 1);
    assert_eq!(it.take_granted(), Some(id));
}

#[test]
fn the_one_that_used_less_goes_first_and_the_permit_goes_straight_to_it() {
    let mut it = scheduler(1);
    let (_, a) = waiter(&mut it, 1024, None);
    let (_, b) = waiter(&mut it, 1024, None);
    it.want(0, a);
    assert_eq!(it.begin(0, a), Decision::Run);
    it.want(0, b);
    assert_eq!(it.begin(0, b), Decision::Wait);
    it.want(0, a);
    it.finish(MS, a, MS);
    assert_eq!((it.take_granted(), it.take_granted()), (Some(b), None));
    assert_eq!((it.begin(MS, a), it.begin(MS, b)), (Decision::Wait, Decision::Run));
}

#[test]
fn sleeping_saves_up_nothing() {
    let mut it = scheduler(1);
    let (_, sleeper) = waiter(&mut it, 1024, None);
    let (_, spinner) = waiter(&mut it, 1024, None);
    it.want(0, spinner);
    for now_ms in 0..1000 {
        assert_eq!(it.begin(now_ms * MS, spinner), Decision::Run);
        it.want(now_ms * MS, spinner);
        it.finish((now_ms + 1) * MS, spinner, MS);
    }
    // From here on they take turns.
    it.want(1000 * MS, sleeper);
    let mut ran = (0, 0);
    for now_ms in 1000..1100 {
        for (id, count) in [(sleeper, &mut ran.0), (spinner, &mut ran.1)] {
            if it.begin(now_ms * MS, id) == Decision::Run {
                it.want(now_ms * MS, id);
                it.finish((now_ms + 1) * MS, id, MS);
                *count += 1;
                break;
            }
        }
    }
    assert!((49..=51).contains(&ran.0), "{ran:?}");
}

#[test]
fn a_task_over_its_cap_waits_for_the_timer_and_the_time_is_counted() {
    let mut it = scheduler(2);
    let (task, id) = waiter(&mut it, 512, Some(512));
    it.want(0, id);
    assert_eq!(it.begin(0, id), Decision::Run);
    it.want(0, id);
    // The burst is 5 ms: 1 ms of debt and 0.5 ms to go on with take 3 ms.
    it.finish(0, id, 6 * MS);
    assert_eq!(it.begin(MS, id), Decision::Throttled { until_ns: 3 * MS });
    assert_eq!((it.next_timer_ns(), it.take_granted(), it.permits_used()), (Some(3 * MS), None, 0));
    assert_eq!(it.task_usage(2 * MS, task).throttled_ns, 2 * MS);
    it.expire(3 * MS);
    assert_eq!((it.take_granted(), it.begin(3 * MS, id), it.next_timer_ns()), (Some(id), Decision::Run, None));
    let usage = it.task_usage(9 * MS, task);
    assert_eq!((usage.throttled_ns, usage.throttled_times), (3 * MS, 1));
}

#[test]
fn a_throttled_task_that_wants_nothing_needs_no_timer() {
    let mut it = scheduler(1);
    let (task, id) = waiter(&mut it, 512, Some(512));
    it.want(0, id);
    assert_eq!(it.begin(0, id), Decision::Run);
    it.finish(0, id, 100 * MS);
    assert_eq!(it.next_timer_ns(), None);
    it.want(1000 * MS, id);
    assert_eq!(it.begin(1000 * MS, id), Decision::Run);
    assert_eq!(it.task_usage(1000 * MS, task).throttled_ns, 0);
}

#[test]
fn a_permit_that_nobody_comes_for_goes_to_the_next_one_and_the_seat_is_kept() {
    let mut it = scheduler(1);
    let (_, absent) = waiter(&mut it, 1024, None);
    let (_, next) = waiter(&mut it, 1024, None);
    it.want(0, absent);
    it.want(0, next);
    assert_eq!((it.take_granted(), it.take_granted()), (Some(absent), None));
    assert_eq!(it.next_timer_ns(), Some(OFFER_NS));
    it.expire(OFFER_NS);
    assert_eq!((it.take_granted(), it.begin(OFFER_NS, next)), (Some(next), Decision::Run));
    // It used nothing yet: it is before the one that ran.
    assert_eq!(it.begin(OFFER_NS, absent), Decision::Wait);
    it.want(OFFER_NS, next);
    it.finish(OFFER_NS + MS, next, MS);
    assert_eq!(it.begin(OFFER_NS + MS, absent), Decision::Run);
}

#[test]
fn an_offer_does_not_lapse_for_nobody() {
    let mut it = scheduler(1);
    let (_, id) = waiter(&mut it, 1024, None);
    it.want(0, id);
    assert_eq!(it.next_timer_ns(), None);
    it.expire(u64::MAX / 2);
    assert_eq!(it.begin(u64::MAX / 2, id), Decision::Run);
}

#[test]
fn whoever_goes_in_whatever_state_leaves_no_permit_behind() {
    let mut it = scheduler(1);
    let (_, running) = waiter(&mut it, 1024, None);
    let (_, offered) = waiter(&mut it, 1024, None);
    let (_, queued) = waiter(&mut it, 1024, None);
    let (_, last) = waiter(&mut it, 1024, None);
    for id in [running, offered, queued, last] {
        it.want(0, id);
    }
    assert_eq!((it.take_granted(), it.begin(0, running)), (Some(running), Decision::Run));
    it.remove(0, running);
    assert_eq!(it.take_granted(), Some(offered));
    it.remove(0, queued);
    it.remove(0, offered);
    assert_eq!((it.take_granted(), it.begin(0, last)), (Some(last), Decision::Run));
    it.finish(0, last, 1);
    it.remove(0, last);
    assert_eq!((it.permits_used(), it.registered().2, it.next_timer_ns()), (0, 0, None));
    // Wakers that were kept for too long do nothing.
    it.want(1, last);
    assert_eq!((it.take_granted(), it.begin(1, last)), (None, Decision::Asleep));
}

#[test]
fn more_instances_of_a_container_get_no_more_than_one() {
    let mut it = scheduler(1);
    let task = it.register_task(0, TaskShare { weight: 1024, cap_units: None });
    let many = it.register_container(task, 10).unwrap();
    let one = it.register_container(task, 10).unwrap();
    let mut ids: Vec<_> = (0..9).map(|_| it.register_waiter(many, ()).unwrap()).collect();
    ids.push(it.register_waiter(one, ()).unwrap());
    ids.iter().for_each(|id| it.want(0, *id));
    for now_ms in 0..1000 {
        let id = it.take_granted().unwrap();
        assert_eq!(it.begin(now_ms * MS, id), Decision::Run);
        it.want(now_ms * MS, id);
        it.finish((now_ms + 1) * MS, id, MS);
    }
    let used = [many, one].map(|key| it.container_usage(0, key).charged_ns / MS);
    assert!(used[0].abs_diff(used[1]) <= 2, "{used:?}");
}

#[test]
fn what_one_instance_could_not_use_does_not_starve_others_later() {
    let mut it = scheduler(2);
    let big = it.register_task(0, TaskShare { weight: 100_000, cap_units: None });
    let container = it.register_container(big, 2).unwrap();
    let (small, other) = waiter(&mut it, 2, None);
    let (_, third) = waiter(&mut it, 2, None);
    let first = it.register_waiter(container, ()).unwrap();
    let second = it.register_waiter(container, ()).unwrap();
    [first, other, third].iter().for_each(|id| it.want(0, *id));
    let run = |it: &mut Scheduler<()>, rounds: std::ops::Range<u64>| {
        for now_ms in rounds {
            let ids: Vec<_> = std::iter::from_fn(|| it.take_granted()).collect();
            ids.iter().for_each(|id| assert_eq!(it.begin(now_ms * MS, *id), Decision::Run));
            ids.iter().for_each(|id| it.want(now_ms * MS, *id));
            ids.iter().for_each(|id| it.finish((now_ms + 1) * MS, *id, MS));
        }
    };
    run(&mut it, 0..10_000);
    assert_eq!(it.task_usage(0, big).charged_ns, 10_000 * MS);
    it.want(10_000 * MS, second);
    run(&mut it, 10_000..20_000);
    // 20 ms were owed; then the others' tiny weight counts, which is still something.
    assert!(it.task_usage(0, small).charged_ns >= 5_000 * MS, "{:?}", it.task_usage(0, small));
}
