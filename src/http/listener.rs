//! From the socket to the application: what actix-web's own server does, with a stream and an `Expect` of ours.

use std::future::{Ready, ready};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_http::{HttpService, KeepAlive, Request, Response};
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{AppConfig, Server, ServerHandle};
use actix_web::rt::net::TcpStream;
use actix_web::{App, HttpMessage, rt};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::Shutdown;
use tokio::task::JoinHandle;

use crate::http::connections::Connections;
use crate::http::problem::{Kind, Problem};
use crate::http::stream::Stream;
use crate::http::{Settings, bare, body, envelope, request_id};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 2048;
/// How long the rest of a body is taken in after an answer that does not need it, so that the client reads the answer.
const LINGER: Duration = Duration::from_secs(1);

/// After this long without a request a client of a server that stops is taken to be done. One that goes from request to
/// request hears before that, with an answer, that its connection ends.
const FAREWELL: Duration = Duration::from_millis(300);

/// A server that takes requests.
pub struct Listening {
    /// Where it listens, with the port that was picked.
    pub address: SocketAddr,
    listener: TcpListener,
    server: JoinHandle<io::Result<()>>,
    handle: ServerHandle,
    connections: Arc<Connections>,
    patience: Duration,
}

impl Listening {
    /// Lets in no more clients, waits until the ones that are here have their answers and have gone, and stops. Answers
    /// say from the beginning that they are the last ones: see [`Surroundings`](crate::http::envelope::Surroundings).
    /// A request that was sent is answered, whether it was read yet or not (F-17).
    pub async fn stop(self) {
        let began = Instant::now();
        self.refuse_newcomers().await;
        let closed = Instant::now();
        while closed.elapsed() < FAREWELL || (self.connections.count() > 0 && began.elapsed() < self.patience) {
            tokio::time::sleep(FAREWELL / 10).await;
            self.connections.dismiss(FAREWELL);
        }
        // Gracefully means to look once a second whether they have gone.
        self.handle.stop(self.connections.count() > 0).await;
        // It has stopped; an error of its own would have nobody left to tell.
        let _ = self.server.await;
    }

    /// Closes the door in a moment in which nobody stands in it: those who wait to be accepted would be thrown out.
    async fn refuse_newcomers(&self) {
        // From now on one at most waits, and others' first packets are left unanswered.
        let _ = rustix::net::listen(&self.listener, 0);
        for _ in 0..100 {
            let mut door = [PollFd::new(&self.listener, PollFlags::IN)];
            if matches!(rustix::event::poll(&mut door, Some(&Timespec::default())), Ok(0)) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let _ = rustix::net::shutdown(&self.listener, Shutdown::Both);
    }
}

/// Binds and starts to serve `app`, made once on each worker.
///
/// Errors: the address cannot be bound.
pub(crate) fn listen<F, T, B>(settings: Settings, connections: Arc<Connections>, app: F) -> io::Result<Listening>
where
    F: Fn() -> App<T> + Clone + Send + 'static,
    T: ServiceFactory<
            actix_web::dev::ServiceRequest,
            Config = (),
            Response = actix_web::dev::ServiceResponse<B>,
            Error = actix_web::Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    let listener = TcpListener::bind(settings.bind)?;
    // The standard library's choice is too short for a storm.
    rustix::net::listen(&listener, BACKLOG)?;
    let address = listener.local_addr()?;
    let door = listener.try_clone()?;
    let builder = Server::build()
        .workers(settings.workers)
        .shutdown_timeout(settings.shutdown_timeout.as_secs())
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let accepted = Arc::clone(&connections);
    let server = builder
        .listen("http", listener, move || {
            let stopping = stopping.clone();
            let app = IntoServiceFactory::<_, Request>::into_factory(app());
            let http = HttpService::build()
                // `Connections` sees to both, for every request of a connection and not only for the first.
                .keep_alive(KeepAlive::Os)
                .client_request_timeout(Duration::ZERO)
                .client_disconnect_timeout(LINGER)
                .local_addr(address)
                .graceful_shutdown_signal(move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
                .expect(fn_service(expect))
                .on_connect_ext(|stream: &Stream, extensions| {
                    extensions.insert(Arc::clone(stream.connection()));
                })
                .h1(map_config(app.map_err(|error: actix_web::Error| error.error_response()), |()| {
                    AppConfig::default()
                }));
            let connections = Arc::clone(&connections);
            fn_service(move |tcp: TcpStream| ready(admit(tcp, &connections))).and_then(http)
        })?
        .run();
    let handle = server.handle();
    let patience = settings.shutdown_timeout;
    Ok(Listening { address, listener: door, server: rt::spawn(server), handle, connections: accepted, patience })
}

/// Lets a client in, or says on the spot that there is no room.
fn admit(
    tcp: TcpStream,
    connections: &Arc<Connections>,
) -> Result<(Stream, Option<SocketAddr>), actix_http::error::DispatchError> {
    let peer = tcp.peer_addr()?;
    match connections.admit(peer.ip()) {
        Some(connection) => {
            // Answers go out as they are written, also those of pipelined requests.
            tcp.set_nodelay(true)?;
            Ok((Stream::new(tcp, connection), Some(peer)))
        }
        None => {
            // If it does not fit into the socket's empty buffer, nothing does.
            let _ = tcp.try_write(&bare::answer(Kind::Overloaded("too many connections".to_owned())));
            Err(io::Error::from(io::ErrorKind::ConnectionRefused).into())
        }
    }
}

/// RFC 9110 10.1.1: a client that asks before it sends a body which is too large hears so instead of 100 (F-26).
fn expect(request: Request) -> Ready<Result<Request, Response<BoxBody>>> {
    ready(match body::check_size(request.headers()) {
        Ok(()) => Ok(request),
        Err(kind) => {
            let id = request_id::make();
            let mut response = Problem::from(kind).render(id.to_str().ok());
            envelope::add_headers(response.headers_mut(), id);
            Err(response.into())
        }
    })
}
