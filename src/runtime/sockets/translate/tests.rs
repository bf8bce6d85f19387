use super::*;
use crate::model::TaskId;
use crate::network::Table;

const TCP: Key = (Protocol::Tcp, 1);
const UDP: Key = (Protocol::Udp, 2);

fn task(table: &Table, id: u128, mapped: &[(u16, Protocol)]) -> TaskNetwork {
    let mut network = TaskNetwork::new(table.attach(TaskId(id)).unwrap(), mapped.iter().copied());
    for key in [TCP, UDP] {
        let slot = network.reserve().unwrap();
        network.opened(key, Family::V4, slot);
    }
    network
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn own(network: &TaskNetwork, port: u16) -> SocketAddr {
    SocketAddr::from((network.address().ip(), port))
}

#[test]
fn every_way_to_say_this_machine_means_the_task() {
    let network = task(&Table::default(), 1, &[]);
    for wanted in ["0.0.0.0:80", "127.0.0.1:80", "127.9.9.9:80", &own(&network, 80).to_string()] {
        assert_eq!(network.bind_target(TCP, at(wanted)), Ok(own(&network, 80)), "{wanted}");
    }
    assert_eq!(network.bind_target(TCP, at("127.64.9.9:80")), Err(Refused::NotBindable));
    assert_eq!(network.bind_target(TCP, at("192.0.2.1:80")), Err(Refused::NotBindable));
    assert_eq!(network.bind_target(TCP, at("[::]:80")), Err(Refused::InvalidArgument));
}

#[test]
fn a_guest_is_shown_what_it_asked_for() {
    let mut network = task(&Table::default(), 1, &[]);
    // The system refused port 80: it is really elsewhere.
    network.bound(TCP, at("0.0.0.0:80"), own(&network, 40_080)).unwrap();
    assert_eq!(network.local(TCP, own(&network, 40_080)), at("0.0.0.0:80"));
    // A connection that was accepted there is known by its port.
    let accepted = (Protocol::Tcp, 9);
    assert_eq!(network.local(accepted, own(&network, 40_080)), own(&network, 80));
    assert_eq!(network.bind_target((Protocol::Tcp, 9), at("127.0.0.1:80")), Err(Refused::InUse));
    assert_eq!(network.target(TCP, at("127.0.0.1:80")), Ok(own(&network, 40_080)));
    network.closed(TCP);
    assert_eq!(network.target(UDP, at("127.0.0.1:80")), Err(Refused::Denied(Denial::NobodyListens)));
}

#[test]
fn ipv6_sockets_are_the_task_too() {
    let mut network = task(&Table::default(), 1, &[]);
    let slot = network.reserve().unwrap();
    let key = (Protocol::Tcp, 6);
    network.opened(key, Family::V6, slot);
    assert_eq!(network.bind_target(key, at("[::]:80")), Ok(own(&network, 80)));
    assert_eq!(network.bind_target(key, at("[2001:db8::1]:80")), Err(Refused::NotBindable));
    network.bound(key, at("[::]:80"), own(&network, 80)).unwrap();
    assert_eq!(network.local(key, own(&network, 80)), at("[::]:80"));
    assert_eq!(network.target(key, at("[::1]:80")), Ok(own(&network, 80)));
    assert_eq!(network.target(key, at("[2001:db8::1]:80")), Err(Refused::Denied(Denial::Outside)));
    let peer = SocketAddr::from((network.address().ip().to_ipv6_mapped(), 5000));
    assert_eq!(network.remote(key, None, own(&network, 5000)), peer);
}

#[test]
fn the_machine_is_never_shown_as_the_task_itself() {
    let mut network = task(&Table::default(), 1, &[(53, Protocol::Udp)]);
    network.bound(UDP, at("0.0.0.0:53"), own(&network, 53)).unwrap();
    let client = at("127.0.0.1:5000");
    let shown = network.remote(UDP, None, client);
    assert_eq!(shown, SocketAddr::from((MACHINE, 5000)));
    // It may be answered once it has asked, and not before.
    assert_eq!(network.target(UDP, shown), Err(Refused::Denied(Denial::ThisMachine)));
    assert!(network.receives(UDP, client));
    assert_eq!(network.target(UDP, shown), Ok(client));
    assert!(network.judge().may_send(client));
    assert!(!network.judge().may_send(at("127.0.0.1:5001")));
}

#[test]
fn tasks_speak_udp_through_mappings_and_are_answered() {
    let table = Table::default();
    let (mut client, mut server) = (task(&table, 1, &[]), task(&table, 2, &[(53, Protocol::Udp)]));
    server.bound(UDP, at("0.0.0.0:53"), own(&server, 40_053)).unwrap();
    client.bound(UDP, at("0.0.0.0:0"), own(&client, 5000)).unwrap();
    // Unasked, nobody may send to the client.
    assert_eq!(server.target(UDP, own(&client, 5000)), Err(Refused::Denied(Denial::NotMapped)));
    assert!(!client.receives(UDP, own(&server, 40_053)));
    // A question, and its answer.
    let target = client.target(UDP, own(&server, 53)).unwrap();
    assert_eq!(target, own(&server, 40_053));
    client.sends(UDP, target);
    assert!(server.receives(UDP, own(&client, 5000)));
    assert_eq!(server.target(UDP, own(&client, 5000)), Ok(own(&client, 5000)));
    assert!(client.receives(UDP, own(&server, 40_053)));
    assert_eq!(client.remote(UDP, None, own(&server, 40_053)), own(&server, 53));
}

#[test]
fn names_need_no_resolver() {
    let network = task(&Table::default(), 1, &[]);
    let loopback = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    for name in ["localhost", "LOCALHOST.", "db.localhost", "127.0.0.1"] {
        assert_eq!(network.lookup(name), loopback, "{name}");
    }
    assert_eq!(
        network.lookup(&crate::runtime::outgoing::names::hostname_of(network.address().ip())),
        Some(IpAddr::V4(network.address().ip()))
    );
    assert_eq!(network.lookup("[::1]"), Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
    for name in ["example.com", "localhost.example.com", "notlocalhost", ""] {
        assert_eq!(network.lookup(name), None, "{name}");
    }
}

#[test]
fn what_listens_is_shown_until_it_is_closed() {
    let mut network = task(&Table::default(), 1, &[(80, Protocol::Tcp)]);
    assert!(network.may_listen(TCP).is_err(), "not bound");
    network.bound(TCP, at("0.0.0.0:80"), own(&network, 80)).unwrap();
    assert!(network.bindings().borrow().is_empty(), "bound is not listening");
    let slot = network.may_listen(TCP).unwrap();
    network.listening(TCP, slot);
    let expected = Binding { port: 80, protocol: Protocol::Tcp, real: own(&network, 80), is_mapped: true };
    assert_eq!(*network.bindings().borrow(), [expected]);
    network.closed(TCP);
    assert!(network.bindings().borrow().is_empty());
}

#[test]
fn listeners_have_a_quota() {
    let mut network = task(&Table::default(), 1, &[]);
    network.bound(TCP, at("0.0.0.0:80"), own(&network, 80)).unwrap();
    let held: Vec<_> = (0..crate::runtime::sockets::LISTENERS_MAX).map(|_| network.may_listen(TCP).unwrap()).collect();
    assert_eq!(network.may_listen(TCP).unwrap_err(), Refused::TooManyListeners);
    drop(held);
    assert!(network.may_listen(TCP).is_ok());
}
