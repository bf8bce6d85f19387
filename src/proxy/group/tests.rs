//! The choice of targets, without connections or checks.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::Notify;

use super::*;
use crate::model::TargetGroup;
use crate::proxy::spec::Endpoint;
use crate::proxy::target::{TargetKey, TargetStanding, WEIGHT_FULL};
use crate::proxy::testing::target_group;

fn target(ordinal: u64, health: TargetState) -> Arc<Target> {
    let address = Ipv4Addr::from(0x7f00_0000 + u32::try_from(ordinal).unwrap());
    let key = TargetKey { group: target_group("web").arn(), address, port: 80, task: None };
    let state = Arc::new(TargetStanding::new(key, ordinal, Arc::new(Notify::new())));
    state.set_health(health);
    Arc::new(Target { state, endpoint: Endpoint::NotListening, check: None, pool: None, unusable: None })
}

/// A group with these attributes and so many healthy targets, numbered from 1.
fn group(attributes: &[(&str, &str)], targets: u64) -> Group {
    of((1..=targets).map(|ordinal| target(ordinal, TargetState::Healthy)).collect(), attributes)
}

fn of(all: Vec<Arc<Target>>, attributes: &[(&str, &str)]) -> Group {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let record = TargetGroup { attributes: attributes.iter().map(owned).collect(), ..target_group("web") };
    let settings = Arc::new(GroupSettings::of(&record));
    Group::new(record.arn(), Members::new(Arc::new(record), settings, true, all))
}

const AT_RANDOM: (&str, &str) = ("load_balancing.algorithm.type", "weighted_random");
const MITIGATES: (&str, &str) = ("load_balancing.algorithm.anomaly_mitigation", "on");
const SLOWLY: (&str, &str) = ("slow_start.duration_seconds", "100");

/// How many of so many requests each target got.
fn shares(group: &Group, requests: usize) -> BTreeMap<u64, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..requests {
        let (target, _in_flight) = group.enter(None, &[]).unwrap();
        *shares.entry(target.state.ordinal).or_insert(0) += 1;
    }
    shares
}

proptest! {
    #[test]
    fn random_shares_follow_the_weights(lowered in proptest::collection::vec(50_usize..=1000, 1..5)) {
        // At least half of the targets are at their full weight: else there is nothing to be anomalous against.
        let weights: Vec<usize> = lowered.iter().copied().chain(lowered.iter().map(|_| WEIGHT_FULL)).collect();
        let group = group(&[AT_RANDOM, MITIGATES], weights.len() as u64);
        for (target, weight) in group.members.load().all.iter().zip(&weights) {
            target.state.set_weight(*weight);
        }
        let shares = shares(&group, 20_000);
        let total: usize = weights.iter().sum();
        for (ordinal, weight) in (1..).zip(&weights) {
            let wanted = (20_000 * weight) as f64 / total as f64;
            let got = *shares.get(&ordinal).unwrap_or(&0) as f64;
            // Six standard deviations of a draw with this probability.
            prop_assert!((got - wanted).abs() < 6.0 * wanted.sqrt() + 1.0, "{ordinal}: {got} of {wanted}");
        }
    }

    /// Each full turn of the others gives the slow one its share, to within one.
    #[test]
    fn a_slow_start_is_linear(targets in 2_u64..6, percent in 0_u64..100) {
        let runtime = tokio::runtime::Builder::new_current_thread().start_paused(true).enable_time().build().unwrap();
        runtime.block_on(async {
            let group = group(&[SLOWLY], targets);
            let slow = Arc::clone(&group.members.load().all[0]);
            slow.state.set_slow(Some(Instant::now()));
            tokio::time::advance(Duration::from_secs(percent)).await;
            let rounds = 1000;
            let mut got = 0_u64;
            let mut others = 0;
            while others < rounds * (targets - 1) {
                match group.enter(None, &[]).unwrap().0.state.ordinal {
                    1 => got += 1,
                    _ => others += 1,
                }
            }
            let wanted = rounds * percent / 100;
            prop_assert!(got.abs_diff(wanted) <= 1, "{got} of {wanted}");
            Ok(())
        })?;
    }

    #[test]
    fn a_mark_is_followed_while_its_target_gets_requests(targets in 1_u64..20, marked in 0_usize..20) {
        let group = group(&[("stickiness.enabled", "true")], targets);
        let all = group.members.load().all.clone();
        let kept = &all[marked % all.len()];
        for _ in 0..5 {
            let (chosen, _in_flight) = group.enter(Some(kept.state.mark), &[]).unwrap();
            prop_assert_eq!(chosen.state.ordinal, kept.state.ordinal);
        }
        kept.state.set_draining(true);
        let other = group.enter(Some(kept.state.mark), &[]).map(|(target, _)| target.state.ordinal);
        prop_assert_eq!(other.is_some(), targets > 1);
        prop_assert_ne!(other, Some(kept.state.ordinal));
    }
}

#[test]
fn a_slow_start_ends() {
    let runtime = tokio::runtime::Builder::new_current_thread().start_paused(true).enable_time().build().unwrap();
    runtime.block_on(async {
        let group = group(&[SLOWLY], 2);
        group.members.load().all[0].state.set_slow(Some(Instant::now()));
        assert_eq!(shares(&group, 10), BTreeMap::from([(2, 10)]));
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(shares(&group, 10), BTreeMap::from([(1, 5), (2, 5)]));
    });
}

#[test]
fn where_all_begin_slowly_all_turns_are_taken() {
    let group = group(&[SLOWLY], 2);
    for target in &group.members.load().all {
        target.state.set_slow(Some(Instant::now()));
    }
    assert_eq!(shares(&group, 10).values().sum::<usize>(), 10);
}

#[test]
fn a_target_begins_slowly_only_beside_one_that_takes_its_full_share() {
    let group = group(&[SLOWLY], 2);
    let members = group.members.load();
    let now = Instant::now();
    assert!(members.has_full_share(&members.all[0], now));
    members.all[1].state.set_slow(Some(now));
    assert!(!members.has_full_share(&members.all[0], now));
    let alone = self::group(&[SLOWLY], 1);
    let members = alone.members.load();
    assert!(!members.has_full_share(&members.all[0], now));
}

#[test]
fn weights_count_only_where_anomalies_are_mitigated() {
    let group = group(&[AT_RANDOM], 2);
    group.members.load().all[0].state.set_weight(1);
    let shares = shares(&group, 1000);
    assert!(shares[&1] > 400, "{shares:?}");
}

#[test]
fn what_failed_a_request_is_not_drawn_again() {
    let group = group(&[AT_RANDOM, MITIGATES], 3);
    group.members.load().all[2].state.set_weight(WEIGHT_FULL / 20);
    for _ in 0..100 {
        let (target, _in_flight) = group.enter(None, &[1, 2]).unwrap();
        assert_eq!(target.state.ordinal, 3);
    }
    assert!(group.enter(None, &[1, 2, 3]).is_none());
}

/// `H` is healthy, `u` unhealthy, `i` initial; `wanted` are the places of those that get requests.
#[track_caller]
fn serves(drawn: &str, attributes: &[(&str, &str)], wanted: &[u64]) {
    let states = drawn.chars().map(|letter| match letter {
        'H' => TargetState::Healthy,
        'u' => TargetState::Unhealthy,
        _ => TargetState::Initial,
    });
    let all = (1..).zip(states).map(|(ordinal, state)| target(ordinal, state)).collect();
    let shares = shares(&of(all, attributes), 20);
    assert_eq!(shares.into_keys().collect::<Vec<_>>(), wanted, "{drawn} {attributes:?}");
}

#[test]
fn below_the_minimum_of_healthy_targets_all_get_requests() {
    const COUNT: &str = "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count";
    const PERCENTAGE: &str = "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage";
    serves("Hui", &[], &[1]);
    serves("uui", &[], &[1, 2, 3]);
    serves("HHuu", &[(COUNT, "2")], &[1, 2]);
    serves("HHuu", &[(COUNT, "3")], &[1, 2, 3, 4]);
    serves("HHuu", &[(PERCENTAGE, "50")], &[1, 2]);
    serves("HHuu", &[(PERCENTAGE, "51")], &[1, 2, 3, 4]);
    serves("HHuu", &[(PERCENTAGE, "off")], &[1, 2]);
    // Either of them is enough.
    serves("HHuu", &[(COUNT, "1"), (PERCENTAGE, "75")], &[1, 2, 3, 4]);
}
