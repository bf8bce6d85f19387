use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{COOKIE, HeaderValue, SET_COOKIE};

use crate::proxy::group::Members;
use crate::proxy::seal::Seal;
use crate::proxy::settings::GroupSettings;
use crate::proxy::testing;

use super::*;

const NOW: SystemTime = UNIX_EPOCH;

fn group(name: &str) -> Arc<Group> {
    let record = Arc::new(testing::target_group(name));
    let settings = Arc::new(GroupSettings::of(&record));
    Arc::new(Group::new(record.arn(), Members::new(record, settings, true, Vec::new())))
}

fn seal() -> Seal {
    Seal::of(&testing::load_balancer("web"))
}

fn name(group: &Group) -> String {
    group.members.load().record.name.clone()
}

/// What the group is called that a request with these cookies goes to, and what it is told to bring back.
fn sent(split: &Split, cookies: &HeaderMap, now: SystemTime) -> (String, HeaderMap) {
    let chosen = split.choose(cookies, &seal(), now).unwrap();
    let mut response = HeaderMap::new();
    chosen.remember(&mut response, now);
    let mut next = HeaderMap::new();
    for line in response.get_all(SET_COOKIE) {
        let pair = line.to_str().unwrap().split(';').next().unwrap();
        next.append(COOKIE, HeaderValue::from_str(pair).unwrap());
    }
    (name(chosen.group), next)
}

#[test]
fn groups_get_their_share_and_a_changed_rule_goes_on_where_it_was() {
    let (a, b) = (group("a"), group("b"));
    let weighted = |a_weight, b_weight, before: Option<&Split>| {
        Split::new(vec![(Arc::clone(&a), a_weight), (Arc::clone(&b), b_weight)], None, before)
    };
    let mut split = weighted(1, 3, None);
    let mut of_a = 0;
    for turn in 0..400 {
        if sent(&split, &HeaderMap::new(), NOW).0 == "a" {
            of_a += 1;
        }
        // Each publication with a change of the rule makes the split anew.
        if turn % 3 == 0 {
            split = weighted(1, 3, Some(&split));
        }
    }
    assert!((99..=101).contains(&of_a), "{of_a} of 400 requests went to a quarter of the weight");
    assert!(weighted(0, 0, None).choose(&HeaderMap::new(), &seal(), NOW).is_none());
}

#[test]
fn a_sticky_client_stays_until_its_time_is_over() {
    let split = Split::new(vec![(group("a"), 1), (group("b"), 1)], Some(60), None);
    let (first, cookies) = sent(&split, &HeaderMap::new(), NOW);
    assert_eq!(cookies.get_all(COOKIE).iter().count(), 2);
    let mut again = cookies;
    for second in 0..60 {
        let (group, next) = sent(&split, &again, NOW + Duration::from_secs(second));
        assert_eq!(group, first);
        again = next;
    }
    let later: Vec<_> = (0..4).map(|_| sent(&split, &again, NOW + Duration::from_secs(60)).0).collect();
    assert!(later.iter().any(|group| *group != first), "{later:?}");
}

#[test]
fn either_cookie_is_enough_and_a_false_one_is_none() {
    let split = Split::new(vec![(group("a"), 1), (group("b"), 1)], Some(60), None);
    let (first, cookies) = sent(&split, &HeaderMap::new(), NOW);
    let lines: Vec<_> = cookies.get_all(COOKIE).iter().cloned().collect();
    for line in lines {
        let mut one = HeaderMap::new();
        one.insert(COOKIE, line.clone());
        assert!((0..5).all(|_| sent(&split, &one, NOW).0 == first), "{line:?}");
    }
    let mut forged = HeaderMap::new();
    forged.insert(COOKIE, HeaderValue::from_static("AWSALBTG=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA; AWSALBTGCORS=%%"));
    let groups: Vec<_> = (0..4).map(|_| sent(&split, &forged, NOW).0).collect();
    assert!(groups.contains(&"a".to_owned()) && groups.contains(&"b".to_owned()), "{groups:?}");
}

#[test]
fn a_client_moves_on_when_its_group_left_the_rule_or_has_neither_weight_nor_targets() {
    let (a, b) = (group("a"), group("b"));
    let (_, cookies) = sent(&Split::new(vec![(Arc::clone(&a), 1)], Some(60), None), &HeaderMap::new(), NOW);
    let without = Split::new(vec![(Arc::clone(&b), 1)], Some(60), None);
    assert_eq!(sent(&without, &cookies, NOW).0, "b");
    let weightless = Split::new(vec![(a, 0), (b, 1)], Some(60), None);
    assert_eq!(sent(&weightless, &cookies, NOW).0, "b");
}
