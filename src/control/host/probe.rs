//! Asks a container how it is, in place of the command of its health check.
//!
//! A handler of the task is called in process, as the load balancer calls it: the question counts as a request of the task
//! and is charged to it. Everything else is asked through the socket that is really behind the task's port.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HOST, LOCATION, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time;
use tokio_util::task::AbortOnDropHandle;

use crate::model::TaskId;
use crate::model::health::{Connector, HttpProbe, Probe, Step, command};
use crate::network::{Protocol, Table};
use crate::runtime::{Handler, RequestBody, RunningTask};

/// What is read of an answer's body. A health check that sends more has answered.
const BODY_BYTES_MAX: usize = 1 << 20;
/// What a probe calls itself, where the command names nothing.
const AGENT: &str = "coracle-health-check";

/// A question to a container of a task.
#[derive(Clone, Debug)]
pub struct Ask {
    pub task: TaskId,
    pub container: String,
    pub address: Ipv4Addr,
    /// Which containers map which ports.
    pub ports: Arc<[(String, u16)]>,
    pub probe: Probe,
}

/// Asks, through a task that runs.
pub struct Prober {
    pub task: RunningTask,
    pub table: Table,
    pub ask: Ask,
}

impl Prober {
    /// Whether the command would have passed, and why not. Whoever calls sets the limit of time.
    pub async fn run(self) -> Result<(), String> {
        let Probe { first, rest } = &self.ask.probe;
        let mut result = self.step(first).await;
        let mut is_over = matches!(first, Step::Exit { .. });
        for (connector, step) in rest {
            let is_taken = match connector {
                Connector::IfPassed => result.is_ok(),
                Connector::IfFailed => result.is_err(),
                Connector::Always => true,
            };
            if is_over || !is_taken {
                continue;
            }
            is_over = matches!(step, Step::Exit { .. });
            result = match (self.step(step).await, result) {
                // `|| exit 1` says nothing that the failure before it does not say better.
                (Err(_), Err(before)) if is_over => Err(before),
                (now, _) => now,
            };
        }
        result
    }

    async fn step(&self, step: &Step) -> Result<(), String> {
        match step {
            Step::Known { passes: true } | Step::Exit { passes: true } => Ok(()),
            Step::Known { passes: false } | Step::Exit { passes: false } => Err(String::from("the command says so")),
            Step::Export(name) => self.task.call_export(&self.ask.container, name).await,
            Step::Connect { port } => self.connect(*port).await,
            Step::Http(probe) => match probe.timeout {
                Some(limit) => time::timeout(limit, self.http(probe)).await.unwrap_or_else(|_| Err(too_late(limit))),
                None => self.http(probe).await,
            },
        }
    }

    /// The handler that serves this port. One that maps no port at all serves its own container's checks.
    fn handler(&self, port: u16) -> Option<Handler> {
        let mut mapped = self.ask.ports.iter();
        let maps_any = self.ask.ports.iter().any(|(container, _)| *container == self.ask.container);
        match mapped.find(|(_, known)| *known == port) {
            Some((container, _)) => self.task.handler(container),
            None if !maps_any => self.task.handler(&self.ask.container),
            None => None,
        }
    }

    fn real(&self, port: u16) -> Result<SocketAddr, String> {
        let real = self.table.resolve(self.ask.address, port, Protocol::Tcp);
        real.ok_or_else(|| format!("nothing listens on port {port}"))
    }

    async fn connect(&self, port: u16) -> Result<(), String> {
        if self.handler(port).is_some() {
            return Ok(());
        }
        let real = self.real(port)?;
        TcpStream::connect(real).await.map(drop).map_err(|error| format!("port {port}: {error}"))
    }

    async fn http(&self, probe: &HttpProbe) -> Result<(), String> {
        let (mut authority, mut port, mut path) = (probe.authority.clone(), probe.port, probe.path.clone());
        for _ in 0..=probe.follows {
            let (status, location) = self.request(probe, &authority, port, &path).await?;
            match location.filter(|_| status.is_redirection() && probe.follows > 0) {
                Some(location) if location.starts_with('/') => path = location,
                Some(location) => (authority, port, path) = command::local(&location)?,
                None if status.as_u16() >= 400 && probe.fails_on_errors => {
                    return Err(format!("{} {authority}{path} answered {}", probe.method, status.as_u16()));
                }
                None => return Ok(()),
            }
        }
        Err(format!("{authority} redirects too often"))
    }

    async fn request(
        &self,
        probe: &HttpProbe,
        authority: &str,
        port: u16,
        path: &str,
    ) -> Result<(StatusCode, Option<String>), String> {
        let invalid = |error: http::Error| format!("the check is no valid request: {error}");
        let body = Bytes::from(probe.body.clone().unwrap_or_default());
        let mut request = Request::builder().method(probe.method.as_str()).uri(path);
        for (name, value) in &probe.headers {
            request = request.header(name, value);
        }
        let mut request = request.body(body).map_err(invalid)?;
        let headers = request.headers_mut();
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        if !headers.contains_key(HOST) {
            let host = HeaderValue::from_str(authority).map_err(|error| invalid(error.into()))?;
            headers.insert(HOST, host);
        }
        if let Some(handler) = self.handler(port) {
            let request = request.map(boxed);
            // On the threads of guests: what a guest does first, it does on the thread that calls it.
            let asked = async move {
                let response = handler.call(request).await.map_err(|error| error.to_string())?;
                answer(response).await
            };
            return match self.task.guest_threads() {
                Some(threads) => on(&threads, asked).await,
                None => asked.await,
            };
        }
        let stream = TcpStream::connect(self.real(port)?).await.map_err(|error| format!("port {port}: {error}"))?;
        let failed = |error: hyper::Error| format!("port {port}: {error}");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        answer(sender.send_request(request.map(Full::new)).await.map_err(failed)?).await
    }
}

fn too_late(limit: time::Duration) -> String {
    format!("no answer within {} s", limit.as_secs_f32())
}

fn boxed(body: Bytes) -> RequestBody {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

/// Runs there, and ends where nobody waits for it any more.
async fn on<T: Send + 'static>(
    threads: &tokio::runtime::Handle,
    work: impl Future<Output = Result<T, String>> + Send + 'static,
) -> Result<T, String> {
    let running = AbortOnDropHandle::new(threads.spawn(work));
    running.await.unwrap_or_else(|error| Err(error.to_string()))
}

/// Takes the head, and the body as far as anybody would read it.
async fn answer<B>(response: Response<B>) -> Result<(StatusCode, Option<String>), String>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let (head, mut body) = response.into_parts();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the answer broke off: {error}"))?;
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > BODY_BYTES_MAX {
            break;
        }
    }
    let location = head.headers.get(LOCATION).and_then(|value| value.to_str().ok()).map(String::from);
    Ok((head.status, location))
}
