//! HTTP/1.1 as a load generator needs it: one kept-alive connection, a request whose bytes are ready, an answer that is
//! read whole. Less work than any client library, so that what is measured is the server beside it on the same cores.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The largest answer that is read; the API's pages of tasks are the largest there are.
const ANSWER_BYTES_MAX: usize = 16 << 20;

pub struct Connection {
    stream: TcpStream,
    /// What was received of the answer that is being read.
    buffer: Vec<u8>,
}

pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: Vec::with_capacity(4096) })
    }

    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            if let Some(head) = Head::parse(&self.buffer)? {
                break head;
            }
            self.receive().await?;
        };
        loop {
            let received = &self.buffer[head.length..];
            let body = match head.body {
                Framing::Length(length) => received.get(..length).map(<[u8]>::to_vec),
                Framing::Chunked => dechunk(received)?,
            };
            if let Some(body) = body {
                return Ok(Answer { status: head.status, body });
            }
            self.receive().await?;
        }
    }

    async fn receive(&mut self) -> io::Result<()> {
        if self.buffer.len() > ANSWER_BYTES_MAX {
            return Err(malformed("the answer is too large"));
        }
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// The bytes of a GET.
pub fn get(host: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes()
}

/// The bytes of a POST to `/`.
pub fn post(headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut request = format!("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    request.push_str(body);
    request.into_bytes()
}

enum Framing {
    Length(usize),
    Chunked,
}

struct Head {
    status: u16,
    length: usize,
    body: Framing,
}

impl Head {
    /// `None` while it is not whole.
    fn parse(bytes: &[u8]) -> io::Result<Option<Head>> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| malformed("the head is no text"))?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let status = status.ok_or_else(|| malformed("there is no status"))?;
        let mut body = Framing::Length(0);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                body = Framing::Length(value.trim().parse().map_err(|_| malformed("the length is no number"))?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                body = Framing::Chunked;
            }
        }
        Ok(Some(Head { status, length: end + 4, body }))
    }
}

/// The body, once the last chunk has arrived.
fn dechunk(mut bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&bytes[..end]).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let size = size.ok_or_else(|| malformed("a chunk has no size"))?;
        let Some(chunk) = bytes.get(end + 2..end + 2 + size + 2) else { return Ok(None) };
        if size == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(&chunk[..size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}
