use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    wicara::cli::run().await
}
