use super::*;
use crate::network::Groups;

const A: TaskId = TaskId(0xa);
const B: TaskId = TaskId(0xb);

fn at(ip: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::from((ip, port))
}

fn publish(table: &Table, address: &Address, port: u16, real: SocketAddr, is_mapped: bool) -> Published {
    table.publish(address, port, Protocol::Tcp, Endpoint { real, is_mapped }).unwrap()
}

#[test]
fn an_address_belongs_to_its_task_until_its_last_holder_is_gone() {
    let table = Table::default();
    let (a, b) = (table.attach(A).unwrap(), table.attach(B).unwrap());
    assert_ne!(a.ip(), b.ip());
    assert_eq!(table.owner(a.ip()), Some(A));
    let second_holder = a.clone();
    let ip = a.ip();
    drop(a);
    assert_eq!(table.owner(ip), Some(A));
    drop(second_holder);
    assert_eq!(table.owner(ip), None);
    assert_eq!(table.owner(b.ip()), Some(B));
}

#[test]
fn a_publication_keeps_the_address_and_ends_with_its_guard() {
    let table = Table::default();
    let a = table.attach(A).unwrap();
    let ip = a.ip();
    let published = publish(&table, &a, 80, at(ip, 40_000), true);
    drop(a);
    assert_eq!(table.resolve(ip, 80, Protocol::Tcp), Some(at(ip, 40_000)));
    assert_eq!(table.name_of(at(ip, 40_000), Protocol::Tcp), Some((ip, 80)));
    assert_eq!(table.resolve(ip, 80, Protocol::Udp), None);
    assert_eq!(table.owner(ip), Some(A));
    drop(published);
    assert_eq!(table.resolve(ip, 80, Protocol::Tcp), None);
    assert_eq!(table.name_of(at(ip, 40_000), Protocol::Tcp), None);
    assert_eq!(table.owner(ip), None);
}

#[test]
fn a_port_is_published_once_and_so_is_a_real_socket() {
    let table = Table::default();
    let a = table.attach(A).unwrap();
    let _first = publish(&table, &a, 80, at(a.ip(), 80), false);
    let endpoint = |port| Endpoint { real: at(a.ip(), port), is_mapped: false };
    let again = table.publish(&a, 80, Protocol::Tcp, endpoint(81)).unwrap_err();
    assert_eq!(again.to_string(), format!("tcp port 80 of {} is in use", a.ip()));
    assert!(table.publish(&a, 81, Protocol::Tcp, endpoint(80)).is_err());
    // The refused ones left nothing behind, and UDP is another name space.
    assert_eq!(table.resolve(a.ip(), 81, Protocol::Tcp), None);
    assert!(table.publish(&a, 80, Protocol::Udp, endpoint(80)).is_ok());
}

#[test]
fn a_task_reaches_all_of_its_own_ports_and_what_others_map() {
    let table = Table::default();
    let (a, b) = (table.attach(A).unwrap(), table.attach(B).unwrap());
    let _own = publish(&table, &a, 5000, at(a.ip(), 5000), false);
    let _mapped = publish(&table, &b, 80, at(b.ip(), 40_080), true);
    let _private = publish(&table, &b, 81, at(b.ip(), 81), false);
    let tcp = Protocol::Tcp;

    assert_eq!(table.may_connect(&a, at(a.ip(), 5000), tcp), Verdict::Allowed);
    assert_eq!(table.may_connect(&b, at(a.ip(), 5000), tcp), Verdict::Denied(Denial::NotMapped));
    assert_eq!(table.resolve_for(&a, at(b.ip(), 80), tcp), Ok(at(b.ip(), 40_080)));
    assert_eq!(table.resolve_for(&a, at(b.ip(), 81), tcp), Err(Denial::NotMapped));
    assert_eq!(table.resolve_for(&b, at(b.ip(), 81), tcp), Ok(at(b.ip(), 81)));
    assert_eq!(table.resolve_for(&a, at(b.ip(), 82), tcp), Err(Denial::NobodyListens));
    // The policy is asked about what is really connected to: the name of a published socket is not such an address.
    assert_eq!(table.may_connect(&a, at(b.ip(), 80), tcp), Verdict::Denied(Denial::NobodyListens));
    assert_eq!(table.may_connect(&a, at(b.ip(), 40_080), Protocol::Udp), Verdict::Denied(Denial::NobodyListens));
}

#[test]
fn a_task_reaches_neither_the_machine_nor_the_outside() {
    let table = Table::default();
    let a = table.attach(A).unwrap();
    let check = |to: &str, denial| {
        assert_eq!(table.resolve_for(&a, to.parse().unwrap(), Protocol::Tcp), Err(denial), "{to}");
    };
    check("127.0.0.1:22", Denial::ThisMachine);
    check("[::1]:22", Denial::ThisMachine);
    check("169.254.169.254:80", Denial::LinkLocal);
    check("192.0.2.1:80", Denial::Outside);
}

#[test]
fn a_task_listens_on_its_own_address_only() {
    let table = Table::default();
    let (a, b) = (table.attach(A).unwrap(), table.attach(B).unwrap());
    assert_eq!(table.may_listen(A, at(a.ip(), 80)), Verdict::Allowed);
    assert_eq!(table.may_listen(A, at(b.ip(), 80)), Verdict::Denied(Denial::NotItsOwnAddress));
    assert_eq!(table.may_listen(A, at(Ipv4Addr::UNSPECIFIED, 80)), Verdict::Denied(Denial::NotItsOwnAddress));
    assert_eq!(table.may_listen(A, "[::]:80".parse().unwrap()), Verdict::Denied(Denial::NotItsOwnAddress));
}

#[test]
fn many_threads_get_many_addresses() {
    let table = Table::default();
    let all = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4u128)
            .map(|thread| {
                let table = table.clone();
                scope.spawn(move || {
                    (0..500).map(|n| table.attach(TaskId(thread * 500 + n)).unwrap()).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let distinct: std::collections::HashSet<_> = all.iter().map(Address::ip).collect();
    assert_eq!(distinct.len(), 2000);
    assert!(all.iter().all(|address| table.owner(address.ip()) == Some(address.task())));
}

#[test]
fn security_groups_are_asked_on_both_sides() {
    let groups = Groups::compile(
        &serde_json::from_str(
            r#"{"sg-web": {"ingress": [{"protocol": "tcp", "ports": "80", "peers": ["sg-client"]}]},
                "sg-client": {"egress": [{"protocol": "tcp", "ports": "80", "peers": ["sg-web"]}]}}"#,
        )
        .unwrap(),
    )
    .unwrap();
    let table = Table::default();
    let attach = |id, group: &str| {
        let policy = Policy { rules: groups.choose(&[group.to_owned()]), ..Policy::default() };
        table.attach_with(TaskId(id), policy).unwrap()
    };
    let (web, client, other) = (attach(1, "sg-web"), attach(2, "sg-client"), table.attach(TaskId(3)).unwrap());
    let _http = publish(&table, &web, 80, at(web.ip(), 40_080), true);
    let _admin = publish(&table, &web, 81, at(web.ip(), 81), true);
    let _open = publish(&table, &other, 80, at(other.ip(), 80), true);
    let tcp = Protocol::Tcp;
    assert_eq!(table.resolve_for(&client, at(web.ip(), 80), tcp), Ok(at(web.ip(), 40_080)));
    assert_eq!(table.resolve_for(&client, at(web.ip(), 81), tcp), Err(Denial::Egress));
    assert_eq!(table.resolve_for(&client, at(other.ip(), 80), tcp), Err(Denial::Egress));
    assert_eq!(table.resolve_for(&other, at(web.ip(), 80), tcp), Err(Denial::Ingress));
    // The task itself needs no rule, and a client of the machine is nobody's group.
    assert_eq!(table.resolve_for(&web, at(web.ip(), 81), tcp), Ok(at(web.ip(), 81)));
    let machine = SocketAddr::from((Ipv4Addr::LOCALHOST, 5000));
    assert!(table.may_enter(&other, 80, machine, tcp) && !table.may_enter(&web, 80, machine, tcp));
    assert!(table.may_enter(&web, 80, at(client.ip(), 5000), tcp));
}

#[test]
fn a_rule_for_a_name_is_one_for_what_the_task_was_told() {
    let groups = Groups::compile(
        &serde_json::from_str(r#"{"sg-a": {"egress": [{"protocol": "tcp", "peers": ["*.example.com"]}]}}"#).unwrap(),
    )
    .unwrap();
    let policy = Policy { outside: true, rules: groups.choose(&[String::from("sg-a")]), ..Policy::default() };
    let a = Table::default().attach_with(A, policy).unwrap();
    let there = Ipv4Addr::new(192, 0, 2, 1);
    let may = || a.table().may_connect(&a, at(there, 443), Protocol::Tcp);
    assert_eq!(may(), Verdict::Denied(Denial::Egress));
    a.remember("www.other.com", &[there]);
    assert_eq!(may(), Verdict::Denied(Denial::Egress));
    a.remember("WWW.example.com.", &[there]);
    assert_eq!(may(), Verdict::Allowed);
}
