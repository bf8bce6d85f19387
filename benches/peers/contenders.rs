//! Who is measured: our server, and the peers that are there, each a process of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use serde_json::json;
use tokio::process::{Child, Command};

use crate::support::Failure;
use crate::support::server::{Server, definition, guest_file, until_answers};
use crate::support::wire::get;

/// Two cores for the handler's task, so that its cap never throttles on the machines that this is compared on.
const TASK_CPU_UNITS: &str = "2048";
const TASK_MEMORY_MIB: &str = "4096";
/// Requests that a reused instance answers, in the peers that count them.
const REUSE: &str = "1000";
const PATH: &str = "/plain";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Wasmtime,
    Bare,
    Fresh,
    WasmtimeReuse,
    BareReuse,
    Kept,
    NginxProxy,
    NginxStatic,
    Hyper,
    NginxTcp,
    Tcp,
}

pub struct Contender {
    pub kind: Kind,
    pub name: &'static str,
    pub address: SocketAddr,
    pub request: Arc<[u8]>,
    pub process: u32,
}

/// All of them. They end when this is dropped.
pub struct Field {
    pub contenders: Vec<Contender>,
    server: Server,
    _children: Vec<Child>,
    _workers: Option<NginxWorkers>,
}

/// An nginx with a master and workers, which end when they are told to, and not with their master.
struct NginxWorkers {
    nginx: PathBuf,
    folder: PathBuf,
}

impl Drop for NginxWorkers {
    fn drop(&mut self) {
        let mut command = std::process::Command::new(&self.nginx);
        command.arg("-p").arg(&self.folder).args(["-c", "nginx.conf", "-e", "error.log", "-s", "stop"]);
        if let Err(error) = command.status() {
            eprintln!("nginx was not told to stop: {error}");
        }
    }
}

impl Field {
    pub async fn end(self) -> Result<(), Failure> {
        self.server.kill().await
    }
}

pub async fn start(home: &Path) -> Result<Field, Failure> {
    let mut peers = Peers { contenders: Vec::new(), children: Vec::new() };
    match on_path("wasmtime") {
        Some(wasmtime) => {
            peers.wasmtime(&wasmtime, Kind::Wasmtime, "`wasmtime serve`", None).await?;
            peers.wasmtime(&wasmtime, Kind::WasmtimeReuse, "`wasmtime serve`, reuse", Some(REUSE)).await?;
        }
        None => println!("there is no `wasmtime` on PATH: `bare` stands in its place"),
    }
    peers.own(Kind::Bare, "`bare`", &["--peer-bare"]).await?;
    peers.own(Kind::BareReuse, "`bare`, reuse", &["--peer-bare", REUSE]).await?;
    let plain = peers.own(Kind::Hyper, "hyper, no guest", &["--peer-hyper"]).await?;
    let mut workers = None;
    match on_path("nginx") {
        Some(nginx) => {
            peers.nginx(&nginx, home).await?;
            workers = Some(peers.nginx_before(plain, &nginx, home).await?);
        }
        None => println!("there is no `nginx` on PATH"),
    }

    let server = Server::start(home).await?;
    let mut api = server.api().await?;
    let mut kept = definition("kept", "hello", &[], TASK_CPU_UNITS, TASK_MEMORY_MIB);
    kept["containerDefinitions"][0]["dockerLabels"] = json!({"coracle.instances.keep": "true"});
    let fresh = definition("fresh", "hello", &[], TASK_CPU_UNITS, TASK_MEMORY_MIB);
    for (kind, name, definition) in [
        (Kind::Fresh, "coracle, fresh, through the load balancer", fresh),
        (Kind::Kept, "coracle, kept, through the load balancer", kept),
    ] {
        let family = definition["family"].as_str().unwrap_or_default().to_owned();
        let balanced = api.balance(&family, &definition).await?;
        let request = get(&balanced.host, PATH).into();
        peers.contenders.push(Contender { kind, name, address: balanced.address, request, process: server.process });
    }
    let balanced = api.balance_address("tcp", plain).await?;
    let request = get(&balanced.host, PATH).into();
    let name = "coracle, before the hyper server";
    peers.contenders.push(Contender {
        kind: Kind::Tcp,
        name,
        address: balanced.address,
        request,
        process: server.process,
    });
    peers.contenders.sort_by_key(|contender| contender.kind);
    Ok(Field { contenders: peers.contenders, server, _children: peers.children, _workers: workers })
}

struct Peers {
    contenders: Vec<Contender>,
    children: Vec<Child>,
}

impl Peers {
    /// Starts one and waits until it answers.
    async fn add(
        &mut self,
        kind: Kind,
        name: &'static str,
        address: SocketAddr,
        mut command: Command,
    ) -> Result<(), Failure> {
        command.env_remove("RUST_BACKTRACE").kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn()?;
        let process = child.id().ok_or("a peer has ended")?;
        self.children.push(child);
        until_answers(address, "localhost", PATH).await?;
        let request = get("localhost", PATH).into();
        self.contenders.push(Contender { kind, name, address, request, process });
        Ok(())
    }

    /// `-S cli`, because the guest reads its environment.
    async fn wasmtime(
        &mut self,
        wasmtime: &Path,
        kind: Kind,
        name: &'static str,
        reuse: Option<&str>,
    ) -> Result<(), Failure> {
        let address = free_address()?;
        let mut command = Command::new(wasmtime);
        command.args(["serve", "-S", "cli", "--addr", &address.to_string()]);
        if let Some(reuse) = reuse {
            command.args(["--max-instance-reuse-count", reuse]);
        }
        command.arg(guest_file("hello"));
        self.add(kind, name, address, command).await
    }

    async fn own(&mut self, kind: Kind, name: &'static str, arguments: &[&str]) -> Result<SocketAddr, Failure> {
        let address = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).env("PEER_ADDRESS", address.to_string());
        self.add(kind, name, address, command).await?;
        Ok(address)
    }

    /// Another nginx, with as many workers as we have threads, proxying to `target` over kept connections.
    async fn nginx_before(&mut self, target: SocketAddr, nginx: &Path, home: &Path) -> Result<NginxWorkers, Failure> {
        let address = free_address()?;
        let folder = home.join("nginx-workers");
        fs::create_dir_all(&folder)?;
        let workers = std::thread::available_parallelism()?;
        let configuration = format!(
            "daemon off; worker_processes {workers}; pid nginx.pid; error_log error.log;
             events {{ worker_connections 512; }}
             http {{
               access_log off; keepalive_requests 1000000000;
               client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
               upstream target {{ server {target}; keepalive 64; keepalive_requests 1000000000; }}
               server {{ listen {address}; location / {{ proxy_pass http://target; proxy_http_version 1.1;
                 proxy_set_header Connection ''; proxy_set_header Host $host;
                 proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}
             }}"
        );
        fs::write(folder.join("nginx.conf"), configuration)?;
        let mut command = Command::new(nginx);
        command.arg("-p").arg(&folder).args(["-c", "nginx.conf", "-e", "error.log"]);
        let workers = NginxWorkers { nginx: nginx.to_owned(), folder };
        self.add(Kind::NginxTcp, "nginx, before the hyper server", address, command).await?;
        Ok(workers)
    }

    /// One nginx, twice: serving a fixed answer itself, and proxying to that over kept connections.
    async fn nginx(&mut self, nginx: &Path, home: &Path) -> Result<(), Failure> {
        let (fixed, proxy) = (free_address()?, free_address()?);
        let folder = home.join("nginx");
        fs::create_dir_all(&folder)?;
        let configuration = format!(
            "daemon off; master_process off; pid nginx.pid; error_log error.log;
             events {{ worker_connections 512; }}
             http {{
               access_log off; keepalive_requests 1000000000;
               client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
               upstream fixed {{ server {fixed}; keepalive 64; }}
               server {{ listen {fixed}; location / {{ return 200 'Hello from nginx\\n'; }} }}
               server {{ listen {proxy}; location / {{ proxy_pass http://fixed; proxy_http_version 1.1;
                 proxy_set_header Connection ''; }} }}
             }}"
        );
        fs::write(folder.join("nginx.conf"), configuration)?;
        let mut command = Command::new(nginx);
        command.arg("-p").arg(&folder).args(["-c", "nginx.conf", "-e", "error.log"]);
        self.add(Kind::NginxProxy, "nginx, proxying", proxy, command).await?;
        let process = self.contenders.last().map_or(0, |proxying| proxying.process);
        let request = get("localhost", PATH).into();
        self.contenders.push(Contender {
            kind: Kind::NginxStatic,
            name: "nginx, fixed answer",
            address: fixed,
            request,
            process,
        });
        Ok(())
    }
}

/// A port that is free now: for peers that cannot say which one they took.
fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|file| file.is_file())
}
