//! Peers for where there is nothing to compare with.
//!
//! `bare` is `wasmtime serve` without its command line: wasmtime-wasi-http's own `ProxyHandler` with that command's
//! defaults (pooling allocator as it comes, concurrency on, no fuel, no limits but memory's, one instance per request or
//! reused, tokio's multi-thread runtime, a task per connection and one per instance, the system's allocator).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::Sleep;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, Store, StoreContextMut, StoreLimits};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, ProxyHandler, ProxyPre, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};
use wasmtime_wasi_http::p2::bindings::ProxyPre as ProxyPre2;
use wasmtime_wasi_http::{
    Error, RequestOptions, Result as HttpResult, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::support::Failure;
use crate::support::server::guest_file;

/// How long `wasmtime serve` keeps an instance that may be reused.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers with the guest; `reuse` requests by each instance.
pub fn serve(reuse: Option<&String>) -> Result<(), Failure> {
    let reuse = reuse.map_or(Ok(1), |count| count.parse())?;
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::pooling()).wasm_component_model_async(true);
    let engine = Engine::new(&config)?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    let component = Component::from_file(&engine, guest_file("hello"))?;
    let pre = ProxyPre::P2(ProxyPre2::new(linker.instantiate_pre(&component)?)?);
    let handler = ProxyHandler::new(Bare { engine, pre, reuse, requests: AtomicU64::new(0) });
    run(move |request: Request<Incoming>| {
        let handler = handler.clone();
        async move {
            let request = request.map(|body| body.map_err(|_| Error::HttpProtocolError).boxed_unsync());
            match handler.handle((), request).await {
                Ok(response) => response,
                Err(error) => {
                    eprintln!("bare: {error:?}");
                    let mut response = Response::new(Full::default().map_err(|never| match never {}).boxed_unsync());
                    *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
                    response
                }
            }
        }
    })
}

/// Answers without any guest: what hyper itself costs.
pub fn serve_static() -> Result<(), Failure> {
    run(|_| async { Response::new(Full::new(Bytes::from_static(b"Hello from hyper\n"))) })
}

/// The loop of `wasmtime serve`.
fn run<S, F, B>(service: S) -> Result<(), Failure>
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send,
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Failure>,
{
    let address: SocketAddr = std::env::var("PEER_ADDRESS")?.parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let service = service.clone();
            tokio::spawn(async move {
                let answer = service_fn(move |request| {
                    let answered = service(request);
                    async move { Ok::<_, Infallible>(answered.await) }
                });
                // A client that goes away is the end of its turn.
                let _ = http1::Builder::new().keep_alive(true).serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    })
}

struct Bare {
    engine: Engine,
    pre: ProxyPre<Host>,
    reuse: usize,
    requests: AtomicU64,
}

struct Host {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: NothingOutgoing,
    table: ResourceTable,
    limits: StoreLimits,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Host {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// The guest sends no requests.
struct NothingOutgoing;

type Sent = (http::Response<WasiBody>, Box<dyn Future<Output = HttpResult<()>> + Send>);

impl WasiHttpHooks for NothingOutgoing {
    fn send_request(
        &mut self,
        _: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = HttpResult<()>> + Send>,
    ) -> Box<dyn Future<Output = HttpResult<Sent>> + Send> {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }
}

impl HandlerState for Bare {
    type StoreData = Host;
    type WorkerExpiration = Idle;
    type WorkerState = Reuse;

    async fn instantiate(&self) -> wasmtime::Result<Instance<Host, Idle, Reuse>> {
        let mut wasi = WasiCtx::builder();
        wasi.inherit_stdout().inherit_stderr();
        if self.reuse == 1 {
            wasi.env("REQUEST_ID", self.requests.fetch_add(1, Ordering::Relaxed).to_string());
        }
        let host = Host {
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            hooks: NothingOutgoing,
            table: ResourceTable::new(),
            limits: StoreLimits::default(),
        };
        let mut store = Store::new(&self.engine, host);
        store.limiter(|host| &mut host.limits);
        let proxy = self.pre.instantiate_async(&mut store).await?;
        let expiration = Idle { timer: None };
        Ok(Instance { store, proxy, view: Host::http, expiration, state: Reuse { requests_max: self.reuse } })
    }
}

/// Ends an instance that has had nothing to do for a while.
struct Idle {
    timer: Option<Pin<Box<Sleep>>>,
}

impl WorkerExpiration for Idle {
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>, status: WorkerStatus, start: Instant) -> Poll<()> {
        if status != WorkerStatus::Idle {
            return Poll::Pending;
        }
        let deadline = tokio::time::Instant::from_std(start + IDLE_TIMEOUT);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }
}

struct Reuse {
    requests_max: usize,
}

impl WorkerState for Reuse {
    type StoreData = Host;
    type RequestData = ();

    fn should_accept_request(&self, concurrent_count: usize, total_count: usize) -> ShouldAccept {
        match (concurrent_count, total_count) {
            (_, total) if total >= self.requests_max => ShouldAccept::Never,
            (0, _) => ShouldAccept::Yes,
            // A guest of WASI 0.2 answers one request at a time.
            _ => ShouldAccept::No,
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, Host>,
        (): (),
        _: wasmtime::component::GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + 'static + Send + Sync>> {
        Box::pin(std::future::pending())
    }

    fn drop(&self, store: Store<Host>, result: wasmtime::Result<()>) {
        if let Err(error) = result {
            eprintln!("bare: {error:?}");
        }
        std::mem::drop(store);
    }
}
