//! Clients that send bytes, not requests.

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// How long a test waits for an answer that does not come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A handler that reads the whole body and says what it got; it never answers `/hang`.
pub struct Echo;

impl LocalTarget for Echo {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, TargetError>> {
        async move {
            let (parts, body) = request.into_parts();
            if parts.uri.path() == "/hang" {
                std::future::pending::<()>().await;
            }
            let body = body.collect().await.map_err(TargetError::Failed)?.to_bytes();
            let host = parts.headers.get("host").map_or("", |host| host.to_str().unwrap_or("?"));
            // The port is the listener's, which is any that was free.
            let host = host.split(':').next().unwrap_or_default();
            Ok(Response::new(full(format!("{} {} {host} {}", parts.method, parts.uri, body.len()))))
        }
        .boxed()
    }
}

/// A front before [`Echo`], and its listener's own port.
pub async fn echoing() -> (Scene, SocketAddr) {
    let scene = scene(0, Some(Endpoint::Local(Arc::new(Echo)))).await;
    let address = bound(&scene.proxy).await;
    (scene, address)
}

/// All that comes back until the connection ends. The peer may end it while we still write.
pub async fn converse(address: SocketAddr, sent: &[u8]) -> Vec<u8> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let mut heard = Vec::new();
    let exchange = async {
        let writing = async {
            let _ = writer.write_all(sent).await;
        };
        let reading = async {
            let mut piece = vec![0; 16 * 1024];
            while let Ok(read @ 1..) = reader.read(&mut piece).await {
                heard.extend_from_slice(&piece[..read]);
            }
        };
        tokio::join!(writing, reading)
    };
    // Whoever waits in vain shows what was heard until then.
    let _ = tokio::time::timeout(PATIENCE, exchange).await;
    heard
}

/// The statuses of all responses, one after the other.
pub fn statuses(heard: &[u8]) -> String {
    let text = String::from_utf8_lossy(heard);
    let responses = text.split("HTTP/1.1 ").skip(1).chain(text.split("HTTP/1.0 ").skip(1));
    responses.map(|response| response[..3].to_owned()).collect::<Vec<_>>().join(" ")
}

/// Waits until no request is in flight any more, and says how many are if that takes too long.
pub async fn settled(scene: &Scene) -> usize {
    let in_flight = || scene.proxy.stats()[0].targets.iter().map(|target| target.in_flight).sum::<usize>();
    let settling = async {
        while in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    };
    let _ = tokio::time::timeout(PATIENCE, settling).await;
    in_flight()
}
