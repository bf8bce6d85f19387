//! Real clients of other protocols through load balancers: curl, a gRPC client, a WebSocket client.

use super::command::python_with;
use super::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_grpc_and_websocket_clients_are_served() {
    let server = Server::start().await;
    let authority = server.data_dir().join("tls").join("ca.pem");
    python_with(&server, "balancer_clients.py", &[&authority.to_string_lossy()]).await;
}
