//! Standard output and error of guests become lines of a log; standard input is empty, and has ended or,
//! for a program that is interactive, ends when it is asked to stop.

use std::future::poll_fn;
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
/// What a guest may write at once: a few lines. Writing never waits for anybody, so this bounds only one copy.
const WRITE_BYTES_MAX: usize = 64 << 10;
/// Lines and bytes after which a writer lets others have their turn: some 0.2 ms of the host's work. Only compiled code
/// uses fuel, and a guest that does nothing but print uses so little that its turn would take a second (measured: the
/// neighbours of four such guests waited for 0.7 s on average).
const LINES_PER_TURN: usize = 128;
const BYTES_PER_TURN: usize = 256 << 10;

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
    /// Since others had their turn.
    lines_written: usize,
    bytes_written: usize,
    /// Written after the turn was over.
    bytes_beyond: usize,
}

impl LogOutput {
    pub fn new(log: Arc<ContainerLog>, stream: Stream) -> LogOutput {
        let (partial, lines_written, bytes_written, bytes_beyond) = (Vec::new(), 0, 0, 0);
        let lines = Lines { log, stream, partial, lines_written, bytes_written, bytes_beyond };
        LogOutput { lines: Arc::new(Mutex::new(lines)) }
    }
}

impl Lines {
    fn turn_is_over(&self) -> bool {
        self.lines_written >= LINES_PER_TURN || self.bytes_written >= BYTES_PER_TURN
    }

    fn begin_turn(&mut self) {
        (self.lines_written, self.bytes_written, self.bytes_beyond) = (0, 0, 0);
    }

    fn write(&mut self, bytes: &[u8]) {
        self.bytes_written += bytes.len();
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
        self.lines_written += 1;
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
        let mut lines = self.lines.lock();
        if lines.turn_is_over() {
            // The rest of what it was permitted before is still its to write.
            lines.bytes_beyond += bytes.len();
        }
        if bytes.len() > WRITE_BYTES_MAX || lines.bytes_beyond > WRITE_BYTES_MAX {
            return Err(StreamError::trap("it writes more than it was permitted to"));
        }
        lines.write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(if self.lines.lock().turn_is_over() { 0 } else { WRITE_BYTES_MAX })
    }
}

#[async_trait]
impl Pollable for LogOutput {
    async fn ready(&mut self) {
        poll_fn(|cx| self.poll_turn(cx)).await;
    }
}

impl LogOutput {
    /// Pending once where the turn is over: as at the end of a slice of fuel, the guest goes to the end of the queue.
    fn poll_turn(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut lines = self.lines.lock();
        if !lines.turn_is_over() {
            return Poll::Ready(());
        }
        lines.begin_turn();
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncWrite for LogOutput {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.poll_turn(cx).is_pending() {
            return Poll::Pending;
        }
        let bytes = &bytes[..bytes.len().min(WRITE_BYTES_MAX)];
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
    async fn who_prints_without_end_gives_others_their_turn() {
        let log = ContainerLog::new(Arc::new(Kept::default()), TaskId(1), "c");
        let mut output = LogOutput::new(log, Stream::Stdout);
        for _ in 0..LINES_PER_TURN {
            assert!(futures_util::poll!(output.ready()).is_ready());
            assert_eq!(output.check_write().unwrap(), WRITE_BYTES_MAX);
            output.write(Bytes::from_static(b"line\n")).unwrap();
        }
        assert_eq!(output.check_write().unwrap(), 0);
        output.write(Bytes::from_static(b"permitted before\n")).unwrap();
        assert!(output.write(Bytes::from(vec![b'x'; WRITE_BYTES_MAX])).is_err());
        let mut ready = output.ready();
        assert!(futures_util::poll!(&mut ready).is_pending());
        ready.await;
        assert_eq!(output.check_write().unwrap(), WRITE_BYTES_MAX);
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
