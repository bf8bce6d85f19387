//! The one error of the API, and the one table that gives it a status and its names on the wire.
//!
//! JSON services name an error by its exception (`ClusterNotFoundException`), Query services by a code
//! (`LoadBalancerNotFound`). Both and the status are read from one row per kind, so a new kind has to choose all three.

use std::error::Error;
use std::fmt;

use http::StatusCode;

/// A failure that the caller sees. `kind` is contract; `message` is for people.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub kind: ErrorKind,
    pub message: String,
    /// What a `ConflictException` is in conflict with.
    pub resource_ids: Vec<String>,
    /// What went wrong inside: logged once at the edge, never sent.
    #[source]
    cause: Option<Box<dyn Error + Send + Sync>>,
}

/// Every way in which a request can fail. The wire's names add `Exception` where the protocol wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    // Amazon ECS.
    AccessDenied,
    AttributeLimitExceeded,
    Blocked,
    Client,
    ClusterContainsCapacityProvider,
    ClusterContainsContainerInstances,
    ClusterContainsServices,
    ClusterContainsTasks,
    ClusterNotFound,
    Conflict,
    InvalidParameter,
    LimitExceeded,
    NamespaceNotFound,
    PlatformTaskDefinitionIncompatibility,
    PlatformUnknown,
    ResourceInUse,
    ResourceNotFound,
    Server,
    ServiceNotActive,
    ServiceNotFound,
    UnsupportedFeature,
    UpdateInProgress,

    // Elastic Load Balancing.
    AllocationIdNotFound,
    AlpnPolicyNotSupported,
    AvailabilityZoneNotSupported,
    CertificateNotFound,
    DuplicateListener,
    DuplicateLoadBalancerName,
    DuplicateTagKeys,
    DuplicateTargetGroupName,
    IncompatibleProtocols,
    InvalidConfigurationRequest,
    InvalidLoadBalancerAction,
    InvalidScheme,
    InvalidSecurityGroup,
    InvalidSubnet,
    InvalidTarget,
    ListenerNotFound,
    LoadBalancerNotFound,
    OperationNotPermitted,
    PriorityInUse,
    RuleNotFound,
    SslPolicyNotFound,
    SubnetNotFound,
    TargetGroupAssociationLimit,
    TargetGroupNotFound,
    TooManyActions,
    TooManyCertificates,
    TooManyListeners,
    TooManyLoadBalancers,
    TooManyRules,
    TooManyTags,
    TooManyTargetGroups,
    TooManyTargets,
    UnsupportedProtocol,

    // Secrets Manager, beside what it shares with ECS.
    InvalidNextToken,
    InvalidRequest,
    MalformedPolicyDocument,
    ResourceExists,

    // Parameter Store, whose names mostly have no ending.
    HierarchyLevelLimitExceeded,
    InvalidAllowedPattern,
    InvalidFilterKey,
    InvalidFilterOption,
    InvalidFilterValue,
    InvalidResourceId,
    InvalidResourceType,
    InvalidToken,
    ParameterAlreadyExists,
    ParameterMaxVersionLimitExceeded,
    ParameterNotFound,
    ParameterPatternMismatch,
    ParameterVersionLabelLimitExceeded,
    ParameterVersionNotFound,
    TooManyTagsError,

    // Every service, before an operation is reached.
    ExpiredToken,
    IncompleteSignature,
    InvalidSignature,
    MissingAuthenticationToken,
    RequestEntityTooLarge,
    Serialization,
    Throttling,
    Unavailable,
    UnknownOperation,
    UnrecognizedClient,
    Validation,
}

/// One row of the table: the status, the exception's name and the Query code.
type Row = (StatusCode, &'static str, &'static str);

impl ErrorKind {
    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        self.row().0
    }

    /// The name in `__type` of a JSON error.
    pub fn exception(self) -> &'static str {
        self.row().1
    }

    /// The `Code` of an XML error.
    pub fn code(self) -> &'static str {
        self.row().2
    }

    /// Whose fault it is, as XML errors say it.
    pub fn is_senders(self) -> bool {
        self.status().is_client_error()
    }

    /// The only place in the crate where a failure becomes a status code or a name on the wire.
    #[rustfmt::skip] // A table: one row a line.
    fn row(self) -> Row {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
        match self {
            ErrorKind::AccessDenied => (BAD, "AccessDeniedException", "AccessDenied"),
            ErrorKind::AttributeLimitExceeded => (BAD, "AttributeLimitExceededException", "AttributeLimitExceeded"),
            ErrorKind::Blocked => (BAD, "BlockedException", "Blocked"),
            ErrorKind::Client => (BAD, "ClientException", "ValidationError"),
            ErrorKind::ClusterContainsCapacityProvider => (BAD, "ClusterContainsCapacityProviderException", "ResourceInUse"),
            ErrorKind::ClusterContainsContainerInstances => (BAD, "ClusterContainsContainerInstancesException", "ResourceInUse"),
            ErrorKind::ClusterContainsServices => (BAD, "ClusterContainsServicesException", "ResourceInUse"),
            ErrorKind::ClusterContainsTasks => (BAD, "ClusterContainsTasksException", "ResourceInUse"),
            ErrorKind::ClusterNotFound => (BAD, "ClusterNotFoundException", "ClusterNotFound"),
            ErrorKind::Conflict => (BAD, "ConflictException", "Conflict"),
            ErrorKind::InvalidParameter => (BAD, "InvalidParameterException", "ValidationError"),
            ErrorKind::LimitExceeded => (BAD, "LimitExceededException", "LimitExceeded"),
            ErrorKind::NamespaceNotFound => (BAD, "NamespaceNotFoundException", "NamespaceNotFound"),
            ErrorKind::PlatformTaskDefinitionIncompatibility => (BAD, "PlatformTaskDefinitionIncompatibilityException", "ValidationError"),
            ErrorKind::PlatformUnknown => (BAD, "PlatformUnknownException", "ValidationError"),
            ErrorKind::ResourceInUse => (BAD, "ResourceInUseException", "ResourceInUse"),
            ErrorKind::ResourceNotFound => (BAD, "ResourceNotFoundException", "ResourceNotFound"),
            ErrorKind::Server => (StatusCode::INTERNAL_SERVER_ERROR, "ServerException", "InternalFailure"),
            ErrorKind::ServiceNotActive => (BAD, "ServiceNotActiveException", "ServiceNotActive"),
            ErrorKind::ServiceNotFound => (BAD, "ServiceNotFoundException", "ServiceNotFound"),
            ErrorKind::UnsupportedFeature => (BAD, "UnsupportedFeatureException", "UnsupportedOperation"),
            ErrorKind::UpdateInProgress => (BAD, "UpdateInProgressException", "UpdateInProgress"),

            ErrorKind::AllocationIdNotFound => (BAD, "AllocationIdNotFoundException", "AllocationIdNotFound"),
            // The code is not the exception's name here.
            ErrorKind::AlpnPolicyNotSupported => (BAD, "ALPNPolicyNotSupportedException", "ALPNPolicyNotFound"),
            ErrorKind::AvailabilityZoneNotSupported => (BAD, "AvailabilityZoneNotSupportedException", "AvailabilityZoneNotSupported"),
            ErrorKind::CertificateNotFound => (BAD, "CertificateNotFoundException", "CertificateNotFound"),
            ErrorKind::DuplicateListener => (BAD, "DuplicateListenerException", "DuplicateListener"),
            ErrorKind::DuplicateLoadBalancerName => (BAD, "DuplicateLoadBalancerNameException", "DuplicateLoadBalancerName"),
            ErrorKind::DuplicateTagKeys => (BAD, "DuplicateTagKeysException", "DuplicateTagKeys"),
            ErrorKind::DuplicateTargetGroupName => (BAD, "DuplicateTargetGroupNameException", "DuplicateTargetGroupName"),
            ErrorKind::IncompatibleProtocols => (BAD, "IncompatibleProtocolsException", "IncompatibleProtocols"),
            ErrorKind::InvalidConfigurationRequest => (BAD, "InvalidConfigurationRequestException", "InvalidConfigurationRequest"),
            ErrorKind::InvalidLoadBalancerAction => (BAD, "InvalidLoadBalancerActionException", "InvalidLoadBalancerAction"),
            ErrorKind::InvalidScheme => (BAD, "InvalidSchemeException", "InvalidScheme"),
            ErrorKind::InvalidSecurityGroup => (BAD, "InvalidSecurityGroupException", "InvalidSecurityGroup"),
            ErrorKind::InvalidSubnet => (BAD, "InvalidSubnetException", "InvalidSubnet"),
            ErrorKind::InvalidTarget => (BAD, "InvalidTargetException", "InvalidTarget"),
            ErrorKind::ListenerNotFound => (BAD, "ListenerNotFoundException", "ListenerNotFound"),
            ErrorKind::LoadBalancerNotFound => (BAD, "LoadBalancerNotFoundException", "LoadBalancerNotFound"),
            ErrorKind::OperationNotPermitted => (BAD, "OperationNotPermittedException", "OperationNotPermitted"),
            ErrorKind::PriorityInUse => (BAD, "PriorityInUseException", "PriorityInUse"),
            ErrorKind::RuleNotFound => (BAD, "RuleNotFoundException", "RuleNotFound"),
            ErrorKind::SslPolicyNotFound => (BAD, "SSLPolicyNotFoundException", "SSLPolicyNotFound"),
            ErrorKind::SubnetNotFound => (BAD, "SubnetNotFoundException", "SubnetNotFound"),
            ErrorKind::TargetGroupAssociationLimit => (BAD, "TargetGroupAssociationLimitException", "TargetGroupAssociationLimit"),
            ErrorKind::TargetGroupNotFound => (BAD, "TargetGroupNotFoundException", "TargetGroupNotFound"),
            ErrorKind::TooManyActions => (BAD, "TooManyActionsException", "TooManyActions"),
            ErrorKind::TooManyCertificates => (BAD, "TooManyCertificatesException", "TooManyCertificates"),
            ErrorKind::TooManyListeners => (BAD, "TooManyListenersException", "TooManyListeners"),
            ErrorKind::TooManyLoadBalancers => (BAD, "TooManyLoadBalancersException", "TooManyLoadBalancers"),
            ErrorKind::TooManyRules => (BAD, "TooManyRulesException", "TooManyRules"),
            ErrorKind::TooManyTags => (BAD, "TooManyTagsException", "TooManyTags"),
            ErrorKind::TooManyTargetGroups => (BAD, "TooManyTargetGroupsException", "TooManyTargetGroups"),
            ErrorKind::TooManyTargets => (BAD, "TooManyTargetsException", "TooManyTargets"),
            ErrorKind::UnsupportedProtocol => (BAD, "UnsupportedProtocolException", "UnsupportedProtocol"),

            ErrorKind::InvalidNextToken => (BAD, "InvalidNextTokenException", "InvalidNextToken"),
            ErrorKind::InvalidRequest => (BAD, "InvalidRequestException", "InvalidRequest"),
            ErrorKind::MalformedPolicyDocument => (BAD, "MalformedPolicyDocumentException", "MalformedPolicyDocument"),
            ErrorKind::ResourceExists => (BAD, "ResourceExistsException", "ResourceExists"),

            ErrorKind::HierarchyLevelLimitExceeded => (BAD, "HierarchyLevelLimitExceededException", "HierarchyLevelLimitExceeded"),
            ErrorKind::InvalidAllowedPattern => (BAD, "InvalidAllowedPatternException", "InvalidAllowedPattern"),
            ErrorKind::InvalidFilterKey => (BAD, "InvalidFilterKey", "InvalidFilterKey"),
            ErrorKind::InvalidFilterOption => (BAD, "InvalidFilterOption", "InvalidFilterOption"),
            ErrorKind::InvalidFilterValue => (BAD, "InvalidFilterValue", "InvalidFilterValue"),
            ErrorKind::InvalidResourceId => (BAD, "InvalidResourceId", "InvalidResourceId"),
            ErrorKind::InvalidResourceType => (BAD, "InvalidResourceType", "InvalidResourceType"),
            ErrorKind::InvalidToken => (BAD, "InvalidNextToken", "InvalidNextToken"),
            ErrorKind::ParameterAlreadyExists => (BAD, "ParameterAlreadyExists", "ParameterAlreadyExists"),
            ErrorKind::ParameterMaxVersionLimitExceeded => (BAD, "ParameterMaxVersionLimitExceeded", "ParameterMaxVersionLimitExceeded"),
            ErrorKind::ParameterNotFound => (BAD, "ParameterNotFound", "ParameterNotFound"),
            ErrorKind::ParameterPatternMismatch => (BAD, "ParameterPatternMismatchException", "ParameterPatternMismatch"),
            ErrorKind::ParameterVersionLabelLimitExceeded => (BAD, "ParameterVersionLabelLimitExceeded", "ParameterVersionLabelLimitExceeded"),
            ErrorKind::ParameterVersionNotFound => (BAD, "ParameterVersionNotFound", "ParameterVersionNotFound"),
            ErrorKind::TooManyTagsError => (BAD, "TooManyTagsError", "TooManyTagsError"),

            ErrorKind::ExpiredToken => (FORBIDDEN, "ExpiredTokenException", "RequestExpired"),
            ErrorKind::IncompleteSignature => (BAD, "IncompleteSignatureException", "IncompleteSignature"),
            ErrorKind::InvalidSignature => (FORBIDDEN, "InvalidSignatureException", "SignatureDoesNotMatch"),
            ErrorKind::MissingAuthenticationToken => (FORBIDDEN, "MissingAuthenticationTokenException", "MissingAuthenticationToken"),
            ErrorKind::RequestEntityTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException", "RequestEntityTooLarge"),
            ErrorKind::Serialization => (BAD, "SerializationException", "MalformedInput"),
            ErrorKind::Throttling => (BAD, "ThrottlingException", "Throttling"),
            ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException", "ServiceUnavailable"),
            ErrorKind::UnknownOperation => (BAD, "UnknownOperationException", "InvalidAction"),
            ErrorKind::UnrecognizedClient => (FORBIDDEN, "UnrecognizedClientException", "InvalidClientTokenId"),
            ErrorKind::Validation => (BAD, "ValidationException", "ValidationError"),
        }
    }
}

impl ApiError {
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> ApiError {
        ApiError { kind, message: message.to_string(), resource_ids: Vec::new(), cause: None }
    }

    /// What went wrong inside, for the log.
    pub fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> ApiError {
        self.cause = Some(cause.into());
        self
    }

    pub fn client(message: impl fmt::Display) -> ApiError {
        ApiError::new(ErrorKind::Client, message)
    }

    pub fn invalid_parameter(message: impl fmt::Display) -> ApiError {
        ApiError::new(ErrorKind::InvalidParameter, message)
    }

    /// What Elastic Load Balancing says of a value that it refuses.
    pub fn validation(message: impl fmt::Display) -> ApiError {
        ApiError::new(ErrorKind::Validation, message)
    }

    pub fn cluster_not_found() -> ApiError {
        ApiError::new(ErrorKind::ClusterNotFound, "Cluster not found.")
    }

    pub fn service_not_found() -> ApiError {
        ApiError::new(ErrorKind::ServiceNotFound, "Service not found.")
    }

    pub fn service_not_active() -> ApiError {
        ApiError::new(ErrorKind::ServiceNotActive, "Service was not ACTIVE.")
    }

    /// The same client token came with other parameters.
    pub fn conflict(message: impl fmt::Display, resource_ids: Vec<String>) -> ApiError {
        ApiError { resource_ids, ..ApiError::new(ErrorKind::Conflict, message) }
    }

    pub fn server(cause: impl Into<Box<dyn Error + Send + Sync>>) -> ApiError {
        ApiError::new(ErrorKind::Server, "The server could not complete the request.").caused_by(cause)
    }

    pub fn unknown_operation(name: &str) -> ApiError {
        ApiError::new(ErrorKind::UnknownOperation, format_args!("The operation {name} is not known."))
    }

    /// The same, as Query services say it.
    pub fn unknown_action(name: &str, version: &str) -> ApiError {
        ApiError::new(
            ErrorKind::UnknownOperation,
            format_args!("Could not find operation {name} for version {version}"),
        )
    }

    pub fn too_large() -> ApiError {
        ApiError::new(ErrorKind::RequestEntityTooLarge, "The request's body is too large.")
    }

    /// An operation that AWS has, and that is not here yet.
    pub fn not_offered(name: &str) -> ApiError {
        ApiError::new(ErrorKind::UnsupportedFeature, format_args!("{name} is not available in Coracle yet."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_names_of_both_protocols() {
        let missing = ApiError::cluster_not_found();
        assert_eq!(missing.kind.exception(), "ClusterNotFoundException");
        assert_eq!(missing.to_string(), "Cluster not found.");
        assert_eq!(ErrorKind::LoadBalancerNotFound.code(), "LoadBalancerNotFound");
        assert_eq!(ErrorKind::UnknownOperation.code(), "InvalidAction");
    }

    #[test]
    fn only_failures_of_ours_are_not_the_senders() {
        assert!(ErrorKind::Client.is_senders());
        assert!(ErrorKind::InvalidSignature.is_senders());
        assert!(!ErrorKind::Server.is_senders());
        assert!(!ErrorKind::Unavailable.is_senders());
    }

    #[test]
    fn keeps_the_cause_out_of_the_message() {
        let error = ApiError::server(std::io::Error::other("disk on fire"));
        assert!(!error.to_string().contains("fire"));
        assert_eq!(error.source().map(|cause| cause.to_string()), Some(String::from("disk on fire")));
    }
}
