//! What a server holds: by the kernel's account, and by its own.

use std::fs;

use crate::e2e::http::{get, once};
use crate::e2e::server::Server;

/// One look at a server.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub resident_bytes: u64,
    pub threads: u64,
    /// Open descriptors, sockets among them.
    pub descriptors: u64,
    pub sockets: u64,
    /// Instances of guests, by the runtime's own count.
    pub instances: u64,
    /// Memory of guests, by the runtime's own count.
    pub held_bytes: u64,
    /// Other processes that it has begun and that have not ended: compilers.
    pub children: u64,
}

impl Reading {
    pub async fn of(server: &Server) -> Reading {
        let process = server.process_id();
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let links: Vec<String> = fs::read_dir(format!("/proc/{process}/fd"))
            .unwrap()
            .filter_map(|entry| Some(fs::read_link(entry.ok()?.path()).ok()?.to_string_lossy().into_owned()))
            .collect();
        let node = once(server.address, get("localhost", "/_coracle/node")).await.json();
        Reading {
            resident_bytes: number(&status, "VmRSS:") << 10,
            threads: number(&status, "Threads:"),
            descriptors: links.len() as u64,
            sockets: links.iter().filter(|link| link.starts_with("socket:")).count() as u64,
            instances: node["instances"].as_u64().unwrap(),
            held_bytes: node["memoryHeldBytes"].as_u64().unwrap(),
            children: children_of(process),
        }
    }
}

fn number(status: &str, name: &str) -> u64 {
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn children_of(process: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of_thread = |path: std::path::PathBuf| fs::read_to_string(path.join("children")).unwrap_or_default();
    threads.flatten().map(|thread| of_thread(thread.path()).split_whitespace().count() as u64).sum()
}
