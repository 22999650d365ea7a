//! The address that shows the metrics without a key, as an operator sets it.

use std::fs::{self, File};
use std::io::BufRead;
use std::net::TcpListener;

use super::place::Place;
use crate::flow::process;
use crate::support::Client;

fn place(listen: &str, metrics_listen: &str) -> Place {
    Place::with_config(&format!("server.listen = '{listen}'\nserver.metrics_listen = '{metrics_listen}'\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_of_the_metrics_is_printed() {
    for listen in ["127.0.0.1:0", "0.0.0.0:0"] {
        let place = place("127.0.0.1:0", listen);
        let mut server = place.serve();
        let mut lines = (&mut server.out).lines().map(Result::unwrap);
        let url = lines.find_map(|line| line.strip_prefix("Metrics for Prometheus at ").map(str::to_owned));
        let url = url.expect("it is printed");
        let base = url.strip_suffix("/metrics").unwrap();
        assert!(base.starts_with("http://127.0.0.1:"), "{url}");
        assert_ne!(base, server.base);
        assert_eq!(Client::new(base).get("/metrics").await.status, 200);
        server.terminate();
    }
}

#[test]
fn an_address_that_cannot_be_had_is_named_by_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_address = taken.local_addr().unwrap().to_string();
    let told = place("127.0.0.1:0", &taken_address).run(&["serve"]).failed(1);
    assert!(told.contains(&taken_address) && told.contains("server.metrics_listen"), "{told}");

    // Where the server itself listens, by another way to write it.
    let port = taken.local_addr().unwrap().port();
    drop(taken);
    let told = place(&format!("0.0.0.0:{port}"), &taken_address).run(&["serve"]).failed(1);
    assert!(told.contains("server.metrics_listen"), "{told}");
}

#[test]
fn metrics_for_every_machine_are_warned_of_once() {
    for (listen, warnings) in [("0.0.0.0:0", 1), ("[::]:0", 1), ("127.0.0.1:0", 0)] {
        let place = place("127.0.0.1:0", listen);
        let log = File::create(place.path().join("log")).unwrap();
        process::Server::run(place.command(&[]).stderr(log)).terminate();
        let log = fs::read_to_string(place.path().join("log")).unwrap();
        let lines =
            log.lines().filter(|line| line.contains("server.metrics_listen") && line.contains("WARN"));
        assert_eq!(lines.count(), warnings, "{listen}: {log}");
    }
}
