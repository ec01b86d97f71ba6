//! The program `decidr`.

use std::process::ExitCode;

use clap::Parser;
use decidr_api::cli::Cli;

#[global_allocator]
static ALLOCATOR: decidr_allocator::Allocator = decidr_allocator::Allocator;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("DECIDR_LOG").unwrap_or_else(|_| "info".into());
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if cli.log_json {
        logs.json().init()
    } else {
        logs.init()
    }
    match cli.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("decidr: {error:#}");
            ExitCode::FAILURE
        }
    }
}
