//! Frames of HTTP/2, written and read byte by byte.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::raw::PATIENCE;
use super::*;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Also `ACK`.
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const PRIORITIZED: u8 = 0x20;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A field, literally, without a table and without Huffman's code.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        assert!(text.len() < 127, "a length of one byte");
        bytes.push(u8::try_from(text.len()).unwrap());
        bytes.extend(text.as_bytes());
    }
    bytes
}

pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// The header block of a request, with more fields at its end.
pub fn asking(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = block(&[(":method", method), (":scheme", "http"), (":path", path), (":authority", "a.example")]);
    bytes.extend(block(more));
    bytes
}

pub fn ask(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &asking("GET", "/", &[]))
}

/// A request whose body follows.
pub fn post(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &asking("POST", "/", more))
}

pub fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        pairs.iter().flat_map(|(key, value)| [&key.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    frame(SETTINGS, 0, 0, &payload)
}

pub fn number(kind: u8, stream: u32, number: u32) -> Vec<u8> {
    frame(kind, 0, stream, &number.to_be_bytes())
}

/// Sends, and reads until one of `wanted` has come, or something that ends a stream or the connection; what came.
pub async fn events(address: SocketAddr, sent: &[u8], wanted: &[&str]) -> Vec<String> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let mut seen = Vec::new();
    let reading = async {
        loop {
            let event = next_event(&mut reader).await;
            let is_last = ["status", "reset", "goaway", "closed"].iter().any(|end| event.starts_with(end));
            let is_wanted = wanted.contains(&event.as_str());
            seen.push(event);
            if is_last || is_wanted {
                return;
            }
        }
    };
    let writing = async {
        let _ = writer.write_all(sent).await;
        std::future::pending::<()>().await
    };
    let exchange = async {
        tokio::select! {
            () = reading => {}
            () = writing => {}
        }
    };
    if tokio::time::timeout(PATIENCE, exchange).await.is_err() {
        seen.push("silence".into());
    }
    seen
}

async fn next_event(reader: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = [0; 9];
    if reader.read_exact(&mut head).await.is_err() {
        return "closed".into();
    }
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let mut payload = vec![0; length];
    if reader.read_exact(&mut payload).await.is_err() {
        return "closed".into();
    }
    let acknowledges = head[4] & END_STREAM != 0;
    match head[3] {
        DATA => format!("data {length}"),
        HEADERS => format!("status {}", status(&payload)),
        RST_STREAM => format!("reset {}", error(&payload)),
        SETTINGS if acknowledges => "settings ack".into(),
        SETTINGS => "settings".into(),
        PING if acknowledges => format!("ping ack {}", payload[7]),
        PING => "ping".into(),
        GOAWAY => format!("goaway {}", error(&payload[4..])),
        WINDOW_UPDATE => "window update".into(),
        kind => format!("frame {kind}"),
    }
}

fn error(payload: &[u8]) -> &'static str {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    NAMES[u32::from_be_bytes(payload[..4].try_into().unwrap()) as usize]
}

/// `:status` is the first field of a response, and the first that its table of HPACK ever sees.
fn status(block: &[u8]) -> u16 {
    match block[0] {
        0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(block[0] - 0x88)],
        0x08 | 0x18 | 0x48 => {
            let length = usize::from(block[1] & 0x7f);
            let text = &block[2..2 + length];
            let digits = if block[1] & 0x80 == 0 { String::from_utf8(text.to_vec()).unwrap() } else { huffman(text) };
            digits.parse().unwrap()
        }
        other => panic!("a block that begins with {other:#x}"),
    }
}

/// Digits in HPACK's code: 0 to 2 have five bits, 3 to 9 have six.
fn huffman(bytes: &[u8]) -> String {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| (byte >> at) & 1)).collect();
    let value = |bits: &[u8]| bits.iter().fold(0u8, |value, bit| (value << 1) | bit);
    let (mut digits, mut rest) = (String::new(), &bits[..]);
    while rest.len() >= 5 && digits.len() < 3 {
        let short = value(&rest[..5]);
        let (digit, length) = if short < 3 { (short, 5) } else { (value(&rest[..6]) - 0x19 + 3, 6) };
        digits.push(char::from(b'0' + digit));
        rest = &rest[length..];
    }
    digits
}
