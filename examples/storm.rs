//! A login storm as a reader of `GET /api/user/me` sees it, for scripts/bench.sh: reads at a steady pace before, during
//! and after a time in which many clients sign in without pause. Latency counts from the moment at which a request was
//! due, not from when it could be sent, so a stall is not hidden by waiting.
//!
//!   storm ADDRESS TOKEN READS_PER_SECOND CLIENTS SECONDS_BEFORE SECONDS_DURING SECONDS_AFTER SVG
//!
//! Prints one line a phase: phase, reads, errors, p50 ms, p99 ms, max ms, logins/s, refused logins/s; and draws the
//! seconds as a picture.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Connections that share the pace, so that one slow answer does not hold up the next request.
const READERS: u64 = 16;

/// One answered or failed read: when it was due, and how long after that its answer was there; `None`: an error.
type TimedRead = (Duration, Option<Duration>);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, token, pace, clients, before, during, after, svg] = arguments.as_slice() else {
        panic!("usage: storm ADDRESS TOKEN READS_PER_SECOND CLIENTS SECONDS_BEFORE SECONDS_DURING SECONDS_AFTER SVG");
    };
    let number = |text: &String| text.parse::<u64>().expect("a number");
    let (pace, clients) = (number(pace), number(clients));
    let phases = [("before", number(before)), ("storm", number(during)), ("after", number(after))];
    let total: u64 = phases.iter().map(|(_, seconds)| seconds).sum();
    let reads = Mutex::new(Vec::new());
    let logins: Vec<[AtomicU64; 2]> = (0..total).map(|_| Default::default()).collect();
    let began = Instant::now() + Duration::from_millis(100);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let reads = &reads;
                scope.spawn(move || {
                    let mine = read_at_pace(address, token, began, reader, pace, Duration::from_secs(total));
                    reads.lock().expect("no reader panics").extend(mine);
                })
            })
            .collect();
        for client in 0..clients {
            let (logins, is_over) = (&logins, &is_over);
            let (start, end) = (phases[0].1, phases[0].1 + phases[1].1);
            scope.spawn(move || sign_in_without_pause(address, client, began, start..end, logins, is_over));
        }
        for reader in readers {
            reader.join().expect("no reader panics");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let reads = reads.into_inner().expect("no reader panics");
    let mut start = 0;
    for (phase, seconds) in phases {
        let here = reads.iter().filter(|(due, _)| (start..start + seconds).contains(&due.as_secs()));
        let mut latencies: Vec<f64> = Vec::new();
        let mut errors = 0;
        for (_, latency) in here {
            match latency {
                Some(latency) => latencies.push(latency.as_secs_f64() * 1e3),
                None => errors += 1,
            }
        }
        let per_second = |at: usize| {
            let sum: u64 =
                logins[start as usize..(start + seconds) as usize].iter().map(|s| s[at].load(Ordering::Relaxed)).sum();
            sum as f64 / seconds.max(1) as f64
        };
        println!(
            "{phase} {} {errors} {:.2} {:.2} {:.2} {:.2} {:.2}",
            latencies.len(),
            percentile(&mut latencies, 0.50),
            percentile(&mut latencies, 0.99),
            percentile(&mut latencies, 1.0),
            per_second(0),
            per_second(1)
        );
        start += seconds;
    }
    let p99: Vec<f64> = (0..total)
        .map(|second| {
            let mut here: Vec<f64> = reads
                .iter()
                .filter(|(due, _)| due.as_secs() == second)
                .filter_map(|(_, latency)| latency.map(|latency| latency.as_secs_f64() * 1e3))
                .collect();
            percentile(&mut here, 0.99)
        })
        .collect();
    let logins: Vec<f64> = logins.iter().map(|second| second[0].load(Ordering::Relaxed) as f64).collect();
    let picture = draw(&p99, &logins, phases[0].1, phases[0].1 + phases[1].1, pace, clients);
    std::fs::write(svg, picture).expect("the picture can be written");
}

fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(((values.len() as f64 * share).ceil() as usize).saturating_sub(1)).copied().unwrap_or(0.0)
}

/// Every `READERS`th request of the pace, each at its time.
fn read_at_pace(address: &str, token: &str, began: Instant, reader: u64, pace: u64, total: Duration) -> Vec<TimedRead> {
    let request = format!("GET /api/user/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    let mut connection = None;
    let mut reads = Vec::new();
    for number in (reader..).step_by(READERS as usize) {
        let due = Duration::from_secs_f64(number as f64 / pace as f64);
        if due >= total {
            return reads;
        }
        wait_until(began + due);
        let is_ok = ask(&mut connection, address, &request) == Some(200);
        reads.push((due, is_ok.then(|| began.elapsed() - due)));
    }
    reads
}

fn wait_until(moment: Instant) {
    // A channel that nobody writes to: waiting for it to time out is waiting for the moment.
    let (_sender, receiver) = std::sync::mpsc::channel::<()>();
    let _ = receiver.recv_timeout(moment.saturating_duration_since(Instant::now()));
}

/// Wrong passwords: the work of a login, without its token. 401 counts as served, 503 as refused.
fn sign_in_without_pause(
    address: &str,
    client: u64,
    began: Instant,
    seconds: std::ops::Range<u64>,
    logins: &[[AtomicU64; 2]],
    is_over: &AtomicBool,
) {
    wait_until(began + Duration::from_secs(seconds.start));
    let body = format!("username=storm{client}%40example.com&password=wrong+horse+{client}");
    let request = format!(
        "POST /api/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut connection = None;
    while began.elapsed().as_secs() < seconds.end && !is_over.load(Ordering::Relaxed) {
        let status = ask(&mut connection, address, &request);
        if let Some(second) = logins.get(began.elapsed().as_secs() as usize) {
            second[usize::from(status != Some(401))].fetch_add(1, Ordering::Relaxed);
        }
        if status != Some(401) {
            // What Retry-After asks for.
            wait_until(Instant::now() + Duration::from_secs(1));
        }
    }
}

/// Sends a request on a kept connection and reads the answer; gives its status, or `None` when the connection failed.
fn ask(connection: &mut Option<BufReader<TcpStream>>, address: &str, request: &str) -> Option<u16> {
    let outcome = (|| {
        if connection.is_none() {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            *connection = Some(BufReader::new(stream));
        }
        let Some(reader) = connection.as_mut() else { return Err(std::io::ErrorKind::NotConnected.into()) };
        reader.get_mut().write_all(request.as_bytes())?;
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0);
            } else if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            } else if line == "\r\n" {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length])?;
        Ok::<u16, std::io::Error>(status)
    })();
    if outcome.is_err() {
        *connection = None;
    }
    outcome.ok()
}

/// p99 of the reads above, logins a second below, the storm shaded.
fn draw(p99: &[f64], logins: &[f64], from: u64, to: u64, pace: u64, clients: u64) -> String {
    const WIDTH: f64 = 760.0;
    const LEFT: f64 = 60.0;
    let x = |second: f64| LEFT + second / p99.len() as f64 * (WIDTH - LEFT - 20.0);
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"420\" viewBox=\"0 0 760 420\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"760\" height=\"420\" fill=\"white\"/>\n",
    );
    let panels = [
        (format!("GET /api/user/me at {pace} requests/s: p99 in ms"), p99, 50.0, "#1f6feb"),
        (format!("logins/s served, {clients} clients without pause"), logins, 240.0, "#bc4c00"),
    ];
    for (title, values, top, colour) in panels {
        let height = 140.0;
        let most = values.iter().copied().fold(1.0, f64::max);
        let step = nice_step(most);
        let ceiling = (most / step).ceil() * step;
        let y = |value: f64| top + height - value / ceiling * height;
        let _ = writeln!(
            svg,
            "<rect x=\"{:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{height}\" fill=\"#ffe9d6\"/>\n<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{title}</text>",
            x(from as f64),
            x(to as f64) - x(from as f64),
            top - 10.0
        );
        let mut tick = 0.0;
        while tick <= ceiling {
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
                WIDTH - 20.0,
                LEFT - 6.0,
                y(tick) + 4.0,
                y = y(tick)
            );
            tick += step;
        }
        let points: Vec<_> = values
            .iter()
            .enumerate()
            .map(|(second, value)| format!("{:.1},{:.1}", x(second as f64 + 0.5), y(*value)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
            points.join(" ")
        );
    }
    for second in (0..=p99.len()).step_by(5) {
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"400\" text-anchor=\"middle\">{second} s</text>", x(second as f64));
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"415\" text-anchor=\"middle\" fill=\"#bc4c00\">login storm</text>",
        x((from + to) as f64 / 2.0)
    );
    svg + "</svg>\n"
}

fn nice_step(most: f64) -> f64 {
    [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]
        .into_iter()
        .find(|step| most / step <= 5.0)
        .unwrap_or(5000.0)
}
