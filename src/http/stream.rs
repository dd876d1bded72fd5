//! A client's TCP stream. It reports to [`Connections`](crate::http::connections::Connections) what it waits for, is
//! cut when it has kept others waiting, and says what actix-http leaves unsaid: why a head is refused.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::rt::net::TcpStream;
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::bare;
use crate::http::connections::{Connection, Phase, Verdict};
use crate::http::problem::Kind;

/// The stream.
pub(crate) struct Stream {
    tcp: TcpStream,
    connection: Arc<Connection>,
    /// What is to be sent before anything else.
    outbox: Vec<u8>,
    /// The head that is coming in.
    head: Head,
    is_over: bool,
}

impl Stream {
    pub(crate) fn new(tcp: TcpStream, connection: Arc<Connection>) -> Self {
        Self { tcp, connection, outbox: Vec::new(), head: Head::default(), is_over: false }
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The last words; then the stream is at its end.
    fn end(&mut self, kind: Option<Kind>) {
        self.is_over = true;
        if let Some(kind) = kind {
            self.outbox.extend_from_slice(&bare::answer(kind));
        }
    }

    fn poll_outbox(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbox.is_empty() {
            let sent = Pin::new(&mut self.tcp).poll_write(context, &self.outbox);
            let sent = ready!(self.unless_over(sent))?;
            self.outbox.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Nobody waits for a client whose time is up.
    fn unless_over<T>(&self, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_pending() && self.is_over { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { poll }
    }

    /// Ends the stream if that was decided; otherwise it will be woken when it is.
    fn hear(&mut self, context: &mut Context<'_>) {
        // In this order: a verdict that comes in between wakes.
        self.connection.wake_on_verdict(context.waker());
        match self.connection.verdict() {
            Some(Verdict::Idle) if self.has_come() => self.connection.pardon(),
            Some(verdict) if !self.is_over => self.end(last_words(verdict, self.connection.phase())),
            _ => {}
        }
    }

    /// Whether the client has sent something that was not read yet: to close now would lose it (F-17).
    fn has_come(&self) -> bool {
        !self.is_over
            && matches!(rustix::net::recv(&self.tcp, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT), Ok((1, _)))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.closed();
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.hear(context);
        if this.is_over {
            // To the dispatcher the client has left: it sends what it has and closes.
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.tcp).poll_read(context, buffer)).map_err(leave)?;
        let phase = this.connection.phase();
        if buffer.filled().len() == before || !matches!(phase, Phase::Idle | Phase::Head) {
            return Poll::Ready(Ok(()));
        }
        if phase == Phase::Idle {
            this.connection.enter(Phase::Head);
            this.head = Head::default();
        }
        if this.connection.expects_head() && !this.head.is_well_formed(&buffer.filled()[before..]) {
            buffer.set_filled(before);
            this.connection.is_malformed();
            this.end(Some(Kind::MalformedHead));
        }
        Poll::Ready(Ok(()))
    }
}

/// A reset that comes right behind a request is to actix-http the end of what the client sends, and it goes on to work
/// for it. A client that has reset its connection hears nothing any more: nothing is begun for it (F-22).
fn leave(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::ConnectionReset { io::ErrorKind::ConnectionAborted.into() } else { error }
}

/// What a client hears whose connection has to go.
fn last_words(verdict: Verdict, phase: Phase) -> Option<Kind> {
    match (verdict, phase) {
        (Verdict::Slow, _) => Some(Kind::HeadTooSlow),
        (Verdict::Crowded, Phase::Head) => Some(Kind::Overloaded("too many connections".to_owned())),
        // It has asked for nothing that could be answered, or hears the answer of its request.
        (Verdict::Idle | Verdict::Crowded, _) => None,
    }
}

/// As much of a head as is needed to refuse one whose lines do not end as they must.
#[derive(Default)]
struct Head {
    /// Bytes of the line that is coming in.
    line: usize,
    last: u8,
    has_begun: bool,
    is_complete: bool,
}

impl Head {
    /// RFC 9112 2.2 allows to take a bare LF for the end of a line; to do so where a proxy in front does not is how
    /// requests are smuggled, so it is refused (C-55). Looks at `bytes` up to the empty line that ends the head.
    fn is_well_formed(&mut self, bytes: &[u8]) -> bool {
        let mut line_began = 0;
        for at in memchr::memchr_iter(b'\n', bytes) {
            if self.is_complete {
                break;
            }
            if at.checked_sub(1).map_or(self.last, |before| bytes[before]) != b'\r' {
                return false;
            }
            let is_empty = self.line + at - line_began == 1;
            // Empty lines before the head are not part of it (RFC 9112 2.2).
            self.is_complete = is_empty && self.has_begun;
            self.has_begun |= !is_empty;
            (self.line, line_began) = (0, at + 1);
        }
        self.line += bytes.len() - line_began;
        self.last = bytes.last().copied().unwrap_or(self.last);
        true
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.hear(context);
        ready!(this.poll_outbox(context))?;
        if let Some((ours, refusal)) = bare::split_unsaid(bytes) {
            this.connection.is_malformed();
            // The answers of requests before it go first.
            this.outbox.extend_from_slice(ours);
            this.outbox.extend_from_slice(&bare::answer(refusal));
            return Poll::Ready(Ok(bytes.len()));
        }
        let sent = Pin::new(&mut this.tcp).poll_write(context, bytes);
        let sent = ready!(this.unless_over(sent))?;
        // A client that takes in an answer slowly is not idle.
        this.connection.touch();
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_outbox(context))?;
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_outbox(context))?;
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of `head` when it comes in pieces of `size` bytes.
    fn is_well_formed(head: &str, size: usize) -> bool {
        let mut state = Head::default();
        head.as_bytes().chunks(size).all(|piece| state.is_well_formed(piece))
    }

    /// C-55.
    #[test]
    fn a_bare_line_feed_in_a_head_is_refused_and_in_a_body_it_is_not() {
        for size in [1, 2, 3, 5, 1000] {
            for fine in
                ["GET / HTTP/1.1\r\nHost: x\r\n\r\na\nb\n", "\r\n\r\nPOST / HTTP/1.1\r\nHost: x\r\n\r\n\n\n", "GET /"]
            {
                assert!(is_well_formed(fine, size), "{fine:?} in pieces of {size}");
            }
            for bare in
                ["GET / HTTP/1.1\nHost: x\n\n", "GET / HTTP/1.1\r\nHost: x\n\r\n", "\nGET /", "GET / HTTP/1.1\r\n\n"]
            {
                assert!(!is_well_formed(bare, size), "{bare:?} in pieces of {size}");
            }
        }
    }
}
