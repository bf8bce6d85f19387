//! Real guests on real sockets. The finer points of each host are tested beside it, by calling its functions.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::p2::bindings::Command;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxView};

use super::*;
use crate::model::TaskId;
use crate::network::{Endpoint, Protocol, Table};

pub(super) struct Data {
    wasi: WasiCtx,
    table: ResourceTable,
    network: TaskNetwork,
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl SocketsView for Data {
    fn network(&mut self) -> &mut TaskNetwork {
        &mut self.network
    }
}

pub(super) fn engine_p2() -> Engine {
    let mut config = Config::new();
    config.concurrency_support(false);
    Engine::new(&config).unwrap()
}

pub(super) fn store(engine: &Engine, network: TaskNetwork, builder: &mut WasiCtxBuilder) -> Store<Data> {
    configure(&network, builder);
    Store::new(engine, Data { wasi: builder.build(), table: ResourceTable::new(), network })
}

/// A table whose addresses no other test binary on this machine is likely to use, and no two tests of this one.
pub(super) fn table() -> Table {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let test = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Table::starting_at(std::process::id().wrapping_mul(16_384).wrapping_add(test * 64))
}

pub(super) fn task(table: &Table, id: u128, mapped: &[(u16, Protocol)]) -> TaskNetwork {
    TaskNetwork::new(table.attach(TaskId(id)).unwrap(), mapped.iter().copied())
}

struct Guests {
    engine: Engine,
    linker: Linker<Data>,
}

impl Guests {
    fn new() -> Guests {
        let engine = engine_p2();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        shadow_p2(&mut linker).unwrap();
        Guests { engine, linker }
    }

    /// Starts a program; the handle gives what it printed, and whether it succeeded.
    async fn start(&self, network: TaskNetwork, image: &str, arguments: &[&str]) -> JoinHandle<(bool, String)> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-examples/prebuilt").join(image);
        let component = Component::from_file(&self.engine, path).unwrap();
        let out = MemoryOutputPipe::new(1 << 16);
        let mut builder = WasiCtxBuilder::new();
        builder.stdout(out.clone()).stderr(out.clone()).arg(image).args(arguments);
        let mut store = store(&self.engine, network, &mut builder);
        let command = Command::instantiate_async(&mut store, &component, &self.linker).await.unwrap();
        tokio::spawn(async move {
            let ended = command.wasi_cli_run().call_run(&mut store).await;
            (matches!(ended, Ok(Ok(()))), String::from_utf8(out.contents().to_vec()).unwrap())
        })
    }
}

/// Waits until a program of the task listens.
async fn listening(network: &TaskNetwork, protocol: Protocol) -> Binding {
    let mut bindings = network.bindings();
    let bindings = bindings.wait_for(|all| all.iter().any(|binding| binding.protocol == protocol)).await.unwrap();
    *bindings.iter().find(|binding| binding.protocol == protocol).unwrap()
}

async fn echoed(at: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(at).await?;
    stream.write_all(b"ahoy").await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn two_tasks_listen_on_the_same_port_at_once() {
    let (guests, table) = (Guests::new(), table());
    let (a, b) = (task(&table, 1, &[(7, Protocol::Tcp)]), task(&table, 2, &[(7, Protocol::Tcp)]));
    let first = guests.start(a.another(), "echo.wasm", &["7"]).await;
    let _second = guests.start(b.another(), "echo.wasm", &["7"]).await;
    let (at_a, at_b) = (listening(&a, Protocol::Tcp).await, listening(&b, Protocol::Tcp).await);
    assert_eq!((at_a.port, at_b.port, at_a.is_mapped), (7, 7, true));
    assert_eq!(table.resolve(a.address().ip(), 7, Protocol::Tcp), Some(at_a.real));
    assert_eq!(table.resolve(b.address().ip(), 7, Protocol::Tcp), Some(at_b.real));
    assert_eq!(at_a.real.ip(), a.address().ip());
    assert_ne!(at_a.real, at_b.real);
    assert_eq!(echoed(at_a.real).await.unwrap(), "ahoy");
    assert_eq!(echoed(at_b.real).await.unwrap(), "ahoy");

    // The end of one takes its port along, and nothing else.
    first.abort();
    assert!(first.await.is_err());
    assert_eq!(table.resolve(a.address().ip(), 7, Protocol::Tcp), None);
    assert!(a.bindings().borrow().is_empty());
    assert!(echoed(at_a.real).await.is_err());
    assert_eq!(echoed(at_b.real).await.unwrap(), "ahoy");
}

#[tokio::test]
async fn localhost_is_the_task_and_nobody_else() {
    let (guests, table) = (Guests::new(), table());
    let (a, b) = (task(&table, 1, &[]), task(&table, 2, &[]));
    let _echo = guests.start(a.another(), "echo.wasm", &["7"]).await;
    listening(&a, Protocol::Tcp).await;
    let connect = async |network: &TaskNetwork, to: &str| {
        guests.start(network.another(), "hog.wasm", &["connect", to, "3"]).await.await.unwrap()
    };
    for to in ["127.0.0.1:7", "localhost:7", "[::1]:7", &format!("{}:7", a.address().ip())] {
        assert_eq!(connect(&a, to).await, (true, "connected 3 of 3\n".to_owned()), "{to}");
    }
    // The other task's localhost is empty, and there is no port mapping that would let it in.
    let (connected, said) = connect(&b, "127.0.0.1:7").await;
    assert!(!connected && said.contains("refused"), "{said}");
    let (connected, said) = connect(&b, &format!("{}:7", a.address().ip())).await;
    assert!(!connected && said.contains("ermission denied"), "{said}");
}

#[tokio::test]
async fn the_machine_is_out_of_reach() {
    let (guests, table) = (Guests::new(), table());
    let a = task(&table, 1, &[]);
    let service = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = service.local_addr().unwrap().port();
    for to in [format!("127.0.0.1:{port}"), "169.254.169.254:80".into(), "192.0.2.1:80".into(), "example.com:80".into()]
    {
        let (connected, said) = guests.start(a.another(), "hog.wasm", &["connect", &to, "1"]).await.await.unwrap();
        assert!(!connected && said.starts_with("connected 0 of 1"), "{to}: {said}");
    }
    // Nothing ever arrived at the service: its first connection is ours.
    let ours = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    assert_eq!(service.accept().await.unwrap().1, ours.local_addr().unwrap());
}

#[tokio::test]
async fn a_port_without_a_mapping_is_closed_to_the_outside() {
    let (guests, table) = (Guests::new(), table());
    let a = task(&table, 1, &[(8, Protocol::Tcp)]);
    let _closed = guests.start(a.another(), "echo.wasm", &["7"]).await;
    let closed = listening(&a, Protocol::Tcp).await;
    let _open = guests.start(a.another(), "echo.wasm", &["8"]).await;
    let mut bindings = a.bindings();
    let open = bindings.wait_for(|all| all.len() == 2).await.unwrap()[1];
    assert!(!closed.is_mapped && open.is_mapped);
    assert_eq!(echoed(open.real).await.unwrap(), "ahoy");
    assert_ne!(echoed(closed.real).await.unwrap_or_default(), "ahoy");
}

#[tokio::test]
async fn datagrams_come_back_to_who_sent_them() {
    let (guests, table) = (Guests::new(), table());
    let a = task(&table, 1, &[(7, Protocol::Udp)]);
    let _echo = guests.start(a.another(), "echo.wasm", &["7", "udp"]).await;
    let at = listening(&a, Protocol::Udp).await;
    assert_eq!((at.port, at.is_mapped), (7, true));
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    client.send_to(b"ahoy", at.real).await.unwrap();
    let mut answer = [0; 16];
    let (length, from) = client.recv_from(&mut answer).await.unwrap();
    assert_eq!((&answer[..length], from), (&b"ahoy"[..], at.real));
}

#[tokio::test]
async fn the_quota_of_sockets_holds() {
    let (guests, table) = (Guests::new(), table());
    let a = task(&table, 1, &[]);
    let held: Vec<_> = (0..SOCKETS_MAX - 10).map(|_| a.reserve().unwrap()).collect();
    // A service of another task that accepts: the kernel does, for a backlog of ten.
    let b = table.attach(TaskId(2)).unwrap();
    let service = TcpListener::bind((b.ip(), 0)).await.unwrap();
    let endpoint = Endpoint { real: service.local_addr().unwrap(), is_mapped: true };
    let _published = table.publish(&b, 80, Protocol::Tcp, endpoint).unwrap();
    let to = format!("{}:80", b.ip());
    let (connected, said) = guests.start(a.another(), "hog.wasm", &["connect", &to, "20"]).await.await.unwrap();
    assert!(!connected && said.starts_with("connected 10 of 20"), "{said}");
    // What the guest held went with its store.
    drop(held);
    let all: Vec<_> = (0..SOCKETS_MAX).map(|_| a.reserve().unwrap()).collect();
    assert!(a.reserve().is_err());
    drop(all);
}

#[tokio::test]
async fn a_container_without_a_network_makes_no_socket() {
    let (guests, table) = (Guests::new(), table());
    let a = task(&table, 1, &[(7, Protocol::Tcp)]);
    let (ended_well, said) = guests.start(a.another().closed_off(), "echo.wasm", &["7"]).await.await.unwrap();
    assert!(!ended_well && !said.is_empty(), "{said}");
    // Nor do other guests of the same container; its task's other containers do.
    let shut = a.another().closed_off().another();
    assert!(shut.reserve().is_err() && shut.lookup("localhost").is_none());
    assert!(a.reserve().is_ok() && a.lookup("localhost").is_some());
}

#[test]
fn the_functions_of_wasi_0_3_are_replaced_not_added() {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    let engine = Engine::new(&config).unwrap();
    let mut linker = Linker::<Data>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
    wasmtime_wasi::p3::add_to_linker(&mut linker).unwrap();
    // Before ours are added the names are taken: they are those of wasmtime-wasi.
    let mut types = linker.instance("wasi:sockets/types@0.3.0").unwrap();
    for name in ["[static]tcp-socket.create", "[method]tcp-socket.connect", "[method]udp-socket.send"] {
        assert!(types.func_wrap(name, |_, (): ()| Ok(())).is_err(), "{name}");
    }
    shadow_p2(&mut linker).unwrap();
    shadow_p3(&mut linker).unwrap();
}
