//! Classes of attackers.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::Failure;
use crate::support::server::{Api, Server, definition, guest};
use crate::support::wire::{Connection, get};

/// Attackers of one class at once: twice the cores of a small machine.
const TASKS: usize = 4;
/// Connections of clients that attack.
const CONNECTIONS: usize = 200;
/// Functions of the bomb: a compiler of two cores is busy with them for longer than a window.
const BOMB_FUNCTIONS: u32 = 300_000;
/// Between two looks at a task that is to end.
const LOOK_PERIOD: Duration = Duration::from_millis(50);

pub struct Class {
    pub name: &'static str,
    way: Way,
}

enum Way {
    /// Tasks that do not end by themselves.
    Endless(&'static str, &'static [&'static str]),
    /// Tasks that end, and are run again.
    Again(&'static str, &'static [&'static str]),
    /// Images that take long to compile, another one each time.
    Bombs,
    /// Connections that ask a handler for this, and wait.
    Waiting(&'static str),
    /// Connections that ask a handler for this, again and again.
    Asking(&'static str),
}

const fn class(name: &'static str, way: Way) -> Class {
    Class { name, way }
}

pub const CLASSES: &[Class] = &[
    class("4 that spin", Way::Endless("hog", &["spin"])),
    class("4 that copy 256 MiB in one instruction, again and again", Way::Endless("attacks/bulk-spin", &[])),
    class("4 that spin while they are instantiated", Way::Endless("attacks/spin-at-start", &[])),
    class("4 that flood the log", Way::Endless("hostile", &["flood", "3600"])),
    class("4 that grow until they are ended, again and again", Way::Again("hog", &["grow-forever"])),
    class(
        "4 that make handles until they are ended, again and again",
        Way::Again("hostile", &["fork", "bodies", "100000"]),
    ),
    class("4 that open sockets, again and again", Way::Again("hostile", &["fork", "tcp", "100000"])),
    class("4 that poll 30,000 timers, again and again", Way::Again("hostile", &["poll", "30000"])),
    class("4 that trap, again and again", Way::Again("attacks/trap-at-start", &[])),
    class("images that take a minute to compile", Way::Bombs),
    class("200 requests that never end", Way::Waiting("/late")),
    class("200 answers that nobody reads", Way::Waiting("/endless")),
    class("20 requests that spin", Way::Waiting("/spin")),
    class("8 clients whose requests trap", Way::Asking("/trap")),
    class("8 clients whose requests use up their memory", Way::Asking("/grow/3000")),
];

/// Goes on until it is ended, or dropped.
pub struct Attack(JoinSet<Result<(), Failure>>);

impl Attack {
    pub fn end(mut self) {
        self.0.abort_all();
    }
}

impl Class {
    pub async fn begin(&self, server: &Server, home: &Path) -> Result<Attack, Failure> {
        let mut api = server.api().await?;
        let mut attack = JoinSet::new();
        match self.way {
            Way::Endless(image, command) => {
                let registered = api.register(&attacker(&guest(image), command)).await?;
                for _ in 0..TASKS {
                    let task = api.run(&registered, 1).await?;
                    api.until_running(&task).await?;
                }
            }
            Way::Again(image, command) => {
                let registered = api.register(&attacker(&guest(image), command)).await?;
                for _ in 0..TASKS {
                    attack.spawn(again(server.api().await?, registered.clone()));
                }
            }
            Way::Bombs => {
                for number in 0..TASKS {
                    let file = home.join(format!("bomb-{number}.wasm"));
                    std::fs::write(&file, bomb(u8::try_from(number)?))?;
                    let registered = api.register(&attacker(&format!("file://{}", file.display()), &[])).await?;
                    api.run(&registered, 1).await?;
                }
            }
            Way::Waiting(path) => {
                let balanced =
                    api.balance("attacker", &definition("attacker", "hostile-handler", &[], "1024", "2048")).await?;
                let count = if path == "/spin" { 20 } else { CONNECTIONS };
                for _ in 0..count {
                    attack.spawn(wait(balanced.address, get(&balanced.host, path)));
                }
            }
            Way::Asking(path) => {
                let balanced =
                    api.balance("attacker", &definition("attacker", "hostile-handler", &[], "1024", "2048")).await?;
                for _ in 0..2 * TASKS {
                    attack.spawn(ask(balanced.address, get(&balanced.host, path)));
                }
            }
        }
        Ok(Attack(attack))
    }
}

fn attacker(image: &str, command: &[&str]) -> Value {
    json!({
        "family": "attacker", "requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "2048", "memory": "4096",
        "containerDefinitions": [{"name": "web", "image": image, "command": command, "stopTimeout": 2}],
    })
}

async fn again(mut api: Api, registered: String) -> Result<(), Failure> {
    loop {
        let task = api.run(&registered, 1).await?;
        loop {
            let described = api.ecs("DescribeTasks", json!({"tasks": [task]})).await?;
            if described["tasks"][0]["lastStatus"] == "STOPPED" {
                break;
            }
            sleep(LOOK_PERIOD).await;
        }
    }
}

async fn wait(address: SocketAddr, request: Vec<u8>) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&request).await?;
    std::future::pending::<()>().await;
    drop(stream);
    Ok(())
}

async fn ask(address: SocketAddr, request: Vec<u8>) -> Result<(), Failure> {
    loop {
        let mut connection = Connection::open(address).await?;
        // However it is answered.
        while connection.exchange(&request).await.is_ok() {}
    }
}

/// A module of WASI 0.1 with so many functions of twenty additions; `number` makes its digest another one.
fn bomb(number: u8) -> Vec<u8> {
    let count = leb(BOMB_FUNCTIONS);
    let declared = [count.clone(), vec![0; BOMB_FUNCTIONS as usize]].concat();
    let body = [&[0][..], &[0x41, number, 0x1a].repeat(20), &[0x0b]].concat();
    let one = [leb(u32::try_from(body.len()).unwrap_or_default()), body].concat();
    let code = [count, one.repeat(BOMB_FUNCTIONS as usize)].concat();
    let exports = [&[1, 6][..], b"_start", &[0, 0]].concat();
    let mut bytes = b"\0asm\x01\0\0\0".to_vec();
    for (id, content) in [(1, vec![1, 0x60, 0, 0]), (3, declared), (7, exports), (10, code)] {
        bytes.push(id);
        bytes.extend(leb(u32::try_from(content.len()).unwrap_or_default()));
        bytes.extend(content);
    }
    bytes
}

/// As LEB128.
fn leb(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
