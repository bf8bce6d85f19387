//! Where the outputs of one container go: its task's log, no faster than a log can be followed.
//!
//! All instances of a container share one limit. Lines beyond it are dropped and counted, and the count stands where they
//! would have: a guest that floods its log loses its own lines, keeps its pace, and delays nobody's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::model::TaskId;
use crate::runtime::spec::{LogSink, Stream};

/// Lines of a container in one second. A busy server writes a line for each request, some thousands; a node's logs keep
/// 256 MiB, which ten containers that write lines of 100 bytes at this rate turn over in half a minute.
pub const LINES_PER_SECOND_MAX: u64 = 10_000;
const SECOND: Duration = Duration::from_secs(1);

/// The log of one container, for all of its instances.
pub struct ContainerLog {
    sink: Arc<dyn LogSink>,
    task: TaskId,
    container: Arc<str>,
    rate: Mutex<Rate>,
}

impl ContainerLog {
    pub fn new(sink: Arc<dyn LogSink>, task: TaskId, container: &str) -> Arc<ContainerLog> {
        Arc::new(ContainerLog { sink, task, container: Arc::from(container), rate: Mutex::default() })
    }

    /// Writes a line, unless there were too many.
    pub fn write(&self, stream: Stream, line: &str) {
        let verdict = self.rate.lock().take(Instant::now());
        match verdict {
            Verdict::Drop => {}
            Verdict::Pass { dropped: 0 } => self.hand_on(stream, line),
            Verdict::Pass { dropped } => {
                self.say_dropped(dropped);
                self.hand_on(stream, line);
            }
        }
    }

    fn say_dropped(&self, lines: u64) {
        let text = format!("coracle: {lines} lines dropped: more than {LINES_PER_SECOND_MAX} in a second");
        self.hand_on(Stream::Stderr, &text);
    }

    fn hand_on(&self, stream: Stream, line: &str) {
        self.sink.write(self.task, &self.container, stream, line);
    }
}

impl Drop for ContainerLog {
    fn drop(&mut self) {
        let dropped = self.rate.get_mut().dropped;
        if dropped > 0 {
            self.say_dropped(dropped);
        }
    }
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It goes on; so many before it did not.
    Pass {
        dropped: u64,
    },
    Drop,
}

/// Counts lines in seconds that begin with a line.
#[derive(Default)]
struct Rate {
    began: Option<Instant>,
    lines: u64,
    dropped: u64,
}

impl Rate {
    fn take(&mut self, now: Instant) -> Verdict {
        if self.began.is_none_or(|began| now.duration_since(began) >= SECOND) {
            self.began = Some(now);
            self.lines = 0;
        }
        if self.lines >= LINES_PER_SECOND_MAX {
            self.dropped += 1;
            return Verdict::Drop;
        }
        self.lines += 1;
        Verdict::Pass { dropped: std::mem::take(&mut self.dropped) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_lines_a_second_pass_and_the_rest_are_counted() {
        let (mut rate, begin) = (Rate::default(), Instant::now());
        let mut passed = 0;
        for line in 0..25_000u32 {
            passed += u32::from(rate.take(begin + line * Duration::from_micros(20)) != Verdict::Drop);
        }
        assert_eq!(passed, 10_000);
        assert_eq!(rate.take(begin + SECOND), Verdict::Pass { dropped: 15_000 });
        assert_eq!(rate.take(begin + SECOND), Verdict::Pass { dropped: 0 });
        // At the limit nothing is lost, however long it goes on.
        let (mut rate, begin) = (Rate::default(), Instant::now());
        for line in 0..50_000u32 {
            assert_eq!(rate.take(begin + line * Duration::from_micros(100)), Verdict::Pass { dropped: 0 }, "{line}");
        }
    }

    #[derive(Default)]
    struct Kept(Mutex<Vec<(Stream, String)>>);

    impl LogSink for Kept {
        fn write(&self, _: TaskId, _: &str, stream: Stream, line: &str) {
            self.0.lock().push((stream, line.to_owned()));
        }
    }

    #[test]
    fn what_was_dropped_at_the_end_is_said_too() {
        let kept = Arc::new(Kept::default());
        let log = ContainerLog::new(kept.clone(), TaskId(1), "c");
        log.rate.lock().dropped = 7;
        log.write(Stream::Stdout, "one");
        log.rate.lock().dropped = 3;
        drop(log);
        let lines = kept.0.lock();
        let texts: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
        let said = |lines| format!("coracle: {lines} lines dropped: more than 10000 in a second");
        assert_eq!(texts, [said(7).as_str(), "one", said(3).as_str()]);
    }
}
