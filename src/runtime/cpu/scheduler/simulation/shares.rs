//! What everybody gets over five simulated seconds.

use super::*;

const SECONDS_5: u64 = 5_000 * MS;

/// What tasks that always want everything get of the cores: by weight, but nobody more than the cap; the rest goes round.
fn fair_ns(cores: u32, shares: &[(u32, Option<u32>)]) -> Vec<f64> {
    let wall_ns = SECONDS_5 as f64;
    let mut fair = vec![None; shares.len()];
    loop {
        let open: Vec<usize> = (0..shares.len()).filter(|n| fair[*n].is_none()).collect();
        let left_ns = f64::from(cores) * wall_ns - fair.iter().flatten().sum::<f64>();
        let weight: f64 = open.iter().map(|n| f64::from(shares[*n].0)).sum();
        let part = |n: usize| left_ns * f64::from(shares[n].0) / weight;
        let cap = |n: usize| shares[n].1.map_or(f64::MAX, |units| f64::from(units) / 1024.0 * wall_ns);
        let full: Vec<usize> = open.iter().copied().filter(|n| cap(*n) <= part(*n)).collect();
        if full.is_empty() {
            open.iter().for_each(|n| fair[*n] = Some(part(*n)));
            return fair.into_iter().flatten().collect();
        }
        full.iter().for_each(|n| fair[*n] = Some(cap(*n)));
    }
}

/// Runs tasks that spin on all cores; what each got, in nanoseconds.
fn spin_all(cores: u32, shares: &[(u32, Option<u32>)], salt: u64) -> Vec<f64> {
    let mut it = Simulation::new(cores, Random::seeded(salt));
    let tasks: Vec<_> = shares
        .iter()
        .map(|&(weight, cap_units)| {
            let task = it.task(weight, cap_units);
            it.container(task, 2, &vec![SPIN; cores as usize]);
            task
        })
        .collect();
    it.run(SECONDS_5);
    tasks.iter().map(|task| it.used_ns(*task) as f64).collect()
}

/// Jain's index: 1 where all are equal, 1/n where one has everything.
pub(super) fn jain(parts: &[f64]) -> f64 {
    let sum: f64 = parts.iter().sum();
    sum * sum / (parts.len() as f64 * parts.iter().map(|part| part * part).sum::<f64>())
}

#[track_caller]
fn check(cores: u32, shares: &[(u32, Option<u32>)], within: f64, salt: u64) {
    let got = spin_all(cores, shares, salt);
    let fair = fair_ns(cores, shares);
    for (n, (got, fair)) in got.iter().zip(&fair).enumerate() {
        assert!((got / fair - 1.0).abs() <= within, "task {n} of {shares:?} on {cores}: {got} ns, fair are {fair}");
        if let Some(units) = shares[n].1 {
            let cap_ns = f64::from(units) / 1024.0 * SECONDS_5 as f64;
            assert!(*got <= cap_ns * 1.01, "task {n} of {shares:?} on {cores}: {got} ns, the cap is {cap_ns}");
        }
    }
}

#[test]
fn in_proportion_to_weight_when_cores_are_short() {
    check(1, &[(1024, None), (2048, None)], 0.02, 1);
    check(1, &[(1024, Some(1024)), (2048, Some(2048))], 0.02, 2);
    check(2, &[(256, None), (512, None), (1024, None), (2048, None)], 0.02, 3);
}

#[test]
fn a_cap_holds_while_cores_are_idle() {
    check(4, &[(256, Some(256)), (512, Some(512)), (1024, Some(1024))], 0.01, 4);
    check(2, &[(64, Some(64)), (1536, Some(1536))], 0.01, 5);
}

#[test]
fn four_quarters_are_one_core() {
    check(1, &[(256, Some(256)); 4], 0.01, 6);
    assert!(jain(&spin_all(1, &[(256, Some(256)); 4], 7)) > 0.999);
}

#[test]
fn equals_are_equal() {
    for (salt, (cores, tasks)) in [(1, 16), (2, 7), (4, 13)].into_iter().enumerate() {
        assert!(jain(&spin_all(cores, &vec![(512, None); tasks], 10 + salt as u64)) > 0.999);
    }
}

#[test]
fn random_mixes_get_what_is_fair() {
    for salt in 20..28 {
        let mut random = Random::seeded(salt);
        let cores = random.between(1, 4) as u32;
        let shares: Vec<_> = (0..random.between(1, 8))
            .map(|_| (256 << random.below(4), random.below(2) == 0))
            .map(|(weight, capped)| (weight, capped.then_some(weight)))
            .collect();
        check(cores, &shares, 0.05, salt);
    }
}

#[test]
fn a_container_uses_what_its_neighbours_leave_and_no_more_when_they_want_it() {
    let mut it = Simulation::new(1, Random::seeded(40));
    let task = it.task(1024, Some(1024));
    let other = it.task(1024, Some(1024));
    let busy = it.container(task, 100, &[SPIN; 5]);
    it.container(other, 100, &[SPIN]);
    it.run(SECONDS_5);
    let alone_ns = it.scheduler.container_usage(it.now_ns, busy).charged_ns as f64;
    assert!((alone_ns / (SECONDS_5 as f64 / 2.0) - 1.0).abs() < 0.02, "{alone_ns}");
    let neighbour = it.container(task, 300, &[SPIN]);
    it.run(2 * SECONDS_5);
    let used_ns = it.scheduler.container_usage(it.now_ns, neighbour).charged_ns as f64;
    assert!((used_ns / (SECONDS_5 as f64 * 0.375) - 1.0).abs() < 0.02, "{used_ns}");
}

#[test]
fn who_sleeps_between_short_bursts_is_served_beside_spinners() {
    let mut it = Simulation::new(1, Random::seeded(41));
    for _ in 0..3 {
        let task = it.task(1024, None);
        it.container(task, 2, &[SPIN]);
    }
    let task = it.task(1024, None);
    // 2 % of a core, far less than its quarter: it should get all that it asks for, in good time.
    it.container(task, 2, &[Habit { work_ns: 200 * US, sleep_ns: 10 * MS }]);
    it.run(SECONDS_5);
    let guest = it.guests.last().unwrap();
    assert!(guest.longest_wait_ns <= 4 * SLICE_MAX_NS, "{} ns", guest.longest_wait_ns);
    assert!(it.used_ns(task) as f64 >= 0.015 * SECONDS_5 as f64);
}
