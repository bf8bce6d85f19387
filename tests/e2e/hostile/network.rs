//! Addresses of others: the machine's services, other tasks' ports, the cloud's metadata, by every spelling.
//!
//! Beside what the guest is told, the test listens where it must not arrive: that nothing came is seen there.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use serde_json::{Value, json};

use super::ground::{Attack, End, Ground};
use crate::e2e::definitions::{guest, program, single};
use crate::e2e::wait::until;

/// Link-local, private and public addresses, none of which a task without a public address may reach.
const ELSEWHERE: &[&str] = &[
    "169.254.169.254:80",
    "169.254.169.253:53",
    "169.254.170.23:80",
    "169.254.0.1:80",
    "[::ffff:169.254.169.254]:80",
    "[64:ff9b::a9fe:a9fe]:80",
    "[fe80::1]:80",
    "[fd00:ec2::254]:80",
    "[ff02::1]:5353",
    "224.0.0.251:5353",
    "255.255.255.255:67",
    "192.0.2.1:443",
    "198.18.0.1:80",
    "[2001:db8::1]:443",
];

/// A service of this machine, as if it were a database on its loopback and on its network.
struct Trap {
    tcp: TcpListener,
    udp: UdpSocket,
    port: u16,
}

impl Trap {
    fn lay() -> Trap {
        let tcp = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let udp = UdpSocket::bind(("0.0.0.0", port)).unwrap();
        tcp.set_nonblocking(true).unwrap();
        udp.set_nonblocking(true).unwrap();
        Trap { tcp, udp, port }
    }

    fn is_untouched(&self, name: &str) {
        let accepted = self.tcp.accept().map(|(_, peer)| peer).map_err(|error| error.kind());
        assert_eq!(accepted, Err(ErrorKind::WouldBlock), "{name} connected to a service of this machine");
        let received = self.udp.recv_from(&mut [0; 64]).map(|(_, peer)| peer).map_err(|error| error.kind());
        assert_eq!(received, Err(ErrorKind::WouldBlock), "{name} sent to a service of this machine");
    }
}

/// This machine's own address on its network, where it has one. Connecting a datagram's socket sends nothing.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Every way to write "this machine" that a kernel, a resolver or a library may understand.
fn this_machine(port: u16) -> Vec<String> {
    let hosts = [
        "127.0.0.1",
        "0.0.0.0",
        "127.0.0.53",
        "127.0.1.1",
        "127.1.2.3",
        "127.255.255.254",
        "127.64.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:0.0.0.0]",
        "[::127.0.0.1]",
        "[::ffff:0:127.0.0.1]",
        "[64:ff9b::7f00:1]",
    ];
    let mut all: Vec<String> = hosts.iter().map(|host| format!("{host}:{port}")).collect();
    all.extend(own_address().map(|ip| SocketAddr::new(ip, port).to_string()));
    all
}

fn address_of(task: &Value) -> String {
    let details = task["attachments"][0]["details"].as_array().unwrap();
    let address = details.iter().find(|detail| detail["name"] == "privateIPv4Address").unwrap();
    address["value"].as_str().unwrap().to_owned()
}

/// Runs `hostile MODE ARGUMENT...`, which must get nowhere.
async fn held(ground: &mut Ground, name: &'static str, mode: &str, arguments: &[String]) {
    let mut command = vec![mode];
    command.extend(arguments.iter().map(String::as_str));
    let attack = Attack { name, image: "hostile", command: &[], end: End::Held };
    ground.attack_with(&attack, single("attacker", &guest("hostile"), &command)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_of_others() {
    let mut ground = Ground::new().await;
    let trap = Trap::lay();
    // A neighbour that listens on a port that it does not offer.
    let victim = ground.server.run(program("victim", "echo", &["7000", "udp"])).await;
    let address = address_of(&ground.server.task_in(&victim, "RUNNING").await);
    until("the victim to listen", async || {
        ground.server.printed(&victim).await.iter().any(|line| line.contains("(udp)")).then_some(())
    })
    .await;
    ground.began_more(&victim).await;

    let api = ground.server.address.port();
    let mut machine = this_machine(trap.port);
    machine.extend(this_machine(api));
    held(&mut ground, "connect to this machine's services", "connect", &machine).await;
    trap.is_untouched("connect");
    let elsewhere: Vec<String> = ELSEWHERE.iter().map(ToString::to_string).collect();
    held(&mut ground, "connect to link-local and outside", "connect", &elsewhere).await;
    let unmapped = [format!("{address}:7000"), format!("[::ffff:{address}]:7000"), format!("{address}:7001")];
    held(&mut ground, "connect to a port that a task does not offer", "connect", &unmapped).await;

    let mut others = vec![format!("{address}:7000"), format!("{address}:7001"), format!("[::ffff:{address}]:7001")];
    others.extend(
        ["127.64.0.0:7000", "169.254.170.2:80", "192.0.2.1:80", "[fe80::1]:80", "[2001:db8::1]:80"].map(String::from),
    );
    others.extend(own_address().map(|ip| SocketAddr::new(ip, api).to_string()));
    held(&mut ground, "bind what belongs to others", "bind", &others).await;
    held(&mut ground, "take another's address as source", "forge", &others).await;

    let urls: Vec<String> =
        machine.iter().chain(&unmapped).chain(&elsewhere).map(|to| format!("http://{to}/")).collect();
    held(&mut ground, "the same over wasi:http", "request", &urls).await;
    trap.is_untouched("wasi:http");
    let tricks = [
        format!("http://api@127.0.0.1:{api}/"),
        format!("http://localhost:{api}/"),
        format!("http://localhost.:{api}/"),
        format!("https://127.0.0.1:{api}/"),
        String::from("http://169.254.169.254/latest/meta-data/iam/security-credentials/"),
        String::from("http://instance-data/latest/meta-data/"),
        String::from("http://metadata.google.internal/computeMetadata/v1/"),
    ];
    held(&mut ground, "metadata of the cloud over wasi:http", "request", &tricks).await;
    let names = [
        "localhost",
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "::1",
        "169.254.169.254",
        "host.coracle.internal",
    ];
    held(&mut ground, "names of this machine", "names", &names.map(String::from)).await;
    trap.is_untouched("a name");
    ground.end().await;
}

/// A public address opens the outside, not this machine, its loopback or link-local addresses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_machine_is_not_outside() {
    let mut ground = Ground::new().await;
    let trap = Trap::lay();
    let mut targets = this_machine(trap.port);
    targets.extend(this_machine(ground.server.address.port()));
    targets
        .extend(ELSEWHERE.iter().filter(|to| to.contains("fe80") || to.contains("169.254")).map(ToString::to_string));
    let urls: Vec<String> = targets.iter().map(|to| format!("http://{to}/")).collect();
    for (name, mode, arguments) in [
        ("connect to this machine, with a public address", "connect", targets),
        ("request of this machine, with a public address", "request", urls),
    ] {
        let mut command = vec![mode];
        command.extend(arguments.iter().map(String::as_str));
        let attack = Attack { name, image: "hostile", command: &[], end: End::Held };
        let definition = ground.server.register(single("attacker", &guest("hostile"), &command)).await;
        let network = json!({"awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "ENABLED"}});
        ground
            .attack_as(
                &attack,
                json!({"taskDefinition": definition, "launchType": "FARGATE", "networkConfiguration": network}),
            )
            .await;
        trap.is_untouched(name);
    }
    ground.end().await;
}

/// A task may listen where it likes on an address of its own, which takes nothing from the API.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ports_of_the_node() {
    let mut ground = Ground::new().await;
    let api = ground.server.address.port().to_string();
    let attack = Attack { name: "listen on the API's port", image: "echo", command: &[], end: End::Endless };
    ground.attack_with(&attack, single("attacker", &guest("echo"), &[&api, "udp"])).await;
    let attack =
        Attack { name: "look for the host's environment", image: "hostile", command: &["environment"], end: End::Held };
    ground.attack(&attack).await;
    ground.end().await;
}
