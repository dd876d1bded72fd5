//! Every refusal that a client hears: one RFC 9457 problem that older clients read as well (`detail` is a string),
//! and on the token endpoints an OAuth error (RFC 6749 5.2). The only place where a status code is chosen.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::accounts;

/// RFC 6750 3: what a bearer-protected resource asks for. Commas between the parameters, as RFC 9110 11.2 wants.
const CHALLENGE: &str = "Bearer realm=\"tegata\"";
const CHALLENGE_INVALID_TOKEN: &str = "Bearer realm=\"tegata\", error=\"invalid_token\"";
const CHALLENGE_INVALID_REQUEST: &str = "Bearer realm=\"tegata\", error=\"invalid_request\"";
/// Seconds after which a refused client may try again.
const RETRY_AFTER: &str = "1";

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The field's name in the request.
    #[schema(example = "email")]
    pub field: &'static str,
    /// What to do, for a person. Never the value.
    pub message: String,
}

/// Each way a request can fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The body cannot be parsed; says where.
    MalformedBody(String),
    /// The media type is not the one named.
    UnsupportedMediaType(&'static str),
    /// The body parsed and its fields do not do.
    InvalidFields(Vec<FieldError>),
    /// Over the limit in bytes.
    BodyTooLarge(usize),
    /// The body did not arrive in time.
    BodyTooSlow,
    /// What came in is no HTTP request.
    MalformedHead,
    /// The head of a request has more bytes or more headers than are read.
    HeadTooLarge,
    /// The head did not arrive in time.
    HeadTooSlow,
    /// The address has an account.
    EmailTaken,
    /// Sign-in refused.
    BadCredentials,
    /// Sign-in refused, told by the letter of RFC 6749 5.2.
    BadOwnerCredentials,
    /// A refresh token refused (RFC 6749 5.2: always 400).
    BadGrant,
    /// A parameter is missing, empty or repeated; says which.
    InvalidRequest(String),
    /// A grant type that is not offered.
    UnsupportedGrantType,
    /// No token was presented.
    NotAuthenticated,
    /// A token was presented and is not valid.
    InvalidToken,
    /// The Authorization header cannot be read.
    MalformedAuthorization,
    /// No such path.
    NotFound,
    /// The path exists; these are its methods.
    MethodNotAllowed(&'static str),
    /// One client, or all who try one account, have done this too often.
    TooManyRequests {
        /// Which limit, for the log. The client does not hear it.
        limit: &'static str,
        /// When to try again.
        retry_after_secs: u64,
    },
    /// No room or no time for this request, with the cause for the log.
    Overloaded(String),
    /// The database is away, with the cause for the log.
    Unavailable(String),
    /// A mistake of ours, with its cause for the log.
    Internal(String),
}

/// A refusal, and in which dialect it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    kind: Kind,
    is_oauth: bool,
}

impl From<Kind> for Problem {
    fn from(kind: Kind) -> Self {
        Self { kind, is_oauth: false }
    }
}

impl From<accounts::Error> for Problem {
    fn from(error: accounts::Error) -> Self {
        Self::from(match error {
            accounts::Error::EmailTaken => Kind::EmailTaken,
            accounts::Error::PasswordTooCommon { advice } => {
                Kind::InvalidFields(vec![FieldError { field: "password", message: advice }])
            }
            accounts::Error::BadCredentials => Kind::BadCredentials,
            accounts::Error::BadGrant => Kind::BadGrant,
            accounts::Error::TooManyAttempts { budget, retry_after_secs } => {
                Kind::TooManyRequests { limit: budget, retry_after_secs }
            }
            accounts::Error::TokenRefused => Kind::InvalidToken,
            accounts::Error::Overloaded(cause) => Kind::Overloaded(cause),
            accounts::Error::Unavailable(cause) => Kind::Unavailable(cause),
            accounts::Error::Internal(cause) => Kind::Internal(cause),
        })
    }
}

/// How a kind is told: status, a name for programs, the OAuth code (RFC 6749 5.2).
struct Terms(StatusCode, &'static str, &'static str);

impl Problem {
    /// Tells it as the token endpoints do: with `error` and `error_description`.
    #[must_use]
    pub(crate) fn on_token_endpoint(self) -> Self {
        Self { is_oauth: true, ..self }
    }

    /// What happened, for the log.
    #[must_use]
    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Its name for programs.
    #[must_use]
    pub(crate) fn name(&self) -> &'static str {
        self.terms().1
    }

    fn terms(&self) -> Terms {
        use StatusCode as S;
        match self.kind {
            Kind::MalformedBody(_) => Terms(S::BAD_REQUEST, "malformed-body", "invalid_request"),
            Kind::UnsupportedMediaType(_) => {
                Terms(S::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "invalid_request")
            }
            Kind::InvalidFields(_) => Terms(S::UNPROCESSABLE_ENTITY, "invalid-fields", "invalid_request"),
            Kind::BodyTooLarge(_) => Terms(S::PAYLOAD_TOO_LARGE, "body-too-large", "invalid_request"),
            Kind::BodyTooSlow => Terms(S::REQUEST_TIMEOUT, "body-too-slow", "invalid_request"),
            Kind::MalformedHead => Terms(S::BAD_REQUEST, "malformed-head", "invalid_request"),
            Kind::HeadTooLarge => Terms(S::REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large", "invalid_request"),
            Kind::HeadTooSlow => Terms(S::REQUEST_TIMEOUT, "head-too-slow", "invalid_request"),
            Kind::EmailTaken => Terms(S::CONFLICT, "email-taken", "invalid_request"),
            Kind::BadCredentials => Terms(S::UNAUTHORIZED, "bad-credentials", "invalid_grant"),
            Kind::BadOwnerCredentials => Terms(S::BAD_REQUEST, "bad-credentials", "invalid_grant"),
            Kind::BadGrant => Terms(S::BAD_REQUEST, "bad-grant", "invalid_grant"),
            Kind::InvalidRequest(_) => Terms(S::BAD_REQUEST, "invalid-request", "invalid_request"),
            Kind::UnsupportedGrantType => Terms(S::BAD_REQUEST, "unsupported-grant-type", "unsupported_grant_type"),
            Kind::NotAuthenticated => Terms(S::UNAUTHORIZED, "not-authenticated", "invalid_request"),
            Kind::InvalidToken => Terms(S::UNAUTHORIZED, "invalid-token", "invalid_token"),
            Kind::MalformedAuthorization => Terms(S::BAD_REQUEST, "malformed-authorization", "invalid_request"),
            Kind::NotFound => Terms(S::NOT_FOUND, "not-found", "invalid_request"),
            Kind::MethodNotAllowed(_) => Terms(S::METHOD_NOT_ALLOWED, "method-not-allowed", "invalid_request"),
            Kind::TooManyRequests { .. } => Terms(S::TOO_MANY_REQUESTS, "too-many-requests", "temporarily_unavailable"),
            Kind::Overloaded(_) => Terms(S::SERVICE_UNAVAILABLE, "overloaded", "temporarily_unavailable"),
            Kind::Unavailable(_) => Terms(S::SERVICE_UNAVAILABLE, "unavailable", "temporarily_unavailable"),
            Kind::Internal(_) => Terms(S::INTERNAL_SERVER_ERROR, "internal-error", "server_error"),
        }
    }

    /// The header that belongs to the status.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        let with = |name, value| Some((name, HeaderValue::from_static(value)));
        match self.kind {
            Kind::BadCredentials | Kind::NotAuthenticated => with(header::WWW_AUTHENTICATE, CHALLENGE),
            Kind::InvalidToken => with(header::WWW_AUTHENTICATE, CHALLENGE_INVALID_TOKEN),
            Kind::MalformedAuthorization => with(header::WWW_AUTHENTICATE, CHALLENGE_INVALID_REQUEST),
            Kind::MethodNotAllowed(methods) => with(header::ALLOW, methods),
            Kind::Overloaded(_) | Kind::Unavailable(_) => with(header::RETRY_AFTER, RETRY_AFTER),
            // RFC 6585 4.
            Kind::TooManyRequests { retry_after_secs, .. } => Some((header::RETRY_AFTER, retry_after_secs.into())),
            Kind::BodyTooLarge(_)
            | Kind::BodyTooSlow
            | Kind::MalformedHead
            | Kind::HeadTooLarge
            | Kind::HeadTooSlow
            | Kind::MalformedBody(_)
            | Kind::UnsupportedMediaType(_)
            | Kind::InvalidFields(_)
            | Kind::EmailTaken
            | Kind::BadOwnerCredentials
            | Kind::BadGrant
            | Kind::InvalidRequest(_)
            | Kind::UnsupportedGrantType
            | Kind::NotFound
            | Kind::Internal(_) => None,
        }
    }

    /// The answer, with the request's id in the body if it is known.
    pub(crate) fn render(&self, request_id: Option<&str>) -> HttpResponse {
        let Terms(status, name, oauth_code) = self.terms();
        let problem = ProblemBody {
            r#type: format!("urn:tegata:problem:{name}"),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            detail: self.to_string(),
            request_id: request_id.unwrap_or_default().to_owned(),
            errors: match &self.kind {
                Kind::InvalidFields(errors) => Some(errors.clone()),
                _ => None,
            },
        };
        let mut response = HttpResponse::build(status);
        if matches!(self.kind, Kind::BodyTooLarge(_) | Kind::BodyTooSlow) {
            // What is left of the body is not read, so the connection cannot go on.
            response.force_close();
        }
        if let Some(header) = self.header() {
            response.insert_header(header);
        }
        if self.is_oauth {
            response.insert_header((header::PRAGMA, HeaderValue::from_static("no-cache")));
            let error_description = problem.detail.clone();
            response.json(OAuthErrorBody { problem, error: oauth_code, error_description })
        } else {
            response.insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json")));
            response.json(problem)
        }
    }
}

/// An RFC 9457 problem.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProblemBody {
    /// Names the kind of problem, for programs.
    #[schema(example = "urn:tegata:problem:email-taken")]
    r#type: String,
    /// The status in words.
    #[schema(example = "Conflict")]
    title: String,
    /// The status.
    #[schema(example = 409)]
    status: u16,
    /// What happened, for people.
    #[schema(example = "already used email address")]
    detail: String,
    /// Quote it to the operator.
    request_id: String,
    /// With 422: what is wrong with which field.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<FieldError>>,
}

/// An RFC 6749 5.2 error that is a problem as well.
#[derive(Serialize, ToSchema)]
pub(crate) struct OAuthErrorBody {
    #[serde(flatten)]
    problem: ProblemBody,
    /// RFC 6749 5.2.
    #[schema(example = "invalid_grant")]
    error: &'static str,
    /// The same as `detail`.
    #[schema(example = "incorrect email or password")]
    error_description: String,
}

/// The detail, for a person: printable ASCII without `"` and `\` (RFC 6749 5.2), and nothing that the client sent.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::MalformedBody(what) | Kind::InvalidRequest(what) => f.write_str(what),
            Kind::UnsupportedMediaType(expected) => write!(f, "send the body as {expected}, unpacked and in UTF-8"),
            Kind::InvalidFields(_) => f.write_str("some fields are not valid; see errors"),
            Kind::BodyTooLarge(limit) => write!(f, "the body is larger than {limit} bytes"),
            Kind::BodyTooSlow => f.write_str("the body did not arrive in time"),
            Kind::MalformedHead => f.write_str("the request does not follow RFC 9112 (HTTP/1.1)"),
            Kind::HeadTooLarge => f.write_str("the head of the request is too large"),
            Kind::HeadTooSlow => f.write_str("the head of the request did not arrive in time"),
            Kind::EmailTaken => f.write_str("already used email address"),
            Kind::BadCredentials | Kind::BadOwnerCredentials => f.write_str("incorrect email or password"),
            Kind::BadGrant => f.write_str("the refresh token is not valid any more; sign in again"),
            Kind::UnsupportedGrantType => {
                f.write_str("this grant type is not offered; use grant_type=password or grant_type=refresh_token")
            }
            Kind::NotAuthenticated => f.write_str("not authenticated"),
            Kind::InvalidToken => f.write_str("could not validate credentials"),
            Kind::MalformedAuthorization => f.write_str("the Authorization header is not of the form: Bearer token"),
            Kind::NotFound => f.write_str("there is nothing at this address"),
            Kind::MethodNotAllowed(methods) => write!(f, "this address takes {methods}"),
            Kind::TooManyRequests { .. } => {
                f.write_str("too many attempts; wait for as many seconds as the Retry-After header says")
            }
            Kind::Overloaded(_) => f.write_str("too much to do right now; try again in a moment"),
            Kind::Unavailable(_) => f.write_str("temporarily unavailable; try again in a moment"),
            Kind::Internal(_) => f.write_str("something went wrong on our side; tell the operator the request id"),
        }
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.terms().0
    }

    fn error_response(&self) -> HttpResponse {
        self.render(None)
    }
}
