//! A name server that lies: the name is harmless when it is looked at, and this machine when it is used.

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

use super::ground::{Attack, End, Ground};
use crate::e2e::definitions::{guest, single};
use crate::e2e::server::Server;

/// Answered in turn: outside, then everything that a task must not reach.
fn answers() -> Vec<Ipv4Addr> {
    ["192.0.2.1", "127.0.0.1", "169.254.169.254", "127.0.0.53", "0.0.0.0", "127.64.0.0"]
        .map(|ip| ip.parse().unwrap())
        .to_vec()
}

/// How often each name was asked for.
type Asked = Arc<Mutex<HashMap<Vec<u8>, usize>>>;

/// Serves until the process ends. Counts the questions for each name.
fn lying_name_server() -> (SocketAddr, Asked) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let asked = Asked::default();
    let counts = Arc::clone(&asked);
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            if let Some(answer) = answer(&buffer[..length], &counts) {
                let _ = socket.send_to(&answer, peer);
            }
        }
    });
    (address, asked)
}

/// The question with one answer that may not be kept (a time to live of zero), or none for what is not an A record.
fn answer(question: &[u8], counts: &Mutex<HashMap<Vec<u8>, usize>>) -> Option<Vec<u8>> {
    let name_end = 12 + question.get(12..)?.iter().position(|byte| *byte == 0)? + 1;
    let (name, kind) = (question.get(12..name_end)?.to_ascii_lowercase(), question.get(name_end..name_end + 2)?);
    let is_address = kind == [0, 1];
    let mut answer = question.get(..2)?.to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
    answer.extend(question.get(12..name_end + 4)?);
    if is_address {
        let mut counts = counts.lock().unwrap();
        let count = counts.entry(name).or_default();
        let ip = answers()[*count % answers().len()];
        *count += 1;
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(ip.octets());
    }
    Some(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_changes_its_mind() {
    let (name_server, asked) = lying_name_server();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    let settings = json!({"network": {"outside": "always", "dnsServers": [name_server.to_string()]}});
    fs::write(&config, settings.to_string()).unwrap();
    let mut ground = Ground::of(Server::start_with(&["--config", config.to_str().unwrap()]).await).await;
    let trap = TcpListener::bind("0.0.0.0:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let port = trap.local_addr().unwrap().port();
    // Each URL twice as often as there are lies, for whoever looks twice.
    let rounds = 2 * answers().len();
    let urls: Vec<String> = (0..rounds).map(|_| format!("http://rebind.hostile.example:{port}/")).collect();
    let api: Vec<String> =
        (0..rounds).map(|_| format!("http://again.hostile.example:{}/", ground.server.address.port())).collect();
    for (name, mode, arguments) in [
        ("a name that changes, over wasi:http", "request", [urls, api].concat()),
        ("a name that changes, over sockets", "names", vec![String::from("third.hostile.example"); rounds]),
    ] {
        let mut command = vec![mode];
        command.extend(arguments.iter().map(String::as_str));
        let attack = Attack { name, image: "hostile", command: &[], end: End::Held };
        ground.attack_with(&attack, single("attacker", &guest("hostile"), &command)).await;
        assert!(trap.accept().is_err(), "{name} reached a service of this machine");
    }
    let asked = asked.lock().unwrap().len();
    assert_eq!(asked, 3, "the lies were heard");
    ground.end().await;
}
