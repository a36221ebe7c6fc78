//! Addresses at which there is no source: what is there instead is said, and which key to change.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::task::{Context, Poll};

use forebay::demo::api_server;
use forebay::demo::running::Running;
use insta::assert_snapshot;
use support::{Home, Security, anywhere, guests, nowhere};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;

use super::{items, script};

/// A web server that speaks HTTP/1. Answers until the test ends.
fn web_server() -> String {
    let listener = TcpListener::bind(anywhere()).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // Whatever was asked.
            drop(stream.read(&mut [0; 1_024]));
            drop(stream.write_all(
                b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html>no</html>",
            ));
        }
    });
    address.to_string()
}

/// A server that ends each connection without a word.
fn other_server(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind(anywhere()).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            drop(stream.read(&mut [0; 1_024]));
            drop(stream.write_all(answer));
        }
    });
    address.to_string()
}

/// A page over HTTP/2.
#[derive(Clone)]
struct Page(u16);

impl NamedService for Page {
    const NAME: &'static str = "forebay.v1.EmbeddingSourceService";
}

impl Service<http::Request<Body>> for Page {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        let response = http::Response::builder().status(self.0);
        let response = response.header("content-type", "text/html; charset=utf-8");
        ready(Ok(response.body(Body::empty()).unwrap()))
    }
}

fn page_server(status: u16) -> Running {
    let router = tonic::transport::Server::builder().add_service(Page(status));
    Running::start("page", anywhere(), router).unwrap()
}

/// What `forebay check` says of a source at this address, without the address.
fn checked(home: &Home, address: &str, more: &str) -> String {
    home.configure_with(
        &guests("plugins"),
        "retry.give_up_after = \"100ms\"",
        &format!(
            "[pipelines.rows]\ntables = [\"items\"]\nplugins = []\n
             [pipelines.rows.source]\ngrpc = \"{address}\"\ndataset = \"rows\"\n{more}"
        ),
    );
    let ended = home.start_command(&["check"], "").wait();
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stdout);
    let (_, said) = ended.stdout.split_once("FAIL pipeline rows: ").unwrap();
    // The reason is in the words of the system.
    let lines = said
        .trim_end()
        .lines()
        .map(|line| match line.split_once("cannot be resolved: ") {
            Some((said, _)) => format!("{said}cannot be resolved: …"),
            None => line.trim_start().replace(address, "URL"),
        });
    lines
        .collect::<Vec<_>>()
        .join("\n  ")
        .replace(address, "URL")
}

#[tokio::test]
async fn f5_what_is_no_source_is_said_as_what_it_is() {
    let home = items().await;
    let source = script().serve();
    let secured = script().serve_secured(&Security::default());
    let cache = api_server::start(anywhere()).unwrap();
    let (page, gone, away) = (page_server(200), page_server(404), page_server(503));
    let plain = source.url().replace("http:", "https:");
    let tls = secured.url().replace("https:", "http:");
    let ca = format!("auth.ca = {:?}", Security::file("ca.pem"));
    let web = web_server();
    let mut said = String::new();
    for (what, address, more) in [
        ("nobody", format!("http://{}", nowhere()), ""),
        ("no socket", "unix:/nonexistent/socket".into(), ""),
        ("no host", "http://rows.invalid:50051".into(), ""),
        ("https to plaintext", plain, ""),
        ("plaintext to TLS", tls, ""),
        ("unknown authority", secured.url(), ""),
        ("another name", secured.url(), &ca),
        ("another service", cache.url(), ""),
        ("a page over HTTP/1", format!("http://{web}"), ""),
        ("https to a page over HTTP/1", format!("https://{web}"), ""),
        ("a page over HTTP/2", page.url(), ""),
        ("no page over HTTP/2", gone.url(), ""),
        ("a proxy without its server", away.url(), ""),
        (
            "something else",
            format!("http://{}", other_server(b"SSH-2.0-x\r\n")),
            "",
        ),
        (
            "a proxy before nothing",
            format!("http://{}", other_server(b"")),
            "",
        ),
    ] {
        said += &format!("{what}: {}\n", checked(&home, &address, more));
    }
    assert_snapshot!(said, @r#"
    nobody: gave up after 100ms: source URL is away: connection refused: nobody listens there
      hint: start the server, or correct `source.grpc`
    no socket: gave up after 100ms: source URL is away: there is no such socket
      hint: start the server, or correct `source.grpc`
    no host: gave up after 100ms: source URL is away: its host name cannot be resolved: …
      hint: correct the name in `source.grpc`
    https to plaintext: source URL: the port does not speak TLS
      hint: write http:// in `source.grpc`
    plaintext to TLS: source URL: the port speaks TLS, which http:// does not use
      hint: write https:// in `source.grpc`
    unknown authority: source URL: its certificate is not of an authority that this machine knows
      hint: name the file of its authority as `source.auth.ca`
    another name: source URL: its certificate is not for the name 127.0.0.1 (invalid peer certificate: certificate not valid for name "127.0.0.1"; certificate is only valid for DnsName("rows.test"))
      hint: write the name of its certificate in `source.grpc`, or as `source.auth.server_name`
    another service: source URL: its server does not implement forebay.v1.EmbeddingSourceService/ListDatasets (UNIMPLEMENTED: )
      hint: name a server that does in `source.grpc`; it may be another service, or an older version of this one
    a page over HTTP/1: source URL: the port speaks HTTP/1, not HTTP/2: a web server, not a gRPC server
      hint: name the address of the gRPC server in `source.grpc`
    https to a page over HTTP/1: source URL: the port does not speak TLS
      hint: write http:// in `source.grpc`
    a page over HTTP/2: source URL: the server responded with HTTP status 200 OK and text/html; charset=utf-8, which is not gRPC
      hint: `source.grpc` seems to be the address of a web server or a proxy; name that of the gRPC server
    no page over HTTP/2: source URL: the server responded with HTTP status 404 Not Found and text/html; charset=utf-8, which is not gRPC
      hint: `source.grpc` seems to be the address of a web server or a proxy; name that of the gRPC server
    a proxy without its server: gave up after 100ms: source URL is away: the server responded with HTTP status 503 Service Unavailable and text/html; charset=utf-8, which is not gRPC
      hint: a proxy says so while the server behind it is away or fails
    something else: source URL: the port speaks neither HTTP/2 nor TLS
      hint: name the address of the gRPC server in `source.grpc`
    a proxy before nothing: gave up after 100ms: source URL is away: the port answers nothing
      hint: start the server behind it, or name the address of the gRPC server in `source.grpc`
    "#);
}
