//! Goes out: connects, sends, looks up and fetches what its arguments name, one after the other, and prints a line for each.
//!
//! What goes wrong is part of the line, as the host's own error code says it: who may reach whom is what this is for.

mod fetch;

use std::env;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use wasip2::http::types::Method;

const USAGE: &str = "dial: steps are `connect HOST:PORT TEXT`, `send HOST:PORT TEXT`, `lookup NAME`, `get URL`, \
                     `post URL TEXT`, `put URL TEXT`, `bind PORT HOST:PORT TEXT` (send from that port), `accept PORT`, `sleep MS`; \
                     `${NAME}` in a word is that variable of the environment";

/// Longer answers are cut: a line of the log is for people.
const ANSWER_BYTES_MAX: u64 = 4096;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).map(|word| expanded(&word)).collect();
    let mut words = words.iter().map(String::as_str);
    let mut failed = words.len() == 0;
    while let Some(verb) = words.next() {
        let mut word = || words.next().unwrap_or_default();
        let (what, result) = match verb {
            "connect" => {
                let to = word();
                (format!("connect {to}"), connect(to, &unescaped(word())))
            }
            "send" => {
                let to = word();
                (format!("send {to}"), send("0.0.0.0:0", to, word()))
            }
            "bind" => {
                let (port, to) = (word(), word());
                (format!("bind {port} {to}"), send(&format!("0.0.0.0:{port}"), to, word()))
            }
            "lookup" => {
                let name = word();
                (format!("lookup {name}"), lookup(name))
            }
            "accept" => {
                let port = word();
                (format!("accept {port}"), accept(port))
            }
            "get" => {
                let url = word();
                (format!("get {url}"), fetch::fetch(url, Method::Get, None))
            }
            "post" => {
                let url = word();
                (format!("post {url}"), fetch::fetch(url, Method::Post, Some(word())))
            }
            "put" => {
                let url = word();
                (format!("put {url}"), fetch::fetch(url, Method::Put, Some(word())))
            }
            "sleep" => {
                std::thread::sleep(Duration::from_millis(word().parse().unwrap_or(0)));
                continue;
            }
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        };
        match result {
            Ok(answer) => println!("{what}: {answer}"),
            Err(why) => {
                println!("{what}: error {why}");
                failed = true;
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The word with its `${NAME}` replaced: there is no shell that could do it.
fn expanded(word: &str) -> String {
    let mut expanded = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else { break };
        expanded.push_str(before);
        expanded.push_str(&env::var(name).unwrap_or_default());
        rest = after;
    }
    expanded + rest
}

fn said(error: io::Error) -> String {
    format!("{:?}: {error}", error.kind())
}

fn unescaped(text: &str) -> String {
    text.replace("\\r", "\r").replace("\\n", "\n")
}

/// The whole answer to `text`, on one line, and between whom.
fn connect(to: &str, text: &str) -> Result<String, String> {
    let mut stream = TcpStream::connect(to).map_err(said)?;
    let (peer, local) = (stream.peer_addr().map_err(said)?, stream.local_addr().map_err(said)?);
    stream.write_all(text.as_bytes()).map_err(said)?;
    stream.shutdown(std::net::Shutdown::Write).map_err(said)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).map_err(said)?;
    let answer = String::from_utf8_lossy(&answer).replace("\r\n", " | ").replace('\n', " | ");
    Ok(format!("{answer} (from {} to {peer})", local.ip()))
}

/// Accepts one connection, reads it to its end, and sends back who it came from.
fn accept(port: &str) -> Result<String, String> {
    let listener = TcpListener::bind(format!("0.0.0.0:{port}")).map_err(said)?;
    println!("listening on {port}");
    let (mut stream, peer) = listener.accept().map_err(said)?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(said)?;
    write!(stream, "you are {}", peer.ip()).map_err(said)?;
    Ok(format!("{text} (from {})", peer.ip()))
}

fn send(from: &str, to: &str, text: &str) -> Result<String, String> {
    let socket = UdpSocket::bind(from).map_err(said)?;
    socket.send_to(text.as_bytes(), to).map_err(said)?;
    let mut answer = [0; ANSWER_BYTES_MAX as usize];
    let (length, from) = socket.recv_from(&mut answer).map_err(said)?;
    Ok(format!("{} (from {from})", String::from_utf8_lossy(&answer[..length])))
}

fn lookup(name: &str) -> Result<String, String> {
    let found = (name, 0).to_socket_addrs().map_err(said)?;
    Ok(found.map(|address| address.ip().to_string()).collect::<Vec<_>>().join(" "))
}
