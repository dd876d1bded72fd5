//! What is limited or broken inside: workers that panic, rows that are damaged, memory, the log.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::{get, get_as, register, sign_in};
use crate::load;
use crate::mariadb::MariaDb;
use crate::process::{run, tegata};
use crate::proxy::{Line, Proxy};
use crate::report;
use crate::scene::{Dir, Engine, PASSWORD, Scene};
use crate::wait::{pause, until};

/// T-2: whatever the driver makes of nonsense, an answer or a panic, it costs that request and no worker, and no
/// answer is ever given to another question.
#[test]
fn f28_the_database_talks_nonsense() {
    let dir = Dir::new();
    let database = MariaDb::start(dir.path(), &[]);
    let proxy = Proxy::before(database.port);
    let mut scene = Scene::by(dir, Engine::MariaDb(database), MariaDb::url_at(proxy.port), &[("DB_THREADS", "2")]);
    scene.until_ready();
    let token = scene.signed_in("a@example.com");
    let right = get_as(scene.address, "/api/user/me", &token).unwrap().body;
    let mut failed = 0;
    let began = Instant::now();
    // Nonsense, then a clear line so that connections are made again, then nonsense in the middle of things.
    for _ in 0..12 {
        proxy.set(Line::Garbage);
        let until = Instant::now() + Duration::from_millis(250);
        while Instant::now() < until {
            let me = get_as(scene.address, "/api/user/me", &token).unwrap();
            match me.status {
                200 => assert_eq!(me.body, right),
                // Garbled rows may look like nobody; what must not happen is somebody else.
                401 | 500 | 503 => failed += 1,
                _ => panic!("{me:?}"),
            }
            let wrong = sign_in(scene.address, "a@example.com", "the guess of an intruder").unwrap();
            assert!([401, 500, 503].contains(&wrong.status), "{wrong:?}");
            let new = register(scene.address, "b@example.com", PASSWORD).unwrap();
            assert!([201, 409, 500, 503].contains(&new.status), "{new:?}");
        }
        proxy.set(Line::Clear);
        pause(Duration::from_millis(350));
    }
    let cleared = Instant::now();
    let back = until(Duration::from_secs(5), "served again", || {
        get_as(scene.address, "/api/user/me", &token).unwrap().status == 200 && scene.is_ready()
    });
    let ledger = load::hold(scene.address, 50, Duration::from_secs(1));
    let server = scene.take_server();
    server.signal(rustix::process::Signal::TERM);
    let (status, log) = server.wait();
    let panics = log.matches("panicked at").count();
    let load = format!(
        "{} answers garbled in {} s, {failed} failed, {panics} panics",
        proxy.hits(),
        began.elapsed().as_secs()
    );
    report::line("F-28", "MariaDB answers nonsense", &load, "-", &format!("{} ms", back.as_millis()));
    assert!(proxy.hits() > 20 && failed > 3, "the fault took place: {load}");
    assert!(back < Duration::from_secs(2), "{back:?} after {cleared:?}");
    assert_eq!(ledger.count(|attempt| !attempt.is_well()), 0, "every worker is there");
    assert!(status.success(), "{log}");
}

/// C-10: rows that no server of ours wrote. They fail for their owners, as often as they are tried.
#[test]
fn f28_damaged_rows() {
    let mut scene = Scene::on_sqlite(&[("DB_THREADS", "2")]);
    let token = scene.signed_in("a@example.com");
    let salt_and_hash = "c2FsdHNhbHRzYWx0c2E$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2hoYXM";
    let hashes = [
        "NULL".to_owned(),
        "''".to_owned(),
        "'x'".to_owned(),
        "'\u{e9}\u{1f600}'".to_owned(),
        format!("'$scrypt$ln=30,r=8,p=1${salt_and_hash}'"),
        format!("'$scrypt$ln=4,r=4294967295,p=4294967295${salt_and_hash}'"),
        format!("'$scrypt$ln=0,r=0,p=0${salt_and_hash}'"),
        "'$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA'".to_owned(),
        "'$scrypt$'".to_owned(),
    ];
    for (number, hash) in hashes.iter().enumerate() {
        let email = format!("damaged-{number}@example.com");
        assert_eq!(register(scene.address, &email, PASSWORD).unwrap().status, 201);
        scene.engine.execute(&format!("UPDATE users SET password_hash = {hash} WHERE email = '{email}'"));
    }
    let before = scene.rss_kib();
    for _ in 0..5 {
        for number in 0..hashes.len() {
            let answer = sign_in(scene.address, &format!("damaged-{number}@example.com"), PASSWORD).unwrap();
            assert_eq!(answer.status, 401, "{}: {answer:?}", hashes[number]);
        }
        assert_eq!(sign_in(scene.address, "a@example.com", PASSWORD).unwrap().status, 200);
        assert_eq!(get_as(scene.address, "/api/user/me", &token).unwrap().status, 200);
    }
    let grown = scene.peak_rss_kib().saturating_sub(before);
    report::line("F-28", "rows with damaged hashes", &format!("45 sign-ins, +{grown} KiB"), "-", "-");
    assert!(grown < 64 << 10, "a stored hash decides how much memory is taken: {grown} KiB");
    scene.stop();
}

/// More hash memory than there is: refused at the start, within a second, with the reason.
#[test]
fn f33_more_hash_memory_than_there_is() {
    let dir = Dir::new();
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let kib: u64 = meminfo.split_whitespace().nth(1).unwrap().parse().unwrap();
    let threads = (kib / (128 << 10) + 1).to_string();
    let began = Instant::now();
    let output =
        run(dir.path(), &[("BIND_ADDR", "127.0.0.1:0"), ("SCRYPT_LOG_N", "17"), ("HASH_THREADS", &threads)], &[]);
    let told = String::from_utf8_lossy(&output.stderr);
    report::line("F-33", "more hash memory than there is", "-", "-", "refuses to start");
    assert!(output.status.code() == Some(1) && told.contains("HASH_THREADS"), "{:?} {told}", output.status);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

/// With a log on a full disk.
#[test]
fn f35_the_log_cannot_be_written() {
    let scene = Scene::on_sqlite(&[]);
    let environment = [scene.environment().as_slice(), &[("BIND_ADDR", "127.0.0.1:0"), ("RUST_LOG", "debug")]].concat();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = tegata(scene.dir.path(), &environment, &[]);
    command.stdout(Stdio::piped()).stderr(full);
    let mut child = Guard(command.spawn().unwrap());
    let address = announced(&mut child.0);
    works(address, "full");
    report::line("F-35", "the log is on a full disk", "200 requests", "-", "-");
}

/// With no standard output and no standard error at all.
#[test]
fn f35_the_log_is_closed() {
    let scene = Scene::on_sqlite(&[]);
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bind = address.to_string();
    let environment = [scene.environment().as_slice(), &[("BIND_ADDR", &*bind)]].concat();
    let binary = tegata(scene.dir.path(), &environment, &[]);
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg("exec \"$0\" >&- 2>&-").arg(binary.get_program());
    command.env_clear().envs(environment.iter().copied()).current_dir(scene.dir.path()).stdin(Stdio::null());
    let _child = Guard(command.spawn().unwrap());
    until(Duration::from_secs(5), "it listens", || get(address, "/livez").is_ok());
    works(address, "closed");
    report::line("F-35", "standard output and error are closed", "200 requests", "-", "-");
}

/// With a log pipe that nobody reads: a full pipe stops whoever writes to it, which must not be whoever serves.
#[test]
fn f35_nobody_reads_the_log() {
    let scene = Scene::on_sqlite(&[]);
    let environment = [scene.environment().as_slice(), &[("BIND_ADDR", "127.0.0.1:0"), ("RUST_LOG", "trace")]].concat();
    let mut command = tegata(scene.dir.path(), &environment, &[]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Guard(command.spawn().unwrap());
    let address = announced(&mut child.0);
    let pipe = child.0.stderr.take().unwrap();
    let waiting = || rustix::io::ioctl_fionread(&pipe).unwrap();
    let began = Instant::now();
    let mut requests = 0;
    // Until the pipe is full, and then as many again.
    while waiting() < 60 << 10 && requests < 20_000 {
        assert_eq!(get(address, "/nowhere").unwrap().status, 404);
        requests += 1;
    }
    let held = waiting();
    works(address, "unread");
    for _ in 0..requests.min(2000) {
        assert_eq!(get(address, "/nowhere").unwrap().status, 404);
    }
    let took = began.elapsed();
    report::line("F-35", "nobody reads the log pipe", &format!("{requests} requests, {held} bytes wait"), "-", "-");
    assert!(held >= 60 << 10, "the pipe is full after {requests} requests, {took:?}: {held} bytes");
}

/// Ends the process with the test.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn announced(child: &mut Child) -> SocketAddr {
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let mut addresses = lines
        .map_while(Result::ok)
        .filter_map(|line| line.split("http://").nth(1)?.split_whitespace().next()?.parse().ok());
    addresses.next().expect("it announces itself")
}

/// A little of everything, each in time.
fn works(address: SocketAddr, name: &str) {
    for number in 0..50 {
        let began = Instant::now();
        let email = format!("{name}-{number}@example.com");
        assert_eq!(register(address, &email, PASSWORD).unwrap().status, 201);
        let token = sign_in(address, &email, PASSWORD).unwrap().token();
        assert_eq!(get_as(address, "/api/user/me", &token).unwrap().status, 200);
        assert_eq!(get(address, "/readyz").unwrap().status, 200);
        assert!(began.elapsed() < crate::ledger::DEADLINE);
    }
}
