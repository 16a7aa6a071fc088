//! The HTTP server of metrics: one thread, `GET /metrics`, HTTP/1.1 with a connection for each request.
//!
//! # What a client cannot do
//!
//! Clients are not trusted. There are [`MAX_CONNECTIONS`] at a time; for one more the oldest that has
//! asked nothing yet is closed, else the oldest. A connection ends after [`HEADER_WITHIN`] without a whole
//! header, and after [`WHOLE_WITHIN`] in any case; a header has 16 KiB and 100 lines at most. All
//! answers of a moment are the same bytes, so that one who does not read holds no memory of its own.
//! Samples are taken one at a time, by a thread beside that of the connections, and serve whoever asks
//! within [`KEPT`].

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt,
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, ALLOW, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
    task::{self, AbortHandle},
    time::{sleep, timeout},
};

use super::{Families, PATH, classic, negotiate::Format, openmetrics};
use crate::Failure;

/// Most connections at a time.
const MAX_CONNECTIONS: usize = 64;
/// How long a header may take.
const HEADER_WITHIN: Duration = Duration::from_secs(3);
/// How long a connection may take in all.
const WHOLE_WITHIN: Duration = Duration::from_secs(10);
/// How long a sample serves.
const KEPT: Duration = Duration::from_millis(250);
const MAX_HEADER_BYTES: usize = 16 << 10;
/// How long the end waits for a sample that is being taken.
const SAMPLE_WITHIN: Duration = Duration::from_secs(1);
const PLAIN: &str = "text/plain; charset=utf-8";

/// An address that is listened on, nothing served yet.
#[derive(Debug)]
pub(crate) struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// A running server; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a server has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Served {
    /// Answers that had metrics.
    pub(crate) scrapes: u64,
    /// Samples that were taken for them.
    pub(crate) samples: u64,
}

#[derive(Debug)]
struct Shared {
    collector: Mutex<Collector>,
    /// Whoever waits for a sample waits here, and is gone when its connection is.
    turn: tokio::sync::Mutex<()>,
    scrapes: AtomicU64,
}

struct Collector {
    source: Box<dyn FnMut() -> Families + Send>,
    last: Option<(Instant, Texts)>,
    samples: u64,
}

/// A sample in both formats.
#[derive(Debug, Clone)]
struct Texts {
    openmetrics: Bytes,
    classic: Bytes,
}

#[derive(Debug)]
struct Connection {
    task: AbortHandle,
    has_asked: Arc<AtomicBool>,
}

impl Bound {
    /// Listens on an address, in the calling thread's network namespace.
    ///
    /// # Errors
    /// It is in use, or is not an address of this machine.
    pub(crate) fn listen(address: SocketAddr) -> Result<Self, Failure> {
        let fail = |error: std::io::Error| {
            let text = error.to_string();
            let cause = text.split(" (os error").next().unwrap_or_default().to_lowercase();
            let message = format!("listen on {address}: {cause}");
            match error.kind() {
                ErrorKind::AddrInUse => Failure::refused(message)
                    .with_hint("another program listens there; ss -ltnp shows which"),
                ErrorKind::PermissionDenied => Failure::missing(message),
                _ => Failure::refused(message),
            }
        };
        let listener = TcpListener::bind(address).map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        Ok(Self { listener, address })
    }

    /// Serves what `source` gives, from a thread of its own.
    ///
    /// # Errors
    /// No thread or no poller could be had.
    pub(crate) fn serve(
        self,
        source: impl FnMut() -> Families + Send + 'static,
    ) -> Result<Server, Failure> {
        let address = self.address;
        let fail = |error| Failure::refused(format!("serve on {address}: {error}"));
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_io().enable_time().max_blocking_threads(1).build();
        let runtime = runtime.map_err(fail)?;
        let collector = Collector { source: Box::new(source), last: None, samples: 0 };
        let shared = Arc::new(Shared {
            collector: Mutex::new(collector),
            turn: tokio::sync::Mutex::default(),
            scrapes: AtomicU64::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let for_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("netmem-metrics".to_owned());
        let run = move || run(runtime, self.listener, for_thread, stopped);
        let thread = Some(thread.spawn(run).map_err(fail)?);
        Ok(Server { shared, stop: Some(stop), thread })
    }

    /// Where metrics are going to be.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Whether other machines can reach it.
    pub(crate) fn is_open_to_others(&self) -> bool {
        !self.address.ip().is_loopback()
    }
}

impl Server {
    /// Ends it: connections are closed, the port is free.
    pub(crate) fn finish(mut self) -> Served {
        self.end();
        let samples = self.shared.collector.lock().unwrap_or_else(PoisonError::into_inner).samples;
        // Relaxed: the thread that counts has ended, and joining it ordered its counts before.
        Served { scrapes: self.shared.scrapes.load(Ordering::Relaxed), samples }
    }

    fn end(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("samples", &self.samples).finish_non_exhaustive()
    }
}

fn run(
    runtime: Runtime,
    listener: TcpListener,
    shared: Arc<Shared>,
    stopped: oneshot::Receiver<()>,
) {
    runtime.block_on(async move {
        let accepting = task::spawn(accept(listener, shared));
        // The sender is only ever dropped.
        let _ = stopped.await;
        accepting.abort();
    });
    runtime.shutdown_timeout(SAMPLE_WITHIN);
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let mut open: VecDeque<Connection> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, or the client has gone.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        open.retain(|connection| !connection.task.is_finished());
        if open.len() >= MAX_CONNECTIONS {
            let is_idle = |c: &Connection| !c.has_asked.load(Ordering::Relaxed);
            let oldest = open.iter().position(is_idle).unwrap_or(0);
            if let Some(connection) = open.remove(oldest) {
                connection.task.abort();
            }
        }
        let has_asked = Arc::new(AtomicBool::new(false));
        let serving = serve(TokioIo::new(stream), Arc::clone(&shared), Arc::clone(&has_asked));
        open.push_back(Connection { task: task::spawn(serving).abort_handle(), has_asked });
    }
}

async fn serve(
    stream: TokioIo<tokio::net::TcpStream>,
    shared: Arc<Shared>,
    has_asked: Arc<AtomicBool>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        // Relaxed: one thread reads and writes it, and it orders nothing.
        has_asked.store(true, Ordering::Relaxed);
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&shared, &request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_WITHIN);
    http.max_buf_size(MAX_HEADER_BYTES).keep_alive(false);
    // How a client ended is its own business.
    let _ = timeout(WHOLE_WITHIN, http.serve_connection(stream, service)).await;
}

async fn answer(shared: &Arc<Shared>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if request.uri().path() != PATH {
        let words = format!("netmem: not found; metrics are at {PATH}\n");
        return plain(StatusCode::NOT_FOUND, words);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let words = "netmem: metrics are read with GET or HEAD\n".to_owned();
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, words);
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let accept = request.headers().get_all(ACCEPT).iter();
    let accept: Vec<&str> = accept.filter_map(|value| value.to_str().ok()).collect();
    let format = Format::of(&accept.join(","));
    let Some(texts) = texts(shared).await else {
        let words = "netmem: the sample failed\n".to_owned();
        return plain(StatusCode::INTERNAL_SERVER_ERROR, words);
    };
    shared.scrapes.fetch_add(1, Ordering::Relaxed);
    let body = match format {
        Format::OpenMetrics => texts.openmetrics,
        Format::Classic => texts.classic,
    };
    respond(StatusCode::OK, format.content_type(), body)
}

/// The last sample, or a new one where that is too old; `None` if taking it panicked.
async fn texts(shared: &Arc<Shared>) -> Option<Texts> {
    let _turn = shared.turn.lock().await;
    let shared = Arc::clone(shared);
    let take = move || {
        let mut collector = shared.collector.lock().unwrap_or_else(PoisonError::into_inner);
        collector.texts()
    };
    task::spawn_blocking(take).await.ok()
}

impl Collector {
    fn texts(&mut self) -> Texts {
        if let Some((taken, texts)) = &self.last
            && taken.elapsed() < KEPT
        {
            return texts.clone();
        }
        self.samples += 1;
        let openmetrics = openmetrics((self.source)());
        let classic = classic(&openmetrics);
        let texts = Texts { openmetrics: openmetrics.into(), classic: classic.into() };
        self.last = Some((Instant::now(), texts.clone()));
        texts
    }
}

fn plain(status: StatusCode, words: String) -> Response<Full<Bytes>> {
    respond(status, PLAIN, words.into())
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let value = hyper::header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpStream,
    };

    use super::*;

    const GET: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

    fn serve(source: impl FnMut() -> Families + Send + 'static) -> (Server, SocketAddr) {
        let bound = Bound::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = bound.address;
        (bound.serve(source).unwrap(), address)
    }

    fn connect(address: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// The answer to what was sent; nothing if the connection was closed without one.
    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = connect(address);
        let mut answer = Vec::new();
        // A server that has heard enough resets the connection.
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    fn status(answer: &str) -> &str {
        answer.lines().next().unwrap_or_default()
    }

    /// Kills: the formats exchanged; an Accept header that is not joined with the second one; every path
    /// answered; POST answered.
    #[test]
    fn methods_paths_and_formats_are_answered_as_they_should() {
        let (server, address) = serve(Families::new);
        let answer = ask(address, GET);
        assert_eq!(status(&answer), "HTTP/1.1 200 OK");
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
        assert!(answer.contains(&format!("content-type: {content_type}")), "{answer}");
        assert!(answer.ends_with("# EOF\n"), "{answer}");

        let accepts = "Accept: application/openmetrics-text;q=0.1\r\nAccept: text/plain\r\n";
        let classic = ask(address, &GET.replace("Host", &format!("{accepts}Host")));
        let content_type = "text/plain; version=0.0.4; charset=utf-8\r\n";
        assert!(classic.contains(&format!("content-type: {content_type}")), "{classic}");
        assert!(classic.contains("# TYPE netmem_build_info gauge\n"), "{classic}");
        assert!(!classic.contains("# EOF"), "{classic}");

        let head = ask(address, &GET.replace("GET", "HEAD"));
        assert_eq!(status(&head), "HTTP/1.1 200 OK");
        assert!(head.ends_with("\r\n\r\n") && !head.contains("netmem_"), "{head}");
        let elsewhere = ask(address, &GET.replace("/metrics", "/"));
        assert_eq!(status(&elsewhere), "HTTP/1.1 404 Not Found");
        assert!(elsewhere.contains("metrics are at /metrics"), "{elsewhere}");
        let post = ask(address, &GET.replace("GET", "POST"));
        assert_eq!(status(&post), "HTTP/1.1 405 Method Not Allowed");
        assert!(post.contains("allow: GET, HEAD\r\n"), "{post}");
        assert_eq!(server.finish().scrapes, 3);
    }

    /// Kills: a sample for each scrape; a sample that is kept for ever.
    #[test]
    fn one_sample_serves_all_who_ask_within_a_quarter_of_a_second() {
        static AT_ONCE: AtomicU64 = AtomicU64::new(0);
        let (server, address) = serve(|| {
            assert_eq!(AT_ONCE.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
            thread::sleep(Duration::from_millis(100));
            AT_ONCE.fetch_sub(1, Ordering::SeqCst);
            Families::new()
        });
        let started = Instant::now();
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| assert_eq!(status(&ask(address, GET)), "HTTP/1.1 200 OK"));
            }
        });
        // As many as there is time for, should this machine be slow: 350 ms each.
        let most = 1 + started.elapsed().as_millis() / 350;
        thread::sleep(KEPT);
        ask(address, GET);
        let served = server.finish();
        assert_eq!(served.scrapes, 21);
        assert!(served.samples >= 2 && u128::from(served.samples) <= most + 1, "{served:?}");
    }

    /// Kills: no bound on connections; the newest closed in place of the oldest; room for headers of 8 MiB.
    #[test]
    fn slow_and_hostile_clients_do_not_keep_others_from_being_served() {
        let (server, address) = serve(Families::new);
        let mut slow: Vec<TcpStream> = Vec::new();
        for _ in 0..100 {
            let mut stream = connect(address);
            stream.write_all(b"GET /metrics HT").unwrap();
            slow.push(stream);
            if slow.len().is_multiple_of(20) {
                assert_eq!(status(&ask(address, GET)), "HTTP/1.1 200 OK");
            }
        }
        // The oldest were closed when the later ones came, long before their time was over.
        let closed = |stream: &mut TcpStream, within| {
            stream.set_read_timeout(Some(within)).unwrap();
            let mut rest = [0; 512];
            match stream.read(&mut rest) {
                Ok(0) => true,
                Ok(_) => panic!("half a request is answered"),
                Err(error) => error.kind() == ErrorKind::ConnectionReset,
            }
        };
        assert!(closed(&mut slow[0], Duration::from_secs(1)), "the oldest makes room");
        let huge = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(1 << 20));
        let answer = ask(address, &huge);
        assert!(!answer.contains(" 200 "), "{answer}");
        assert_eq!(status(&ask(address, GET)), "HTTP/1.1 200 OK");
        // A client that asks and does not read.
        let mut deaf = connect(address);
        deaf.write_all(GET.as_bytes()).unwrap();
        assert_eq!(status(&ask(address, GET)), "HTTP/1.1 200 OK");
        let served = server.finish();
        assert!(served.scrapes >= 7, "{served:?}");
    }

    /// Kills: no time limit for a header.
    #[test]
    fn half_a_request_is_let_go() {
        let (_server, address) = serve(Families::new);
        let mut stream = connect(address);
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHo").unwrap();
        let started = Instant::now();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(started.elapsed() >= HEADER_WITHIN - Duration::from_millis(200));
        assert!(started.elapsed() < WHOLE_WITHIN, "the header's limit, not the connection's");
        assert!(!String::from_utf8_lossy(&rest).contains(" 200 "));
    }

    /// Kills: a panic that ends the connection's task without an answer; an end that nobody waits for.
    #[test]
    fn a_sample_that_panics_is_an_answer_and_the_end_frees_the_port() {
        let mut is_first = true;
        let (server, address) = serve(move || {
            assert!(!std::mem::take(&mut is_first), "planted");
            Families::new()
        });
        assert_eq!(status(&ask(address, GET)), "HTTP/1.1 500 Internal Server Error");
        assert_eq!(status(&ask(address, GET)), "HTTP/1.1 200 OK");
        let taken = Bound::listen(address).unwrap_err();
        assert_eq!(taken.outcome(), crate::Outcome::Refused);
        assert!(taken.to_string().ends_with("address already in use"), "{taken}");
        server.finish();
        assert!(Bound::listen(address).is_ok());
    }
}
