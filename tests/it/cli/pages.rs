//! What the program says about its own pages and its API.

use super::place::Place;
use crate::support::Client;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_start_names_pages_that_open_and_the_document_is_the_servers() {
    let place = Place::with_config("server.listen = \"127.0.0.1:0\"\n");
    let mut server = place.serve();
    let welcome = server.welcome();
    let addresses: Vec<&str> =
        welcome.split_whitespace().filter_map(|word| word.strip_prefix(&server.base)).collect();
    let addresses: Vec<&str> = addresses.iter().map(|path| path.trim_end_matches(',')).collect();
    assert_eq!(addresses, ["", "/demo", "/", "/api/questions", "/guide", "/docs"], "{welcome}");
    let client = Client::new(&server.base);
    for page in ["/demo", "/", "/guide"] {
        client.get(page).await.has_status(200);
    }
    let printed = place.run(&["openapi"]).done();
    assert_eq!(printed, format!("{}\n", client.get("/api/openapi.json").await.text));
    server.terminate();
}
