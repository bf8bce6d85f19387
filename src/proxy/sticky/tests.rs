//! Cookies of both kinds.

use std::net::Ipv4Addr;
use std::time::UNIX_EPOCH;

use http::header::{COOKIE, SET_COOKIE};
use tokio::sync::Notify;

use super::*;
use crate::model::{TargetGroup, TaskId};
use crate::proxy::group::Members;
use crate::proxy::testing::{load_balancer, target_group};

const NOW: SystemTime = UNIX_EPOCH;
const HOUR: Duration = Duration::from_secs(3600);

fn group(attributes: &[(&str, &str)]) -> Group {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let record = TargetGroup { attributes: attributes.iter().map(owned).collect(), ..target_group("web") };
    let settings = Arc::new(GroupSettings::of(&record));
    Group::new(record.arn(), Members::new(Arc::new(record), settings, true, Vec::new()))
}

fn target(task: u128) -> TargetStanding {
    let key = TargetKey {
        group: target_group("web").arn(),
        address: Ipv4Addr::LOCALHOST,
        port: 80,
        task: Some(TaskId(task)),
    };
    TargetStanding::new(key, 1, Arc::new(Notify::new()))
}

fn session(group: &Group, cookies: &str, now: SystemTime) -> Option<Session> {
    let headers = HeaderMap::from_iter([(COOKIE, cookies.parse().unwrap())]);
    Session::of(group, &headers, &seal(), now)
}

fn seal() -> Seal {
    Seal::of(&load_balancer("web"))
}

/// `NAME=VALUE` of each cookie that is set.
fn set(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(SET_COOKIE).into_iter();
    lines.map(|line| line.to_str().unwrap().split(';').next().unwrap().to_owned()).collect()
}

#[test]
fn without_stickiness_there_are_no_sessions() {
    assert!(session(&group(&[]), "", NOW).is_none());
    let by_address = [("stickiness.enabled", "true"), ("stickiness.type", "source_ip")];
    assert!(session(&group(&by_address), "", NOW).is_none());
}

#[test]
fn the_balancers_cookie_leads_back_to_the_target_until_it_is_over() {
    let group = group(&[("stickiness.enabled", "true"), ("stickiness.lb_cookie.duration_seconds", "3600")]);
    let (target, other) = (target(1), target(2));
    let first = session(&group, "", NOW).unwrap();
    assert_eq!(first.mark, None);
    let mut headers = HeaderMap::new();
    first.remember(&target, &mut headers, &seal(), NOW);
    let cookies = set(&headers);
    assert!(cookies[0].starts_with("AWSALB=") && cookies[1].starts_with("AWSALBCORS="), "{cookies:?}");
    for cookie in cookies {
        let again = session(&group, &cookie, NOW + HOUR - Duration::from_secs(1)).unwrap();
        assert_eq!(again.mark, Some(target.mark));
        assert_ne!(again.mark, Some(other.mark));
        // When it is over, a client that still sends it is a new one.
        assert_eq!(session(&group, &cookie, NOW + HOUR).unwrap().mark, None);
        // One of another kind says nothing.
        let forged = cookie.replace("AWSALB=", "AWSALBAPP-0=").replace("AWSALBCORS=", "AWSALBAPP-0=");
        assert_eq!(session(&group, &forged, NOW).unwrap().mark, None);
    }
}

#[test]
fn an_applications_session_begins_and_ends_with_its_cookie() {
    let group = group(&[
        ("stickiness.enabled", "true"),
        ("stickiness.type", "app_cookie"),
        ("stickiness.app_cookie.cookie_name", "SESSION"),
    ]);
    let target = target(1);
    let first = session(&group, "", NOW).unwrap();
    let mut headers = HeaderMap::new();
    first.remember(&target, &mut headers, &seal(), NOW);
    assert!(headers.is_empty(), "the application has not begun a session");
    headers.append(SET_COOKIE, "SESSION=1; HttpOnly".parse().unwrap());
    first.remember(&target, &mut headers, &seal(), NOW);
    let ours = set(&headers).pop().unwrap();
    assert!(ours.starts_with("AWSALBAPP-0="), "{ours}");

    let both = session(&group, &format!("{ours}; SESSION=1"), NOW).unwrap();
    assert_eq!(both.mark, Some(target.mark));
    let mut headers = HeaderMap::new();
    both.remember(&target, &mut headers, &seal(), NOW);
    assert_eq!(set(&headers).len(), 1, "it is renewed");
    for one in ["SESSION=1", &*ours] {
        assert_eq!(session(&group, one, NOW).unwrap().mark, None, "{one}");
    }
}
