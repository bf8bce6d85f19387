use super::*;

fn compiled(json: &str) -> Result<Groups, RuleError> {
    Groups::compile(&serde_json::from_str(json).unwrap())
}

fn peer<'a>(addresses: &'a [Ipv4Addr], groups: &'a [String]) -> Peer<'a> {
    Peer { addresses, groups, named: &|name| name == "db.example.com" }
}

const GROUPS: &str = r#"{
  "sg-web": {
    "ingress": [{"protocol": "tcp", "ports": "80-81", "peers": ["10.0.0.0/8", "sg-lb"]}],
    "egress": [{"protocol": "-1", "peers": ["192.0.2.7", "db.example.com"]}]
  },
  "sg-dns": {"egress": [{"protocol": "udp", "ports": "53", "peers": ["0.0.0.0/0"]}]}
}"#;

#[test]
fn a_rule_allows_its_protocol_ports_and_peers() {
    let rules = compiled(GROUPS).unwrap().choose(&[String::from("sg-web")]);
    let (inside, other) = ([Ipv4Addr::new(10, 1, 2, 3)], [Ipv4Addr::new(192, 0, 2, 7)]);
    assert!(rules.allow_ingress(&peer(&inside, &[]), 80, Protocol::Tcp));
    assert!(rules.allow_ingress(&peer(&inside, &[]), 81, Protocol::Tcp));
    assert!(!rules.allow_ingress(&peer(&inside, &[]), 82, Protocol::Tcp));
    assert!(!rules.allow_ingress(&peer(&inside, &[]), 80, Protocol::Udp));
    assert!(!rules.allow_ingress(&peer(&other, &[]), 80, Protocol::Tcp));
    assert!(rules.allow_ingress(&peer(&other, &[String::from("sg-lb")]), 80, Protocol::Tcp));
    assert!(rules.allow_egress(&peer(&other, &[]), 9, Protocol::Udp));
    // By the name that the task has looked up.
    assert!(rules.allow_egress(&peer(&inside, &[]), 5432, Protocol::Tcp));
    let unnamed = Peer { addresses: &inside, groups: &[], named: &|_| false };
    assert!(!rules.allow_egress(&unnamed, 5432, Protocol::Tcp));
}

#[test]
fn several_groups_are_a_union_and_unknown_ones_are_none() {
    let groups = compiled(GROUPS).unwrap();
    let ids = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let anywhere = [Ipv4Addr::new(203, 0, 113, 1)];
    let nobody = Peer { addresses: &anywhere, groups: &[], named: &|_| false };
    let may = |chosen: &[&str], port, protocol| groups.choose(&ids(chosen)).allow_egress(&nobody, port, protocol);
    assert!(!may(&["sg-web"], 53, Protocol::Udp));
    assert!(may(&["sg-web", "sg-dns"], 53, Protocol::Udp));
    assert!(!may(&["sg-web", "sg-dns"], 53, Protocol::Tcp));
    assert!(!may(&["sg-web", "sg-unknown"], 80, Protocol::Tcp));
    assert!(may(&["sg-unknown"], 80, Protocol::Tcp) && may(&[], 80, Protocol::Tcp));
    // A group without rules of a direction allows nothing in it.
    assert!(!groups.choose(&ids(&["sg-dns"])).allow_ingress(&nobody, 80, Protocol::Tcp));
}

#[test]
fn host_names_cover_themselves_or_what_lies_under_them() {
    assert!(covers("example.com", "example.com") && !covers("example.com", "www.example.com"));
    assert!(covers(".example.com", "www.example.com") && !covers(".example.com", "example.com"));
    assert!(!covers(".example.com", "badexample.com"));
}

#[test]
fn what_means_nothing_is_named_with_its_place() {
    let check = |rule: &str, direction: &str, expected: &str| {
        let error = compiled(&format!(r#"{{"sg-a": {{"{direction}": [{rule}]}}}}"#)).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    check(
        r#"{"protocol": "icmp", "peers": ["0.0.0.0/0"]}"#,
        "ingress",
        "securityGroups.sg-a.ingress[0].protocol: 'icmp'",
    );
    check(
        r#"{"protocol": "tcp", "ports": "9-1", "peers": ["0.0.0.0/0"]}"#,
        "egress",
        "securityGroups.sg-a.egress[0].ports: '9-1' is not a port",
    );
    for cidr in ["10.0.0.1/8", "10.0.0.0/33", "10.0.0/8", "fd00::/8"] {
        let rule = format!(r#"{{"protocol": "tcp", "peers": ["0.0.0.0/0", "{cidr}"]}}"#);
        check(&rule, "egress", &format!("securityGroups.sg-a.egress[0].peers[1]: '{cidr}' is not an IPv4 block"));
    }
    check(
        r#"{"protocol": "tcp", "peers": ["a b"]}"#,
        "egress",
        "securityGroups.sg-a.egress[0].peers[0]: 'a b' is neither",
    );
    check(
        r#"{"protocol": "tcp", "peers": ["10.0.0.256"]}"#,
        "egress",
        "securityGroups.sg-a.egress[0].peers[0]: '10.0.0.256'",
    );
    check(
        r#"{"protocol": "tcp", "peers": ["a.com"]}"#,
        "ingress",
        "securityGroups.sg-a.ingress[0].peers[0]: 'a.com' is a host",
    );
    check(
        r#"{"protocol": "tcp", "peers": []}"#,
        "ingress",
        "securityGroups.sg-a.ingress[0].peers: a rule without peers",
    );
}
