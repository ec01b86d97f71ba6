//! The command line: `decidr serve | demo | import | replay | token | status | formula`.

mod demo;
mod formula;
mod import;
mod replay;
mod serve;
mod status;
mod token;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use decidr_dataflow::EngineConfig;

use crate::platform::DataDir;

/// An event-sourced data platform: users define tables at run time, and everything computed is always up to date.
#[derive(Parser)]
#[command(name = "decidr", version, after_help = EXAMPLES)]
pub struct Cli {
    /// Log as JSON lines.
    #[arg(long, global = true, env = "DECIDR_LOG_JSON")]
    pub log_json: bool,
    #[command(subcommand)]
    command: Subcommands,
}

const EXAMPLES: &str = "Examples:
  decidr demo                                            flights of January 2013, live in the terminal and over GraphQL
  decidr demo --once --source DIR                        import the files of a folder and exit
  decidr serve --data-dir data --listen 127.0.0.1:8080   serve what is there
  decidr token --data-dir data --tenant demo             a token for the tenant `demo`
  decidr import people.csv --tenant demo --collection people --link company=companies.name";

#[derive(Subcommand)]
enum Subcommands {
    /// Serve GraphQL over HTTP and WebSocket.
    Serve(serve::Serve),
    /// Import the demo's flights and show them changing.
    Demo(demo::Demo),
    /// Import a CSV file into a collection.
    Import(import::Import),
    /// Compute everything again from the log, or print its events.
    Replay(replay::Replay),
    /// Print a token.
    Token(token::Token),
    /// Say what is in a data directory.
    Status(status::Status),
    /// Evaluate and check formulas, or print their reference.
    Formula(formula::Formula),
}

/// Where the data is.
#[derive(Args, Clone)]
struct Data {
    /// The folder with the event log and the token key.
    #[arg(long, env = "DECIDR_DATA_DIR", default_value = "data")]
    data_dir: PathBuf,
}

impl Data {
    fn open(&self) -> anyhow::Result<DataDir> {
        DataDir::create(&self.data_dir)
            .map_err(|error| anyhow::anyhow!("the data directory {} cannot be made: {error}", self.data_dir.display()))
    }

    /// The data directory, if it has a log.
    fn existing(&self) -> anyhow::Result<DataDir> {
        let data_dir = self.open()?;
        anyhow::ensure!(data_dir.log().exists(), "{} has no event log; `decidr serve` or `decidr demo` makes one", self.data_dir.display());
        Ok(data_dir)
    }
}

/// How to compute.
#[derive(Args, Clone)]
struct Compute {
    /// How many dataflow workers, each a thread.
    #[arg(long, env = "DECIDR_WORKERS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
}

impl Compute {
    fn config(&self) -> EngineConfig {
        EngineConfig { workers: self.workers.into(), ..EngineConfig::default() }
    }
}

impl Cli {
    /// Does what was asked.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Subcommands::Formula(formula) => formula.run().await,
            Subcommands::Serve(serve) => serve.run().await,
            Subcommands::Demo(demo) => demo.run().await,
            Subcommands::Import(import) => import.run().await,
            Subcommands::Replay(replay) => replay.run().await,
            Subcommands::Token(token) => token.run().await,
            Subcommands::Status(status) => status.run().await,
        }
    }
}

/// Done when the process is asked to end: Ctrl-C or SIGTERM.
async fn asked_to_end() {
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! { () = interrupted => {}, () = terminated => {} }
    tracing::info!("asked to end");
}
