//! A client of HTTP that keeps its connection, so that tests can tell one connection from many.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::wait::bounded;

/// An answer that was read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }
}

/// An answer of which the head is there.
pub struct Begun(Response<Incoming>);

impl Begun {
    pub async fn whole(self) -> Answer {
        bounded("the rest of an answer", rest(self.0)).await.unwrap_or_else(|error| panic!("it broke off: {error}"))
    }
}

async fn rest(response: Response<Incoming>) -> Result<Answer, hyper::Error> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

/// One connection, kept alive.
pub struct Connection {
    sender: Sender,
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Connection {
        Connection::try_open(address).await.unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    pub async fn try_open(address: SocketAddr) -> Result<Connection, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(Connection { sender: Sender::One(sender) })
    }

    /// HTTP/2 without TLS, by prior knowledge.
    pub async fn open_http2(address: SocketAddr) -> Connection {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Connection { sender: Sender::Two(sender) }
    }

    pub async fn send(&mut self, request: Request<Bytes>) -> Answer {
        self.try_send(request).await.unwrap_or_else(|error| panic!("the request failed: {error}"))
    }

    pub async fn try_send(&mut self, request: Request<Bytes>) -> Result<Answer, String> {
        let sent = async {
            let response = self.head(request).await?;
            rest(response).await
        };
        bounded("an answer", sent).await.map_err(|error: hyper::Error| error.to_string())
    }

    /// Sends a request and waits for the head of its answer: the guest has the request, and goes on with the body.
    pub async fn begin(&mut self, request: Request<Bytes>) -> Begun {
        Begun(
            bounded("an answer's head", self.head(request)).await.unwrap_or_else(|error| panic!("it failed: {error}")),
        )
    }

    async fn head(&mut self, request: Request<Bytes>) -> Result<Response<Incoming>, hyper::Error> {
        let request = request.map(Full::new);
        match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Two(sender) => sender.send_request(request).await,
        }
    }

    /// GET of a path, for a Host.
    pub async fn get(&mut self, host: &str, path: &str) -> Answer {
        self.send(get(host, path)).await
    }
}

pub fn get(host: &str, path: &str) -> Request<Bytes> {
    Request::builder().method(Method::GET).uri(path).header("host", host).body(Bytes::new()).unwrap()
}

/// One request on a connection of its own.
pub async fn once(address: SocketAddr, request: Request<Bytes>) -> Answer {
    Connection::open(address).await.send(request).await
}
