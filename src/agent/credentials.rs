//! `/v2/credentials/<id>`: the credentials of the task's role, in the form that every SDK reads.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;

use crate::agent::{Agent, Asker, Moment, answer};
use crate::identity::task_role::NoCredentials;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Credentials<'a> {
    role_arn: &'a str,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    token: &'a str,
    expiration: String,
}

#[derive(Serialize)]
struct Failure {
    code: &'static str,
    message: &'static str,
    #[serde(rename = "HTTPErrorCode")]
    status: u16,
}

impl Agent {
    pub(super) fn credentials(&self, asker: &Asker, id: &str, moment: &Moment) -> Response<Bytes> {
        if id.is_empty() {
            let message = "CredentialsV2Request: No Credential ID in the request";
            return failure(StatusCode::BAD_REQUEST, "NoIdInRequest", message);
        }
        match self.roles.credentials(asker.task.id, id, moment.now, &moment.entropy) {
            Ok(given) => {
                let credentials = Credentials {
                    role_arn: &given.role_arn,
                    access_key_id: &given.access_key_id,
                    secret_access_key: &given.secret_access_key,
                    token: &given.token,
                    expiration: whole_seconds(&given.expires_at.rfc3339()),
                };
                answer::json(StatusCode::OK, &credentials)
            }
            Err(NoCredentials::OtherId) => {
                failure(StatusCode::BAD_REQUEST, "InvalidIdInRequest", "CredentialsV2Request: Credentials not found")
            }
            Err(NoCredentials::NoRole) => {
                let message = "CredentialsV2Request: No credentials associated with the task";
                failure(StatusCode::NOT_FOUND, "NoCredentialsAssociated", message)
            }
        }
    }
}

/// Without the fraction: STS writes none, and some parsers read none.
fn whole_seconds(time: &str) -> String {
    time.split_once('.').map_or_else(|| time.to_owned(), |(whole, _)| format!("{whole}Z"))
}

fn failure(status: StatusCode, code: &'static str, message: &'static str) -> Response<Bytes> {
    answer::json(status, &Failure { code, message, status: status.as_u16() })
}
