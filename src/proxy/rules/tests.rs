use http::header::{HeaderName, HeaderValue};

use crate::model::rule::Condition;
use crate::proxy::action::RouteAction;
use crate::proxy::testing;

use super::*;

fn host(values: &[&str]) -> Condition {
    Condition::HostHeader { values: owned(values), regex_values: Vec::new() }
}

fn path(values: &[&str]) -> Condition {
    Condition::PathPattern { values: owned(values), regex_values: Vec::new() }
}

fn query(key: Option<&str>, value: &str) -> Condition {
    Condition::QueryString { values: vec![(key.map(str::to_owned), value.to_owned())] }
}

fn owned(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// The listener's rules, of which each answers with its place in `conditions`.
fn rules(conditions: Vec<Vec<Condition>>) -> Rules {
    let records: Vec<_> = (1..)
        .zip(conditions)
        .map(|(priority, conditions)| {
            Arc::new(testing::rule(priority, conditions, vec![testing::fixed(&priority.to_string())]))
        })
        .collect();
    Rules::next(&testing::listener(80, vec![testing::fixed("default")]), &records, &HashMap::new(), None)
}

struct Asking {
    host: &'static str,
    method: &'static str,
    target: &'static str,
    headers: HeaderMap,
    source: &'static str,
}

const fn get(host: &'static str, target: &'static str) -> (&'static str, &'static str) {
    (host, target)
}

impl From<(&'static str, &'static str)> for Asking {
    fn from((host, target): (&'static str, &'static str)) -> Asking {
        Asking { host, method: "GET", target, headers: HeaderMap::new(), source: "192.0.2.7" }
    }
}

fn found(rules: &Rules, asking: impl Into<Asking>) -> String {
    let asking = asking.into();
    let (path, query) =
        asking.target.split_once('?').map_or((asking.target, None), |(path, query)| (path, Some(query)));
    let facts = Facts {
        host: asking.host,
        method: asking.method,
        path,
        query,
        headers: &asking.headers,
        source: asking.source.parse().unwrap(),
    };
    match &rules.find(&facts).action {
        RouteAction::FixedResponse(fixed) => fixed.content.clone(),
        _ => panic!("the rules of these tests answer themselves"),
    }
}

#[test]
fn the_lowest_priority_that_holds_wins_whatever_list_it_is_in() {
    let rules = rules(vec![
        vec![path(&["/special*"])],
        vec![host(&["a.example.com", "B.example.com"])],
        vec![path(&["/api/*", "/api"])],
        vec![host(&["*.example.com"])],
    ]);
    assert_eq!(found(&rules, get("a.example.com", "/special")), "1");
    assert_eq!(found(&rules, get("A.Example.COM:8080", "/api/x")), "2");
    assert_eq!(found(&rules, get("b.example.com.", "/")), "2");
    assert_eq!(found(&rules, get("c.example.com", "/api/x")), "3");
    assert_eq!(found(&rules, get("c.example.com", "/api")), "3");
    assert_eq!(found(&rules, get("c.example.com", "/apis")), "4");
    assert_eq!(found(&rules, get("example.com", "/API")), "default");
}

#[test]
fn all_conditions_must_hold_and_those_that_contradict_each_other_never_do() {
    let rules = rules(vec![
        vec![host(&["a.test"]), host(&["b.test"])],
        vec![path(&["/a"]), path(&["/b"])],
        vec![host(&["a.test"]), path(&["/a"])],
    ]);
    assert_eq!(found(&rules, get("a.test", "/a")), "3");
    assert_eq!(found(&rules, get("b.test", "/a")), "default");
    assert_eq!(found(&rules, get("a.test", "/b")), "default");
}

#[test]
fn headers_methods_and_sources_are_conditions() {
    let agent = Condition::HttpHeader {
        name: "user-AGENT".into(),
        values: vec!["*chrome*".into()],
        regex_values: vec!["^curl/[78]".into()],
    };
    let method = Condition::HttpRequestMethod { values: vec!["POST".into(), "PURGE".into()] };
    let source = Condition::SourceIp { values: vec!["10.0.0.0/8".into(), "2001:db8::/32".into()] };
    let rules = rules(vec![vec![agent], vec![method], vec![source]]);
    let asking = |method: &'static str, source: &'static str, agents: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for agent in agents {
            headers.append(HeaderName::from_static("user-agent"), HeaderValue::from_static(agent));
        }
        Asking { host: "a", method, target: "/", headers, source }
    };
    assert_eq!(found(&rules, asking("GET", "10.1.1.1", &["nothing", "Mozilla CHROME/1"])), "1");
    assert_eq!(found(&rules, asking("GET", "10.1.1.1", &["curl/8.1"])), "1");
    assert_eq!(found(&rules, asking("PURGE", "10.1.1.1", &["my curl/8.1"])), "2");
    assert_eq!(found(&rules, asking("post", "10.1.1.1", &[])), "3");
    assert_eq!(found(&rules, asking("GET", "::ffff:10.9.9.9", &[])), "3");
    assert_eq!(found(&rules, asking("GET", "2001:db8::1", &[])), "3");
    assert_eq!(found(&rules, asking("GET", "192.0.2.1", &[])), "default");
}

#[test]
fn queries_are_compared_pair_by_pair_without_case_and_decoded() {
    let rules = rules(vec![
        vec![query(Some("version"), "v1"), query(Some("debug"), "")],
        vec![query(Some("version"), "v?")],
        vec![query(None, "*hello world*")],
        vec![query(None, r"what\?")],
    ]);
    assert_eq!(found(&rules, get("a", "/?x=1&Version=V1&debug")), "1");
    assert_eq!(found(&rules, get("a", "/?version=v1&debug=1")), "2");
    assert_eq!(found(&rules, get("a", "/?any=a+hello%20world")), "3");
    assert_eq!(found(&rules, get("a", "/?key=what?")), "4");
    assert_eq!(found(&rules, get("a", "/?what%3f")), "4");
    assert_eq!(found(&rules, get("a", "/?key=whatx")), "default");
    assert_eq!(found(&rules, get("a", "/?version=v10")), "default");
    assert_eq!(found(&rules, get("a", "/version=v1")), "default");
}

#[test]
fn a_path_is_asked_about_after_it_was_normalized() {
    let rules = rules(vec![vec![path(&["/admin", "/admin/*"])], vec![path(&["/public/*"])]]);
    assert_eq!(found(&rules, get("a", "/public/../admin")), "1");
    assert_eq!(found(&rules, get("a", "/%61dmin/x")), "1");
    assert_eq!(found(&rules, get("a", "/public/./x?y=/../")), "2");
}

#[test]
fn regular_expressions_match_anywhere_unless_anchored() {
    let host = Condition::HostHeader { values: Vec::new(), regex_values: vec![r"^(.+)\.example\.com$".into()] };
    let path = Condition::PathPattern { values: Vec::new(), regex_values: vec![r"/v\d+/".into()] };
    let rules = rules(vec![vec![host], vec![path]]);
    assert_eq!(found(&rules, get("A.EXAMPLE.com:80", "/")), "1");
    assert_eq!(found(&rules, get("a.example.com.evil", "/a/v12/b")), "2");
    assert_eq!(found(&rules, get("a", "/a/v/b")), "default");
}

#[test]
fn a_damaged_rule_fits_nothing() {
    let bad_regex = Condition::PathPattern { values: vec!["*".into()], regex_values: vec!["(".into()] };
    let huge = Condition::PathPattern { values: Vec::new(), regex_values: vec!["((.{99}){99}){99}".into()] };
    let bad_block = Condition::SourceIp { values: vec!["0.0.0.0/0".into(), "10.0.0.0/99".into()] };
    let bad_name = Condition::HttpHeader { name: "a b".into(), values: vec!["*".into()], regex_values: Vec::new() };
    let rules = rules(vec![vec![bad_regex], vec![huge], vec![bad_block], vec![bad_name], vec![path(&["*"])]]);
    assert_eq!(found(&rules, get("a", "/")), "5");
}

#[test]
fn only_a_changed_rule_is_compiled_again() {
    let listener = testing::listener(80, vec![testing::fixed("default")]);
    let record = |priority| Arc::new(testing::rule(priority, vec![path(&["/a"])], vec![testing::fixed("x")]));
    let mut records = vec![record(2), record(1)];
    let before = Rules::next(&listener, &records, &HashMap::new(), None);
    records[0] = record(2);
    let after = Rules::next(&listener, &records, &HashMap::new(), Some(&before));
    assert!(Arc::ptr_eq(&before.rules[0], &after.rules[0]));
    assert!(!Arc::ptr_eq(&before.rules[1], &after.rules[1]));
}

proptest::proptest! {
    #[test]
    fn compiled_rules_find_what_plain_ones_find(data in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        reference::agree(&data);
    }
}
