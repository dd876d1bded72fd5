//! A service beside Tegata that checks access tokens by itself, with the keys that Tegata publishes. The same in
//! Python and TypeScript, and when to ask Tegata instead: examples/verifier/README.md.
//!
//!   verifier ISSUER PORT

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use actix_web::http::header;
use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer, web};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde::{Deserialize, Serialize};

/// A token of a key that we do not know is worth one look at the list, not one for each that somebody makes up.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How long the list may be kept (its Cache-Control says so): keys that were withdrawn are gone after that.
const KEPT: Duration = Duration::from_secs(300);

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    email: String,
}

/// Why a token is not taken: it is bad, or nobody can tell.
enum Refusal {
    Invalid,
    KeysAway,
}

struct Verifier {
    issuer: String,
    /// By name; with each key what its tokens must be like.
    keys: RwLock<HashMap<String, (DecodingKey, Validation)>>,
    asked_at: Mutex<Instant>,
}

impl Verifier {
    fn new(issuer: String) -> Result<Self, ureq::Error> {
        let verifier = Self { issuer, keys: RwLock::default(), asked_at: Mutex::new(Instant::now()) };
        verifier.fetch()?;
        Ok(verifier)
    }

    /// Errors: the list could not be had; the keys that we have stay.
    fn fetch(&self) -> Result<(), ureq::Error> {
        let request = ureq::get(format!("{}/.well-known/jwks.json", self.issuer));
        let timed = request.config().timeout_global(Some(Duration::from_secs(5))).build();
        let published: JwkSet = timed.call()?.body_mut().read_json()?;
        let usable = published.keys.iter().filter_map(|jwk| {
            // The key says which algorithm is used with it. What the token says may be the attacker's choice.
            let mut validation = Validation::new(jwk.common.key_algorithm?.to_string().parse().ok()?);
            validation.leeway = 0;
            validation.validate_nbf = true;
            validation.set_issuer(&[&self.issuer]);
            validation.set_audience(&["tegata"]);
            validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
            Some((jwk.common.key_id.clone()?, (DecodingKey::from_jwk(jwk).ok()?, validation)))
        });
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = usable.collect();
        Ok(())
    }

    fn check(&self, token: &str) -> Result<Claims, Refusal> {
        let header = decode_header(token).map_err(|_| Refusal::Invalid)?;
        let kid = header.kid.ok_or(Refusal::Invalid)?;
        if header.typ.as_deref() != Some("at+jwt") {
            return Err(Refusal::Invalid);
        }
        self.check_with(&kid, token).unwrap_or_else(|| {
            // Whoever waits here for somebody else's question has the answer when it is his turn.
            let mut asked_at = self.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
            if asked_at.elapsed() >= ASK_AGAIN_AFTER {
                *asked_at = Instant::now();
                self.fetch().map_err(|_| Refusal::KeysAway)?;
            }
            self.check_with(&kid, token).unwrap_or(Err(Refusal::Invalid))
        })
    }

    /// `None`: there is no such key.
    fn check_with(&self, kid: &str, token: &str) -> Option<Result<Claims, Refusal>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let (key, validation) = keys.get(kid)?;
        Some(decode(token, key, validation).map(|token| token.claims).map_err(|_| Refusal::Invalid))
    }
}

async fn whoami(verifier: web::Data<Verifier>, request: HttpRequest) -> Result<HttpResponse, Error> {
    let Some(token) = bearer(&request) else { return Ok(unauthorized("Bearer")) };
    // On a thread that may wait: the check may have to fetch the keys.
    Ok(match web::block(move || verifier.check(&token)).await? {
        Ok(claims) => HttpResponse::Ok().json(claims),
        Err(Refusal::Invalid) => unauthorized(r#"Bearer error="invalid_token""#),
        // Not 401: the client would throw a good token away.
        Err(Refusal::KeysAway) => HttpResponse::ServiceUnavailable().finish(),
    })
}

/// The token of the request. The name of the scheme may be written in any case (RFC 9110 11.1).
fn bearer(request: &HttpRequest) -> Option<String> {
    let (scheme, token) = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim().to_owned())
}

fn unauthorized(challenge: &str) -> HttpResponse {
    HttpResponse::Unauthorized().insert_header((header::WWW_AUTHENTICATE, challenge)).finish()
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [issuer, port] = arguments.as_slice() else { return Err("usage: verifier ISSUER PORT".into()) };
    let verifier = web::Data::new(Verifier::new(issuer.clone())?);
    let kept = verifier.clone();
    actix_web::rt::spawn(async move {
        loop {
            actix_web::rt::time::sleep(KEPT).await;
            let kept = kept.clone();
            if !matches!(web::block(move || kept.fetch()).await, Ok(Ok(()))) {
                eprintln!("the keys cannot be fetched; those that are known stay");
            }
        }
    });
    let server = HttpServer::new(move || App::new().app_data(verifier.clone()).route("/whoami", web::get().to(whoami)))
        .bind(("127.0.0.1", port.parse()?))?;
    println!("http://{}", server.addrs()[0]);
    Ok(server.run().await?)
}
