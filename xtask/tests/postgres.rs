//! The throwaway PostgreSQL does what the tests that use it rely on.

use std::net::TcpStream;

use xtask::postgres::Cluster;

fn listens(address: &str) -> bool {
    TcpStream::connect(address).is_ok()
}

#[test]
fn a_cluster_stops_and_starts_at_one_address_and_goes_when_dropped() {
    let cluster = Cluster::start().unwrap();
    let url = cluster.url("postgres");
    let address =
        url.strip_prefix("postgres://wicara@").and_then(|rest| rest.strip_suffix("/postgres")).unwrap();
    assert!(listens(address));

    cluster.stop_immediately().unwrap();
    assert!(!listens(address));
    cluster.restart().unwrap();
    assert!(listens(address));

    drop(cluster);
    assert!(!listens(address));
}
