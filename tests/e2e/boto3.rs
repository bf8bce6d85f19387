//! boto3, which checks types and enums of every answer against the service's model.

use super::command::python;
use super::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ecs_and_elbv2_as_boto3_sees_them() {
    let server = Server::start().await;
    python(&server, "boto3_journey.py").await;
}
