//! `GET /api/hello`, `GET /livez`, `GET /readyz`: for load tests, for the process supervisor, for the load balancer.

use actix_web::{HttpResponse, web};

use crate::accounts::Services;
use crate::accounts::readiness::readiness;

/// Hello
#[utoipa::path(
    get, path = "/api/hello", tag = "health",
    responses((status = 200, description = "The cheapest answer, the ceiling in load tests", body = String, content_type = "application/json", example = json!("Hello")))
)]
pub(crate) async fn hello() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body("\"Hello\"")
}

/// Is the process alive
#[utoipa::path(
    get, path = "/livez", tag = "health",
    responses((status = 200, description = "It can answer; the database is not asked", body = String, content_type = "text/plain"))
)]
pub(crate) async fn livez() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

/// Can requests be served
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses(
        (status = 200, description = "Yes; a line a check", body = String, content_type = "text/plain"),
        (status = 503, description = "No; the lines say which part is not ready", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn readyz(services: web::Data<Services>) -> HttpResponse {
    let ready = readiness(&services).await;
    let lines = [
        ("database", ready.database),
        ("database workers", ready.database_workers),
        ("signing keys", ready.signing_keys),
        ("hash workers", ready.hash_workers),
        ("not shutting down", ready.not_stopping),
    ]
    .map(|(check, is_well)| format!("{check}: {}\n", if is_well { "ok" } else { "failed" }));
    let mut response = if ready.is_ready() { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.content_type("text/plain; charset=utf-8").body(lines.concat())
}
