use http::Request;

use super::*;
use crate::identity::TaskRoles;
use crate::identity::task_role::TaskCredentials;
use crate::model::TaskId;

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SIGNED_AT: Timestamp = Timestamp(1_440_938_160_000);

fn keys() -> AccessKeys {
    AccessKeys::of(&[(KEY, SECRET)])
}

/// A request of AWS's published test suite for signers, which is signed for the service `service`.
fn vanilla(method: &str, target: &str, signature: &str) -> Parts {
    let credential = format!("{KEY}/20150830/us-east-1/service/aws4_request");
    let authorization =
        format!("{ALGORITHM} Credential={credential}, SignedHeaders=host;x-amz-date, Signature={signature}");
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", "example.amazonaws.com")
        .header("x-amz-date", "20150830T123600Z")
        .header("authorization", authorization);
    request.body(()).unwrap().into_parts().0
}

const GET: &str = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
const POST: &str = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b";

fn check(parts: &Parts, body: &[u8]) -> Result<CredentialScope, SignatureError> {
    verify(parts, body, &keys(), "service", SIGNED_AT)
}

#[test]
fn accepts_awss_own_examples() {
    let scope = check(&vanilla("GET", "/", GET), b"").unwrap();
    assert_eq!((scope.access_key_id.as_str(), scope.region.as_str()), (KEY, "us-east-1"));
    assert!(check(&vanilla("POST", "/", POST), b"").is_ok());
}

#[test]
fn refuses_what_was_changed_after_signing() {
    assert_eq!(check(&vanilla("POST", "/", GET), b""), Err(SignatureError::Mismatch));
    assert_eq!(check(&vanilla("GET", "/?a=b", GET), b""), Err(SignatureError::Mismatch));
    assert_eq!(check(&vanilla("GET", "/", GET), b"body"), Err(SignatureError::Mismatch));
    let mut parts = vanilla("GET", "/", GET);
    parts.headers.insert("host", "elsewhere".parse().unwrap());
    assert_eq!(check(&parts, b""), Err(SignatureError::Mismatch));
    let mut parts = vanilla("GET", "/", GET);
    parts.headers.remove("host");
    assert_eq!(check(&parts, b""), Err(SignatureError::Mismatch));
    assert_eq!(check(&vanilla("GET", "/", &GET[1..]), b""), Err(SignatureError::Mismatch));
}

#[test]
fn refuses_other_keys_services_and_times() {
    let parts = vanilla("GET", "/", GET);
    let others = AccessKeys::of(&[("OTHER", SECRET)]);
    assert_eq!(verify(&parts, b"", &others, "service", SIGNED_AT), Err(SignatureError::UnknownKey));
    let wrong = AccessKeys::of(&[(KEY, "guess")]);
    assert_eq!(verify(&parts, b"", &wrong, "service", SIGNED_AT), Err(SignatureError::Mismatch));
    let elsewhere = verify(&parts, b"", &keys(), "ecs", SIGNED_AT).unwrap_err();
    assert_eq!(elsewhere.to_string(), "Credential should be scoped to correct service: 'ecs'.");

    let at = |seconds: i64| verify(&parts, b"", &keys(), "service", Timestamp(SIGNED_AT.0 + seconds * 1000));
    assert!(at(15 * 60).is_ok());
    assert!(at(-15 * 60).is_ok());
    assert!(at(15 * 60 + 1).unwrap_err().to_string().starts_with("Signature expired: 20150830T123600Z"));
    assert!(at(-15 * 60 - 1).unwrap_err().to_string().starts_with("Signature not yet current"));
}

#[test]
fn says_what_is_incomplete() {
    let with = |authorization: &str| {
        let mut parts = vanilla("GET", "/", GET);
        parts.headers.insert("authorization", authorization.parse().unwrap());
        check(&parts, b"").unwrap_err()
    };
    assert!(matches!(with("Basic abc"), SignatureError::Incomplete(_)));
    assert!(with(ALGORITHM).to_string().contains("requires 'Credential'"));
    assert!(with("AWS4-HMAC-SHA256 Credential=a/b").to_string().contains("exactly 5 slash-delimited elements"));
    let no_host = format!("{ALGORITHM} Credential={KEY}/20150830/r/s/aws4_request,SignedHeaders=date,Signature=x");
    assert!(with(&no_host).to_string().contains("'Host' must be"));
    let other_day = format!("{ALGORITHM} Credential={KEY}/20150831/r/s/aws4_request,SignedHeaders=host,Signature=x");
    assert!(with(&other_day).to_string().contains("Date in Credential scope"));
    let mut undated = vanilla("GET", "/", GET);
    undated.headers.remove("x-amz-date");
    assert!(check(&undated, b"").unwrap_err().to_string().contains("'X-Amz-Date'"));
    let mut unsigned = vanilla("GET", "/", GET);
    unsigned.headers.remove("authorization");
    assert_eq!(check(&unsigned, b""), Err(SignatureError::Missing));
}

/// Signs with the SDK's signer, as a client does.
fn presigned(expires_seconds: u64, token: Option<&str>) -> Parts {
    let identity = Credentials::new(KEY, SECRET, token.map(str::to_owned), None, "test").into();
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(Duration::from_secs(expires_seconds));
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-west-1")
        .name("ecs")
        .time(SystemTime::UNIX_EPOCH + SIGNED_AT.since(Timestamp(0)))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let target = "http://localhost:4566/?Action=A&B=c%20d";
    let mut request = Request::get(target).header("host", "localhost:4566").body(()).unwrap();
    let headers = [("host", "localhost:4566")].into_iter();
    let signable = SignableRequest::new("GET", target, headers, SignableBody::Bytes(b"")).unwrap();
    sign(signable, &params).unwrap().into_parts().0.apply_to_request_http1x(&mut request);
    request.into_parts().0
}

#[test]
fn accepts_presigned_urls_until_they_expire() {
    for token in [None, Some("session/token+=")] {
        let parts = presigned(60, token);
        let at = |seconds: i64| verify(&parts, b"", &keys(), "ecs", Timestamp(SIGNED_AT.0 + seconds * 1000));
        assert_eq!(at(60).unwrap().region, "eu-west-1");
        assert!(matches!(at(61), Err(SignatureError::Expired(_))));
    }
    assert!(matches!(
        verify(&presigned(EXPIRES_SECONDS_MAX + 1, None), b"", &keys(), "ecs", SIGNED_AT),
        Err(SignatureError::Incomplete(_))
    ));
}

#[test]
fn the_claimed_scope_needs_no_key() {
    assert_eq!(claimed_scope(&vanilla("GET", "/", "whatever")).unwrap().service, "service");
    assert_eq!(claimed_scope(&presigned(60, None)).unwrap().region, "eu-west-1");
    let careless = "AWS4-HMAC-SHA256 Credential=a/20260101/eu-north-1/ecs/aws4_request";
    let careless = Request::get("/").header("authorization", careless).body(()).unwrap().into_parts().0;
    assert_eq!(claimed_scope(&careless).unwrap().region, "eu-north-1");
    assert_eq!(claimed_scope(&Request::get("/").body(()).unwrap().into_parts().0), None);
}

#[test]
fn dates_are_read_strictly() {
    assert_eq!(parse_date_time("20150830T123600Z"), Some(SIGNED_AT));
    for wrong in ["", "20150830T1236000", "20151330T123600Z", "+0150830T123600Z", "2015083éT12360Z"] {
        assert_eq!(parse_date_time(wrong), None, "{wrong}");
    }
}

/// As botocore signs it, with a session token and a header of its own among what is signed; HTTP/2 has no Host header.
#[test]
fn accepts_what_the_sdks_sign() {
    let authorization = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-1/ecs/aws4_request, \
                         SignedHeaders=amz-sdk-request;content-type;host;x-amz-date;x-amz-security-token;x-amz-target, \
                         Signature=ec9620063aaa6ee2f558b135e6eee7cb2e8cb4c13cbf6960c6b04fd00130b328";
    let request = |target: &str| {
        Request::post(target)
            .header("x-amz-target", "AmazonEC2ContainerServiceV20141113.CreateCluster")
            .header("content-type", "application/x-amz-json-1.1")
            .header("user-agent", "aws-cli/2  x")
            .header("amz-sdk-request", "attempt=1")
            .header("x-amz-date", "20150830T123600Z")
            .header("x-amz-security-token", "token//=")
            .header("authorization", authorization)
    };
    let body = br#"{"clusterName": "a"}"#;
    let one = request("/").header("host", "127.0.0.1:4566").body(()).unwrap().into_parts().0;
    assert_eq!(verify(&one, body, &keys(), "ecs", SIGNED_AT).unwrap().region, "eu-west-1");
    let two = request("http://127.0.0.1:4566/").body(()).unwrap().into_parts().0;
    assert!(verify(&two, body, &keys(), "ecs", SIGNED_AT).is_ok());
    let changed = br#"{"clusterName": "b"}"#;
    assert_eq!(verify(&one, changed, &keys(), "ecs", SIGNED_AT), Err(SignatureError::Mismatch));
}

/// A request that AWS's own signer signed with what a task was given, and its token in a header or in the URL.
fn signed_by_task(given: &TaskCredentials, presigned: bool) -> Parts {
    let token = Some(given.token.to_string());
    let identity =
        Credentials::new(&given.access_key_id, given.secret_access_key.to_string(), token, None, "test").into();
    let mut settings = SigningSettings::default();
    if presigned {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(60));
    }
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("service")
        .time(SystemTime::UNIX_EPOCH + SIGNED_AT.since(Timestamp(0)))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let mut request =
        Request::builder().uri("http://127.0.0.1:4566/").header("host", "127.0.0.1:4566").body(()).unwrap();
    let signable = SignableRequest::new(
        "GET",
        "http://127.0.0.1:4566/",
        [("host", "127.0.0.1:4566")].into_iter(),
        SignableBody::Bytes(b""),
    );
    let (instructions, _) = sign(signable.unwrap(), &params).unwrap().into_parts();
    instructions.apply_to_request_http1x(&mut request);
    request.into_parts().0
}

#[test]
fn what_a_task_was_given_counts_with_its_token_and_for_its_time() {
    let roles = TaskRoles::default();
    let id = roles.associate(TaskId(1), "role", 1);
    let given = roles.credentials(TaskId(1), id.as_str(), SIGNED_AT, &[9; 96]).unwrap();
    let keys = keys().with_task_roles(roles.clone());
    let check = |parts: &Parts, now| verify(parts, b"", &keys, "service", now).map(|scope| scope.access_key_id);
    for presigned in [false, true] {
        let parts = signed_by_task(&given, presigned);
        assert_eq!(check(&parts, SIGNED_AT), Ok(given.access_key_id.clone()), "presigned: {presigned}");
        assert_eq!(verify(&parts, b"", &self::keys(), "service", SIGNED_AT), Err(SignatureError::UnknownKey));
        assert_eq!(check(&parts, SIGNED_AT + Duration::from_secs(3600)), Err(SignatureError::ExpiredToken));
    }
    let mut without = signed_by_task(&given, false);
    without.headers.remove("x-amz-security-token");
    assert_eq!(check(&without, SIGNED_AT), Err(SignatureError::UnknownKey));
    let mut other = signed_by_task(&given, false);
    other.headers.insert("x-amz-security-token", "another".parse().unwrap());
    assert_eq!(check(&other, SIGNED_AT), Err(SignatureError::UnknownKey));
    roles.end(TaskId(1));
    assert_eq!(check(&signed_by_task(&given, false), SIGNED_AT), Err(SignatureError::UnknownKey));
}
