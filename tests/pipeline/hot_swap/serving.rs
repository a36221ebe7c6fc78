//! `forebay serve` does the same, and its figures say so.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::stage::Stage;

#[tokio::test]
async fn serving_takes_versions_up_goes_back_and_counts() {
    let stage = Stage::new("").await;
    let mut host = stage
        .home
        .start_command(&["serve", "--listen", "127.0.0.1:0"], "");
    let address = loop {
        let line = host.next_line().expect("the host ended before it listened");
        if let Some((_, rest)) = line.split_once("http://") {
            break rest.split('/').next().unwrap().to_owned();
        }
    };
    stage.until_met(&mut host, "0000").await;
    stage.put("0001");
    stage.until_met(&mut host, "0001").await;
    stage.put("2000");
    host.until("barred until its file changes");
    stage.put_bytes(b"no plugin");
    host.until("a file is refused; the active version stays");

    let metrics = get(&address, "/metrics");
    for (name, count) in [("swaps", 2), ("rollbacks", 1), ("refused", 1)] {
        let line = format!("forebay_plugin_{name}_total{{plugin=\"stamp\"}} {count}");
        assert!(metrics.contains(&line), "no {line:?} in:\n{metrics}");
    }
    stage.source.end();
    host.until("run ended");
    host.signal(nix::sys::signal::Signal::SIGTERM);
    let ended = host.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert_eq!(stage.versions().await, ["0000", "0001"]);
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
