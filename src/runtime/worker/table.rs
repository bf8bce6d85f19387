//! Questions of a worker to its server's table of addresses, one at a time over a Unix socket.
//!
//! The runtime asks the table from code that does not wait, so the worker's side blocks for the answer: bounded, and rare
//! (a connection, a port that opens).

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream as Blocking;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::UnixStream;

use crate::network::remote::{Answer, Answers, Question, Server};
use crate::runtime::worker::protocol;

/// For one answer. Longer than any pause of a server that is not about to end.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// An answer names at most one socket.
const ANSWER_BYTES_MAX: usize = 4096;

/// The worker's side.
pub struct Asking {
    stream: Mutex<Blocking>,
}

impl Asking {
    pub fn over(stream: UnixStream) -> io::Result<Asking> {
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Asking { stream: Mutex::new(stream) })
    }

    fn exchange(&self, question: &Question) -> io::Result<Answer> {
        let mut stream = self.stream.lock();
        stream.write_all(&protocol::frame(question)?)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
        if length > ANSWER_BYTES_MAX {
            return Err(io::Error::other("an answer that is too long"));
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer)?;
        serde_json::from_slice(&answer).map_err(io::Error::other)
    }
}

impl Server for Asking {
    fn ask(&self, question: &Question) -> Option<Answer> {
        match self.exchange(question) {
            Ok(answer) => Some(answer),
            Err(error) => {
                // What comes now would be the answer to an earlier question: there is no next one.
                let _ = self.stream.lock().shutdown(std::net::Shutdown::Both);
                tracing::warn!(%error, "the server does not answer about addresses");
                None
            }
        }
    }
}

/// The server's side: answers until the worker is gone.
pub async fn answer(mut stream: UnixStream, mut answers: Answers) {
    while let Ok(Some(question)) = protocol::read::<Question>(&mut stream).await {
        if protocol::write(&mut stream, &answers.answer(question)).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use super::*;
    use crate::model::TaskId;
    use crate::network::{Denial, Endpoint, Policy, Protocol, Table, Verdict};

    /// A task in a worker, and the table of its server.
    async fn worker(server: &Table) -> (Table, crate::network::Address) {
        let address = server.attach(TaskId(1)).unwrap();
        let (here, there) = UnixStream::pair().unwrap();
        let ip = address.ip();
        tokio::spawn(answer(there, Answers::new(address)));
        let table = Table::remote(Arc::new(Asking::over(here).unwrap()));
        let own = table.adopt(ip, TaskId(1), Policy::default());
        (table, own)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_worker_and_its_server_see_the_same() {
        let server = Table::default();
        let (table, own) = worker(&server).await;
        let real = (own.ip(), 8080).into();
        let endpoint = Endpoint { real, is_mapped: true };
        let published = table.publish(&own, 80, Protocol::Tcp, endpoint).unwrap();
        assert_eq!(server.endpoint(own.ip(), 80, Protocol::Tcp), Some(endpoint));
        drop(published);
        assert_eq!(server.endpoint(own.ip(), 80, Protocol::Tcp), None);

        let other = server.attach(TaskId(2)).unwrap();
        let at = (other.ip(), 5432).into();
        let _published = server.publish(&other, 5432, Protocol::Tcp, Endpoint { real: at, is_mapped: true }).unwrap();
        assert_eq!(table.resolve_for(&own, at, Protocol::Tcp), Ok(at));
        assert_eq!(table.name_of(at, Protocol::Tcp), Some((other.ip(), 5432)));
        let verdict = table.may_connect(&own, (Ipv4Addr::LOCALHOST, 22).into(), Protocol::Tcp);
        assert_eq!(verdict, Verdict::Denied(Denial::ThisMachine));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_worker_stands_for_no_socket_but_its_own_and_without_its_server_nothing_is_allowed() {
        let server = Table::default();
        let (table, own) = worker(&server).await;
        let foreign = Endpoint { real: (Ipv4Addr::LOCALHOST, 22).into(), is_mapped: true };
        assert!(table.publish(&own, 22, Protocol::Tcp, foreign).is_err());

        let (here, there) = UnixStream::pair().unwrap();
        drop(there);
        let table = Table::remote(Arc::new(Asking::over(here).unwrap()));
        let own = table.adopt(own.ip(), TaskId(1), Policy { outside: true, ..Policy::default() });
        let verdict = table.may_connect(&own, (Ipv4Addr::new(192, 0, 2, 1), 80).into(), Protocol::Tcp);
        assert_eq!(verdict, Verdict::Denied(Denial::UnknownTask));
    }
}
