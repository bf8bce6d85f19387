//! `/api/<id>/task-protection/v1/state`: a task looks at its own protection, and changes it.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::agent::{Agent, Asker, Moment, answer};
use crate::identity::task_role::uuid;
use crate::model::protection::{self, Unprotectable};
use crate::model::{Service, Task, Timestamp};
use crate::store::{Key, Snapshot, TransactError, View};

/// What a task sends. A field that is none is an error: a misspelt one would leave the task without what it asked for.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Request {
    #[serde(default, alias = "protectionEnabled")]
    protection_enabled: Option<bool>,
    #[serde(default, alias = "expiresInMinutes")]
    expires_in_minutes: Option<i64>,
}

/// Exactly one of the three.
#[derive(Serialize, Default)]
struct Answer {
    #[serde(rename = "requestID", skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protection: Option<Protected>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Protected {
    expiration_date: Option<String>,
    protection_enabled: bool,
    task_arn: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    arn: String,
    detail: String,
    reason: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Error {
    #[serde(skip_serializing_if = "String::is_empty")]
    arn: String,
    code: &'static str,
    message: String,
}

/// What is to be done with the protection.
enum Wanted {
    Look,
    Protect(Duration),
    Unprotect,
}

impl Agent {
    pub(super) async fn protection(
        &self,
        asker: &Asker,
        id: &str,
        method: &Method,
        body: &[u8],
        moment: &Moment,
    ) -> Response<Bytes> {
        let request = match *method {
            Method::GET => None,
            Method::PUT => match serde_json::from_slice::<Request>(body) {
                Ok(request) => Some(request),
                Err(_) => {
                    let message = String::from("UpdateTaskProtection: failed to decode request");
                    return error(StatusCode::BAD_REQUEST, String::new(), "InvalidParameterException", message, None);
                }
            },
            _ => return answer::plain(StatusCode::METHOD_NOT_ALLOWED, ""),
        };
        if asker.container(id).is_none() {
            let message = String::from("Failed to find a task for the request");
            return error(StatusCode::NOT_FOUND, String::new(), "ResourceNotFoundException", message, None);
        }
        let arn = String::from(asker.task.arn());
        let invalid = |message: String, request_id| {
            error(StatusCode::BAD_REQUEST, arn.clone(), "InvalidParameterException", message, request_id)
        };
        // The agent's own checks come before it calls ECS, whose answers have a request id.
        let request_id = Some(uuid(moment.bits()));
        let wanted = match request {
            None => Wanted::Look,
            Some(Request { protection_enabled: None, .. }) => {
                return invalid(String::from("Invalid request: does not contain 'ProtectionEnabled' field"), None);
            }
            Some(Request { protection_enabled: Some(enabled), expires_in_minutes }) => {
                match (protection::duration(expires_in_minutes), enabled) {
                    (Err(error), _) => return invalid(error.to_string(), request_id),
                    (Ok(duration), true) => Wanted::Protect(duration),
                    (Ok(_), false) => Wanted::Unprotect,
                }
            }
        };
        if self.config.keys_configured && !self.roles.has_role(asker.task.id) {
            let message = String::from("Invalid Request: no task IAM role credentials available for task");
            return error(StatusCode::FORBIDDEN, arn, "AccessDeniedException", message, None);
        }
        let done = match wanted {
            Wanted::Look => Ok(look(&asker.snapshot, &asker.task, moment.now)),
            Wanted::Protect(duration) => self.change(asker, Some(duration), moment.now).await,
            Wanted::Unprotect => self.change(asker, None, moment.now).await,
        };
        match done {
            Ok(Ok(expires_at)) => {
                let protected = Protected {
                    expiration_date: expires_at.map(Timestamp::rfc3339),
                    protection_enabled: expires_at.is_some(),
                    task_arn: arn,
                };
                answer::json(StatusCode::OK, &Answer { protection: Some(protected), ..Answer::default() })
            }
            Ok(Err(why)) => {
                let failure = Failure { arn, detail: why.detail().to_owned(), reason: why.reason().to_owned() };
                answer::json(StatusCode::OK, &Answer { failure: Some(failure), ..Answer::default() })
            }
            Err(failed) => {
                let failed: &dyn std::error::Error = &failed;
                tracing::error!(task = %asker.task.id, error = failed, "the protection of a task could not be changed");
                let message = String::from("The server could not complete the request.");
                error(StatusCode::INTERNAL_SERVER_ERROR, arn, "ServerException", message, request_id)
            }
        }
    }

    async fn change(
        &self,
        asker: &Asker,
        wanted: Option<Duration>,
        now: Timestamp,
    ) -> Result<Result<Option<Timestamp>, Unprotectable>, crate::store::CommitError> {
        let key = Key::task(&asker.task.scope, &asker.task.cluster, asker.task.id);
        let changed = self.store.transact(|view: &mut View| -> Result<Option<Timestamp>, Unprotectable> {
            let found = view.get::<Task>(&key).ok_or(Unprotectable::NotValid)?;
            let service = service_key(&found).and_then(|key| view.get::<Service>(&key));
            let mut task = Task::clone(&found);
            task.protect(service.as_deref(), wanted, now)?;
            let expires_at = task.protected_until(now);
            task.version += 1;
            view.put(task);
            Ok(expires_at)
        });
        match changed.await {
            Ok(expires_at) => Ok(Ok(expires_at)),
            Err(TransactError::Operation(why)) => Ok(Err(why)),
            Err(TransactError::Commit(error)) => Err(error),
        }
    }
}

fn look(snapshot: &Snapshot, task: &Task, now: Timestamp) -> Result<Option<Timestamp>, Unprotectable> {
    let service = service_key(task).and_then(|key| snapshot.get::<Service>(&key));
    task.protectable(service.as_deref())?;
    Ok(task.protected_until(now))
}

fn service_key(task: &Task) -> Option<Key> {
    Some(Key::service(&task.scope, &task.cluster, &task.service.as_ref()?.service))
}

fn error(
    status: StatusCode,
    arn: String,
    code: &'static str,
    message: String,
    request_id: Option<String>,
) -> Response<Bytes> {
    answer::json(status, &Answer { request_id, error: Some(Error { arn, code, message }), ..Answer::default() })
}
