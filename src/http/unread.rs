//! Closes connections on which a body goes on after its answer. actix reads on to the end of a chunked body that
//! nobody wants, however long that takes, so that the next request can follow; an endless one would be read for ever
//! (C-53, F-26). It closes the connection instead if somebody still holds the body when the answer has been sent:
//! so the answer itself holds it.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::HttpMessage;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::web::Bytes;
use futures_util::Stream;

/// A chunked body, held by whoever reads it and by the answer.
#[derive(Clone)]
pub(crate) struct Held(Rc<RefCell<Payload>>);

/// Takes hold of the request's body if it is chunked. A body with a known length needs no help.
pub(crate) fn hold(request: &mut ServiceRequest) -> Option<Held> {
    if !request.headers().contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    let held = Held(Rc::new(RefCell::new(request.take_payload())));
    request.set_payload(Payload::Stream { payload: Box::pin(held.clone()) });
    Some(held)
}

/// Lets the answer hold the body until it has been sent.
pub(crate) fn keep(held: Option<Held>, response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    match held {
        None => response,
        Some(held) => response.map_body(|_, body| BoxBody::new(Answer { body, _held: held })),
    }
}

impl Stream for Held {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(context)
    }
}

struct Answer {
    body: BoxBody,
    _held: Held,
}

impl MessageBody for Answer {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
