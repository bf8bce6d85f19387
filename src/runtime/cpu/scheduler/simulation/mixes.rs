//! Fairness and the longest wait over thousands of random mixes, in numbers (`cargo test … -- --nocapture` shows them).

use super::shares::jain;
use super::*;

const MIXES: u64 = 2_000;
const MIX_NS: u64 = 150 * MS;
/// Slices are up to half a millisecond long, and the smallest task of a mix has some 20 of them.
const JAIN_MIN: f64 = 0.99;

/// What one mix gave.
struct Outcome {
    /// Of what the tasks got, each by its weight: 1 where all have the same.
    jain: f64,
    longest_wait_ns: u64,
    /// The longest that a guest's own turn may be away, by all the weight there is.
    bound_ns: u64,
}

/// Tasks that always want every core, of weights between a quarter of a core and four.
fn mix(number: u64) -> Outcome {
    let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let cores = random.between(1, 4);
    let weights: Vec<u32> = (0..random.between(2, 16)).map(|_| 256 << random.below(5)).collect();
    let mut it = Simulation::new(cores as u32, random);
    let instances = vec![SPIN; cores as usize];
    let tasks: Vec<_> = weights
        .iter()
        .map(|&weight| {
            let task = it.task(weight, None);
            it.container(task, 2, &instances);
            task
        })
        .collect();
    it.run(MIX_NS);
    // Nobody can use more than all cores, and with two tasks or more nobody has that much.
    let got: Vec<f64> =
        tasks.iter().zip(&weights).map(|(task, weight)| it.used_ns(*task) as f64 / f64::from(*weight)).collect();
    let longest = |guest: &Guest| guest.longest_wait_ns.max(guest.wants_since_ns.map_or(0, |since| MIX_NS - since));
    let (total, least) = (weights.iter().sum::<u32>(), weights.iter().copied().min().unwrap_or(1));
    let turns = u64::from(total.div_ceil(least)) + weights.len() as u64 * cores;
    Outcome {
        jain: jain(&got),
        longest_wait_ns: it.guests.iter().map(longest).max().unwrap_or(0),
        bound_ns: SLICE_MAX_NS * turns + MS,
    }
}

#[test]
fn all_get_what_they_weigh_and_nobody_waits_for_long() {
    let mut outcomes: Vec<Outcome> = (1..=MIXES).map(mix).collect();
    for (number, outcome) in outcomes.iter().enumerate() {
        let Outcome { jain, longest_wait_ns, bound_ns } = outcome;
        assert!(*jain >= JAIN_MIN, "mix {number}: Jain's index is {jain}");
        assert!(longest_wait_ns <= bound_ns, "mix {number}: waited {longest_wait_ns} ns, the bound is {bound_ns} ns");
    }
    outcomes.sort_by(|one, other| one.jain.total_cmp(&other.jain));
    let jain = |part: f64| outcomes[((outcomes.len() - 1) as f64 * part) as usize].jain;
    println!("Jain's index over {MIXES} mixes: least {:.5}, 1 % {:.5}, median {:.5}", jain(0.0), jain(0.01), jain(0.5));
    let waits = |part: f64| {
        let mut waits: Vec<u64> = outcomes.iter().map(|outcome| outcome.longest_wait_ns).collect();
        waits.sort_unstable();
        waits[((waits.len() - 1) as f64 * part) as usize] as f64 / MS as f64
    };
    println!("longest wait: most {:.1} ms, 99 % {:.1} ms, median {:.1} ms", waits(1.0), waits(0.99), waits(0.5));
}
