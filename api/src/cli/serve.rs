//! `decidr serve`

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;

use super::{Compute, Data, asked_to_end};
use crate::auth::TokenKey;
use crate::http::Server;
use crate::platform::{DataDir, Platform};
use crate::position::PositionKey;

/// How long requests under way may take after the process was asked to end. Subscriptions end with it.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Args)]
pub(super) struct Serve {
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    compute: Compute,
    #[command(flatten)]
    listen: Listen,
}

/// Where to listen.
#[derive(Args, Clone)]
pub(super) struct Listen {
    /// The address to listen on.
    #[arg(long, env = "DECIDR_LISTEN", default_value = "127.0.0.1:8080")]
    pub(super) listen: SocketAddr,
}

impl Listen {
    /// Binds the address, so that whoever comes before the server is ready is told so.
    pub(super) async fn bind(&self) -> anyhow::Result<TcpListener> {
        TcpListener::bind(self.listen).await.map_err(|error| anyhow::anyhow!("cannot listen on {}: {error}", self.listen))
    }
}

impl Serve {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let data_dir = self.data.open()?;
        let listener = self.listen.bind().await?;
        let server = server(&data_dir)?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(serve_until_asked(server.clone(), listener));
        let platform = Arc::new(Platform::open(&data_dir, self.compute.config()).await?);
        server.ready(platform.clone());
        tracing::info!(%address, "ready");
        serving.await??;
        platform.close().await;
        Ok(())
    }
}

/// A server with the keys of the data directory, and its metrics.
pub(super) fn server(data_dir: &DataDir) -> anyhow::Result<Server> {
    let (tokens, positions) = (TokenKey::open(&data_dir.token_key())?, PositionKey::open(&data_dir.position_key())?);
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            upkeep.run_upkeep();
        }
    });
    Ok(Server::new(tokens, positions, metrics))
}

/// Serves until the process is asked to end, and a little longer.
pub(super) async fn serve_until_asked(server: Server, listener: TcpListener) -> anyhow::Result<()> {
    let (stop, stopping) = tokio::sync::oneshot::channel::<()>();
    let mut serving = tokio::spawn(server.serve(listener, async move { drop(stopping.await) }));
    tokio::select! {
        ended = &mut serving => return Ok(ended??),
        () = asked_to_end() => {}
    }
    drop(stop);
    // Open subscriptions would hold it up for ever.
    match tokio::time::timeout(GRACE, serving).await {
        Ok(ended) => Ok(ended??),
        Err(_) => Ok(()),
    }
}
