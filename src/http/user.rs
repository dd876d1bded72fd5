//! `GET /api/user/me` and `GET /api/is_logined`: who am I, and am I anybody.

use actix_web::HttpResponse;
use actix_web::http::header;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::bearer::{Bearer, MaybeBearer};
use crate::http::problem::ProblemBody;
use crate::http::register::UserView;

/// Who am I
#[utoipa::path(
    get, path = "/api/user/me", tag = "accounts", security(("OAuth2PasswordBearer" = [])),
    responses(
        (status = 200, description = "The signed-in user, read from the database for this request", body = UserView),
        (status = 400, description = "The Authorization header cannot be read", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a valid one", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The database is away: the token may be good", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn me(Bearer(who): Bearer) -> HttpResponse {
    HttpResponse::Ok().json(UserView::from(&who.user))
}

/// Whether somebody is signed in.
#[derive(Serialize, ToSchema)]
pub(crate) struct IsLogined {
    /// `true` for a valid token of a user who is there and enabled.
    is_logined: bool,
}

/// Am I signed in
#[utoipa::path(
    get, path = "/api/is_logined", tag = "accounts", security((), ("OAuth2PasswordBearer" = [])),
    responses(
        (status = 200, description = "Yes or no; never 401", body = IsLogined),
        (status = 503, description = "The token verifies and the database cannot be asked", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn is_logined(MaybeBearer(who): MaybeBearer) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::VARY, header::HeaderValue::from_static("Authorization")))
        .json(IsLogined { is_logined: who.is_some() })
}
