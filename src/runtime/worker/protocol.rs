//! What a server and its worker say to each other about the task: frames of JSON over a Unix socket.
//!
//! A frame is its length (four bytes, big-endian) and one message. The worker is not trusted: it may have been taken over
//! by its guest. So frames are bounded before they are read, and nothing that it says is about any task but its own.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::model::Usage;
use crate::runtime::spec::{Report, Stream};

/// A report of ten containers, or one line of a log at its longest, with room for JSON's escapes.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// What the first byte on each connection of a worker says that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Frames of [`ToWorker`] and [`FromWorker`].
    Control,
    /// HTTP/2: the server is the client, and calls the task's handlers.
    Handlers,
    /// HTTP/2: the worker is the client, and asks the task endpoint.
    Endpoint,
    /// Questions to the node's table of addresses.
    Table,
}

impl Purpose {
    pub const ALL: [Purpose; 4] = [Purpose::Control, Purpose::Handlers, Purpose::Endpoint, Purpose::Table];

    pub fn byte(self) -> u8 {
        match self {
            Purpose::Control => b'c',
            Purpose::Handlers => b'h',
            Purpose::Endpoint => b'e',
            Purpose::Table => b't',
        }
    }

    pub fn of(byte: u8) -> Option<Purpose> {
        Purpose::ALL.into_iter().find(|purpose| purpose.byte() == byte)
    }
}

/// The server's messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToWorker<Order> {
    /// The first, and only once.
    Run(Order),
    StartContainer(String),
    StopContainer(String),
    Stop,
    Kill,
    Finish,
}

/// The worker's messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromWorker {
    /// It is locked down, and starts the task.
    Ready,
    Report(Report),
    Line {
        container: String,
        stream: Stream,
        line: String,
    },
    Used(Used),
    /// It cannot run the task at all.
    Failed(String),
}

/// What a task and each of its containers have used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Used {
    pub task: Usage,
    pub containers: BTreeMap<String, Usage>,
}

/// How often a worker tells what its task has used.
pub const USED_PERIOD: Duration = Duration::from_millis(250);

/// The next message; `None` at the end of the connection.
pub async fn read<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<T>> {
    let length = match from.read_u32().await {
        Ok(length) => usize::try_from(length).unwrap_or(usize::MAX),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other(format!("a message of {length} bytes, of at most {FRAME_BYTES_MAX}")));
    }
    let mut frame = vec![0; length];
    from.read_exact(&mut frame).await?;
    serde_json::from_slice(&frame).map(Some).map_err(io::Error::other)
}

pub async fn write(to: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> io::Result<()> {
    to.write_all(&frame(message)?).await
}

/// A message as it is sent.
pub fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message).map_err(io::Error::other)?;
    let length = frame.len() - 4;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other(format!("a message of {length} bytes, of at most {FRAME_BYTES_MAX}")));
    }
    let prefix = u32::try_from(length).map_err(io::Error::other)?.to_be_bytes();
    frame[..4].copy_from_slice(&prefix);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_come_as_they_were_sent() {
        let (mut here, mut there) = tokio::io::duplex(64);
        let sending = tokio::spawn(async move {
            write(&mut here, &ToWorker::<u8>::StartContainer(String::from("web"))).await.unwrap();
            write(&mut here, &ToWorker::Run(7)).await.unwrap();
        });
        let first: ToWorker<u8> = read(&mut there).await.unwrap().unwrap();
        assert!(matches!(first, ToWorker::StartContainer(name) if name == "web"));
        let second: ToWorker<u8> = read(&mut there).await.unwrap().unwrap();
        assert!(matches!(second, ToWorker::Run(7)));
        sending.await.unwrap();
        assert!(read::<ToWorker<u8>>(&mut there).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_frame_too_large_is_refused_before_it_is_read() {
        let (mut here, mut there) = tokio::io::duplex(64);
        here.write_u32(u32::MAX).await.unwrap();
        let error = read::<ToWorker<u8>>(&mut there).await.unwrap_err();
        assert!(error.to_string().contains("4294967295 bytes"), "{error}");
    }
}
