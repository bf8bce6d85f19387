//! The TCP half: a listener and its connections.
//!
//! A connection waits either to read or to write, never both: it reads no more before what it read is on its way back.
//! So a client that sends and never reads holds one chunk of memory, not all that it sent.

use std::mem;

use wasip2::io::poll::Pollable;
use wasip2::io::streams::{InputStream, OutputStream, StreamError};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::{ErrorCode, IpSocketAddress};
use wasip2::sockets::tcp::{ShutdownType, TcpSocket};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

use crate::{FAMILY, Failure, any_address, complain};

/// Connections at once; more wait in the listener's backlog. A poll looks at all of them, and each may hold a chunk:
/// together 16 MiB.
const CONNECTIONS_MAX: usize = 1024;

/// Read at once from a connection.
const CHUNK_BYTES: u64 = 16 * 1024;

pub struct Listener {
    pub address: IpSocketAddress,
    connections: Vec<Connection>,
    // A pollable is a child of its socket and has to be dropped first.
    acceptable: Pollable,
    socket: TcpSocket,
}

impl Listener {
    pub fn bind(port: u16) -> Result<Listener, Failure> {
        let socket = create_tcp_socket(FAMILY).map_err(Failure::at("create a TCP socket"))?;
        let acceptable = socket.subscribe();
        socket.start_bind(&instance_network(), any_address(port)).map_err(Failure::at("bind TCP"))?;
        finish(&acceptable, || socket.finish_bind()).map_err(Failure::at("bind TCP"))?;
        socket.start_listen().map_err(Failure::at("listen"))?;
        finish(&acceptable, || socket.finish_listen()).map_err(Failure::at("listen"))?;
        let address = socket.local_address().map_err(Failure::at("learn the TCP address"))?;
        Ok(Listener { address, connections: Vec::new(), acceptable, socket })
    }

    /// What to wait for: one for each connection, then the listener itself while it may take another.
    pub fn pollables(&self) -> impl Iterator<Item = &Pollable> {
        let acceptable = (self.connections.len() < CONNECTIONS_MAX).then_some(&self.acceptable);
        self.connections.iter().map(Connection::pollable).chain(acceptable)
    }

    /// Goes on with those of `pollables` that are ready.
    pub fn advance(&mut self, ready: &[usize]) {
        // The connections come first; the listener's own place is behind them, and one that it accepts now has none.
        let listeners = self.connections.len();
        for at in ready {
            match *at == listeners {
                true => self.accept(),
                false => self.connections[*at].advance(),
            }
        }
        self.connections.retain(|connection| !matches!(connection.state, State::Over));
    }

    fn accept(&mut self) {
        match self.socket.accept() {
            Ok((socket, input, output)) => self.connections.push(Connection::new(socket, input, output)),
            Err(ErrorCode::WouldBlock) => {}
            // A client that is gone already, or a host without room for another: neither ends the listener.
            Err(code) => complain("accept a connection", code),
        }
    }
}

enum State {
    Reading,
    Writing(Vec<u8>),
    /// The client has sent all; what was written last is still on its way.
    Finishing,
    Over,
}

struct Connection {
    state: State,
    // Pollables are children of their streams, and streams of their socket: dropped in this order.
    readable: Pollable,
    writable: Pollable,
    input: InputStream,
    output: OutputStream,
    socket: TcpSocket,
}

impl Connection {
    fn new(socket: TcpSocket, input: InputStream, output: OutputStream) -> Connection {
        let (readable, writable) = (input.subscribe(), output.subscribe());
        Connection { state: State::Reading, readable, writable, input, output, socket }
    }

    fn pollable(&self) -> &Pollable {
        match self.state {
            State::Reading => &self.readable,
            State::Writing(_) | State::Finishing | State::Over => &self.writable,
        }
    }

    fn advance(&mut self) {
        let state = mem::replace(&mut self.state, State::Over);
        self.state = self.next(state).unwrap_or(State::Over);
    }

    /// An error is a client that is gone: there is nobody to tell.
    fn next(&mut self, state: State) -> Result<State, StreamError> {
        match state {
            State::Reading => match self.input.read(CHUNK_BYTES) {
                Ok(chunk) if chunk.is_empty() => Ok(State::Reading),
                Ok(chunk) => self.write(chunk),
                // Half closed: what was written has to leave before the connection is dropped.
                Err(StreamError::Closed) => self.output.flush().map(|()| State::Finishing),
                Err(error) => Err(error),
            },
            State::Writing(chunk) => self.write(chunk),
            State::Finishing => match self.output.check_write()? {
                0 => Ok(State::Finishing),
                _ => {
                    // Fails where the client has closed already.
                    let _ = self.socket.shutdown(ShutdownType::Both);
                    Ok(State::Over)
                }
            },
            State::Over => Ok(State::Over),
        }
    }

    /// Writes what the stream takes now, and waits with the rest.
    fn write(&mut self, mut chunk: Vec<u8>) -> Result<State, StreamError> {
        let room = usize::try_from(self.output.check_write()?).unwrap_or(usize::MAX);
        let rest = chunk.split_off(room.min(chunk.len()));
        if !chunk.is_empty() {
            self.output.write(&chunk)?;
        }
        match rest.is_empty() {
            true => Ok(State::Reading),
            false => Ok(State::Writing(rest)),
        }
    }
}

/// Waits for the second half of an operation of the socket.
fn finish(pollable: &Pollable, mut attempt: impl FnMut() -> Result<(), ErrorCode>) -> Result<(), ErrorCode> {
    loop {
        match attempt() {
            Err(ErrorCode::WouldBlock) => pollable.block(),
            result => return result,
        }
    }
}
