//! Standard output and error of guests become lines of a log; standard input is empty, and has ended or,
//! for a program that is interactive, ends when it is asked to stop.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use crate::runtime::sandbox::container_log::ContainerLog;
use crate::runtime::spec::Stream;

/// A longer line is cut into several, as Docker's log drivers cut it.
const LINE_BYTES_MAX: usize = 16 << 10;
/// What a guest may write at once: a few lines. Writing never waits, so this bounds only one copy.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// One output of one guest. The unfinished last line is handed on when the store is dropped.
#[derive(Clone)]
pub struct LogOutput {
    lines: Arc<Mutex<Lines>>,
}

struct Lines {
    log: Arc<ContainerLog>,
    stream: Stream,
    /// The line that is not finished yet; less than `LINE_BYTES_MAX`.
    partial: Vec<u8>,
}

impl LogOutput {
    pub fn new(log: Arc<ContainerLog>, stream: Stream) -> LogOutput {
        LogOutput { lines: Arc::new(Mutex::new(Lines { log, stream, partial: Vec::new() })) }
    }
}

impl Lines {
    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(end) => {
                    self.extend(end);
                    self.finish();
                }
                None => self.extend(piece),
            }
        }
    }

    fn extend(&mut self, mut bytes: &[u8]) {
        while self.partial.len() + bytes.len() >= LINE_BYTES_MAX {
            let (now, later) = bytes.split_at(LINE_BYTES_MAX - self.partial.len());
            self.partial.extend_from_slice(now);
            bytes = later;
            // A character that the cut would split goes to the next line.
            let whole = whole_characters(&self.partial);
            let rest = self.partial.split_off(whole);
            self.finish();
            self.partial = rest;
        }
        self.partial.extend_from_slice(bytes);
    }

    fn finish(&mut self) {
        let line = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
        self.log.write(self.stream, &String::from_utf8_lossy(line));
        self.partial.clear();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.partial.is_empty() {
            self.finish();
        }
    }
}

/// How many of these bytes are whole characters, where only the last one may be cut off.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        _ => bytes.len(),
    }
}

impl IsTerminal for LogOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl OutputStream for LogOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.lines.lock().write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[async_trait]
impl Pollable for LogOutput {
    async fn ready(&mut self) {}
}

impl AsyncWrite for LogOutput {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.lines.lock().write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Nothing to read.
#[derive(Clone)]
pub enum Stdin {
    /// It has ended from the beginning.
    Ended,
    /// It ends when the container is asked to stop: what a program can wait for.
    UntilStop(CancellationToken),
}

impl Stdin {
    fn has_ended(&self) -> bool {
        match self {
            Stdin::Ended => true,
            Stdin::UntilStop(stop) => stop.is_cancelled(),
        }
    }
}

impl IsTerminal for Stdin {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Stdin {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        match self {
            Stdin::Ended => Box::new(tokio::io::empty()),
            Stdin::UntilStop(stop) => {
                Box::new(Ending { stopped: Mutex::new(Box::pin(stop.clone().cancelled_owned())) })
            }
        }
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl InputStream for Stdin {
    fn read(&mut self, _: usize) -> StreamResult<Bytes> {
        if self.has_ended() { Err(StreamError::Closed) } else { Ok(Bytes::new()) }
    }
}

#[async_trait]
impl Pollable for Stdin {
    async fn ready(&mut self) {
        if let Stdin::UntilStop(stop) = self {
            stop.cancelled().await;
        }
    }
}

/// A reader that ends with the token.
struct Ending {
    /// The lock makes it `Sync`, which wasmtime-wasi asks for; it is never contended.
    stopped: Mutex<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl AsyncRead for Ending {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stopped.lock().as_mut().poll(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TaskId;
    use crate::runtime::spec::LogSink;

    #[derive(Default)]
    struct Kept(Mutex<Vec<String>>);

    impl LogSink for Kept {
        fn write(&self, _: TaskId, _: &str, _: Stream, line: &str) {
            self.0.lock().push(line.to_owned());
        }
    }

    fn lines_of(writes: &[&[u8]]) -> Vec<String> {
        let kept = Arc::new(Kept::default());
        let output = LogOutput::new(ContainerLog::new(kept.clone(), TaskId(1), "c"), Stream::Stdout);
        for bytes in writes {
            output.lines.lock().write(bytes);
        }
        drop(output);
        std::mem::take(&mut kept.0.lock())
    }

    #[test]
    fn writes_become_lines_and_the_last_needs_no_end() {
        assert_eq!(lines_of(&[b"a\nb", b"c\r\n\n", b"d"]), ["a", "bc", "", "d"]);
        assert!(lines_of(&[b""]).is_empty());
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let text = "é".repeat(LINE_BYTES_MAX);
        let lines = lines_of(&[b"x", text.as_bytes()]);
        assert_eq!(lines.concat(), format!("x{text}"));
        assert!(lines.len() == 3 && lines.iter().all(|line| line.len() <= LINE_BYTES_MAX));
    }

    #[test]
    fn what_is_no_text_is_shown_as_such_and_bounded() {
        let lines = lines_of(&[&[0xff; 3 * LINE_BYTES_MAX]]);
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.chars().all(|c| c == '\u{fffd}')));
    }

    #[tokio::test]
    async fn standard_input_ends_at_the_stop() {
        let stop = CancellationToken::new();
        let mut stdin = Stdin::UntilStop(stop.clone());
        assert!(stdin.read(1).unwrap().is_empty());
        stop.cancel();
        stdin.ready().await;
        assert!(matches!(stdin.read(1), Err(StreamError::Closed)));
    }
}
