//! Signing out, and the list of one's sessions.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::accounts::Services;
use crate::accounts::sign_out::{end_session, revoke_token, sessions, sign_out, sign_out_everywhere};
use crate::domain::session::{Session, SessionId};
use crate::http::bearer::Bearer;
use crate::http::body;
use crate::http::problem::{Kind, OAuthErrorBody, Problem, ProblemBody};
use crate::http::token::present;

/// Sign out
///
/// Ends the session that the token belongs to: this token and every other one of the session is refused from the next
/// request on, on every node.
#[utoipa::path(
    post, path = "/api/logout", tag = "sessions", security(("OAuth2PasswordBearer" = [])),
    responses(
        (status = 204, description = "Signed out"),
        (status = 401, description = "No token, or not a valid one", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The database takes no writes: still signed in", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn logout(services: web::Data<Services>, Bearer(who): Bearer) -> Result<HttpResponse, Problem> {
    sign_out(&services, &who).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Sign out everywhere
///
/// Ends every session of the user, this one too.
#[utoipa::path(
    post, path = "/api/logout_all", tag = "sessions", security(("OAuth2PasswordBearer" = [])),
    responses(
        (status = 204, description = "Signed out everywhere"),
        (status = 401, description = "No token, or not a valid one", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The database takes no writes: still signed in", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn logout_all(services: web::Data<Services>, Bearer(who): Bearer) -> Result<HttpResponse, Problem> {
    sign_out_everywhere(&services, who.user.id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A session, as its owner sees it. Times are seconds since 1970-01-01 UTC.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionView {
    /// Its name, for `DELETE /api/user/sessions/{id}`.
    #[schema(example = "q83vEjRWeJCrze8SNFZ4kA")]
    id: String,
    /// Whether this request was made with a token of it.
    is_current: bool,
    /// When its owner signed in.
    created_at: i64,
    /// When its tokens were renewed last.
    rotated_at: i64,
    /// When it ends unless they are renewed.
    expires_at: i64,
    /// What the client called itself when its owner signed in.
    user_agent: String,
    /// Where it was then.
    #[schema(example = "192.0.2.1")]
    address: String,
}

impl SessionView {
    fn new(session: Session, current: Option<SessionId>) -> Self {
        Self {
            id: session.id.to_string(),
            is_current: Some(session.id) == current,
            created_at: session.created_at.0,
            rotated_at: session.rotated_at.0,
            expires_at: session.expires_at.0,
            user_agent: session.client.user_agent,
            address: session.client.address,
        }
    }
}

/// Where am I signed in
#[utoipa::path(
    get, path = "/api/user/sessions", tag = "sessions", security(("OAuth2PasswordBearer" = [])),
    responses(
        (status = 200, description = "The open sessions, the one used last first; 200 at most", body = Vec<SessionView>),
        (status = 401, description = "No token, or not a valid one", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(services: web::Data<Services>, Bearer(who): Bearer) -> Result<HttpResponse, Problem> {
    let found = sessions(&services, who.user.id).await?;
    let views: Vec<_> = found.into_iter().map(|session| SessionView::new(session, who.session)).collect();
    Ok(HttpResponse::Ok().json(views))
}

/// End one session
#[utoipa::path(
    delete, path = "/api/user/sessions/{id}", tag = "sessions", security(("OAuth2PasswordBearer" = [])),
    params(("id" = String, Path, description = "As `GET /api/user/sessions` names it")),
    responses(
        (status = 204, description = "Ended"),
        (status = 401, description = "No token, or not a valid one", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "None of the user's open sessions has this name", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The database takes no writes", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete(
    services: web::Data<Services>,
    Bearer(who): Bearer,
    name: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: SessionId = name.parse().map_err(|_| Kind::NotFound)?;
    match end_session(&services, who.user.id, id).await? {
        true => Ok(HttpResponse::NoContent().finish()),
        false => Err(Kind::NotFound.into()),
    }
}

/// RFC 7009 2.1.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the body in the API document; the handler reads the one parameter that counts")]
pub(crate) struct RevocationRequest {
    /// An access or a refresh token.
    token: String,
    /// Ignored: both kinds are told apart by their form.
    token_type_hint: Option<String>,
}

/// Revoke a token (RFC 7009)
///
/// Ends the session that it belongs to. 200 also for a token that is not valid, as it is as good as revoked.
#[utoipa::path(
    post, path = "/oauth2/revoke", tag = "OAuth 2.0",
    request_body(content = RevocationRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Revoked, or not valid"),
        (status = 400, description = "The parameter token is missing", body = OAuthErrorBody),
        (status = 415, description = "Not a form", body = OAuthErrorBody),
        (status = 503, description = "The database takes no writes: not revoked", body = OAuthErrorBody),
    )
)]
pub(crate) async fn revoke(
    services: web::Data<Services>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let revoked = async {
        let token = present(&mut body::form(&request, payload).await?, "token")?;
        revoke_token(&services, &token).await?;
        Ok::<_, Problem>(HttpResponse::Ok().finish())
    };
    revoked.await.map_err(Problem::on_token_endpoint)
}
