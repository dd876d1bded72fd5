//! What other services need to know to check our tokens: the public keys (RFC 7517), and where things are (RFC 8414).

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::accounts::Services;
use crate::http::problem::{Kind, Problem, ProblemBody};

/// For how long the answers may be kept. Shorter than a new key is published before it signs, with the time that each
/// node takes to read it: see `accounts::signing_keys`.
const KEPT: (header::HeaderName, header::HeaderValue) =
    (header::CACHE_CONTROL, header::HeaderValue::from_static("public, max-age=300"));

/// The public keys
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "OAuth 2.0",
    responses(
        (status = 200, description = "A JWK set (RFC 7517 5); empty with HS256, whose key is secret", body = Object),
        (status = 503, description = "The keys have not been read from the database yet", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn jwks(services: web::Data<Services>) -> Result<HttpResponse, Problem> {
    let keys = services.jwks()?;
    Ok(HttpResponse::Ok().insert_header(KEPT).content_type("application/jwk-set+json").body(keys))
}

/// RFC 8414 2.
#[derive(Serialize, ToSchema)]
pub(crate) struct Metadata {
    /// The same as `iss` in tokens.
    #[schema(example = "https://auth.example.com")]
    issuer: String,
    token_endpoint: String,
    revocation_endpoint: String,
    jwks_uri: String,
    response_types_supported: [&'static str; 0],
    grant_types_supported: [&'static str; 2],
    token_endpoint_auth_methods_supported: [&'static str; 1],
    revocation_endpoint_auth_methods_supported: [&'static str; 1],
    service_documentation: String,
}

/// Where things are
#[utoipa::path(
    get, path = "/.well-known/oauth-authorization-server", tag = "OAuth 2.0",
    responses(
        (status = 200, description = "RFC 8414", body = Metadata),
        (status = 404, description = "The setting ISSUER is not there", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn metadata(services: web::Data<Services>) -> Result<HttpResponse, Problem> {
    // Without the setting nobody knows under which name clients find this server.
    let issuer = services.issuer_url().ok_or(Kind::NotFound)?;
    Ok(HttpResponse::Ok().insert_header(KEPT).json(Metadata {
        issuer: issuer.to_owned(),
        token_endpoint: format!("{issuer}/oauth2/token"),
        revocation_endpoint: format!("{issuer}/oauth2/revoke"),
        jwks_uri: format!("{issuer}/.well-known/jwks.json"),
        // There is no authorization endpoint.
        response_types_supported: [],
        grant_types_supported: ["password", "refresh_token"],
        token_endpoint_auth_methods_supported: ["none"],
        revocation_endpoint_auth_methods_supported: ["none"],
        service_documentation: format!("{issuer}/docs"),
    }))
}
