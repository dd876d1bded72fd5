//! The ceiling for scripts/bench.sh: a bare actix-web application with one constant handler, and the bare `scrypt`
//! crate on all cores.
//!
//!   bare serve           prints its address, serves until its standard input closes
//!   bare scrypt SECONDS  prints hashes a second at ln=15 r=8 p=3

use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use actix_web::{App, HttpResponse, HttpServer, web};

async fn hello() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body("\"Hello\"")
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve"] => actix_web::rt::System::new().block_on(serve()),
        ["scrypt", seconds] => {
            println!("{:.2}", hashes_per_second(seconds.parse().expect("SECONDS is a number")));
            Ok(())
        }
        _ => Err(std::io::Error::other("usage: bare serve | bare scrypt SECONDS")),
    }
}

async fn serve() -> std::io::Result<()> {
    let server = HttpServer::new(|| App::new().route("/api/hello", web::get().to(hello))).bind("127.0.0.1:0")?;
    println!("{}", server.addrs()[0]);
    let server = server.run();
    let handle = server.handle();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        // The handle's command is sent at once; nobody waits for its future.
        drop(handle.stop(false));
    });
    server.await
}

fn hashes_per_second(seconds: u64) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (count, began) = (AtomicU32::new(0), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let params = scrypt::Params::new(15, 8, 3).expect("the default cost");
                while began.elapsed() < Duration::from_secs(seconds) {
                    scrypt::scrypt(b"password", b"sixteen byte salt", &params, &mut [0; 32]).expect("a hash");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    f64::from(count.into_inner()) / began.elapsed().as_secs_f64()
}
