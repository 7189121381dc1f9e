//! A server that says nothing: it may be at work for hours, or be gone.

use std::pin::{Pin, pin};
use std::time::Duration;

use backup_core::{Ctx, Error, ErrorKind, Result};

use super::{Connection, Row};
use crate::config::Config;
use crate::error::{code, lost};

/// How long an answer that the server has given may be on its way.
const UNDER_WAY: Duration = Duration::from_secs(20);
/// What a server is at while nobody takes what it sends.
const SENDING: [&[u8]; 2] = [b"Writing to net", b"Sending to client"];

/// What it takes to ask the server about a connection.
#[derive(Debug)]
pub(super) struct Watch {
    config: Config,
    id: u32,
}

impl Watch {
    pub(super) fn new(config: &Config, id: u32) -> Self {
        Self { config: config.clone(), id }
    }

    /// Waits for bytes to come or to go. Where none do for long, another connection looks whether the server is at work: a server that has
    /// gone silent, or a connection on which nothing arrives, is an error.
    pub(super) async fn wait<T>(&self, transfer: impl Future<Output = std::io::Result<T>>) -> Result<T> {
        let mut transfer = pin!(transfer);
        loop {
            if let Ok(done) = tokio::time::timeout(self.config.silence_timeout, transfer.as_mut()).await {
                return done.map_err(lost);
            }
            tokio::select! {
                biased;
                done = transfer.as_mut() => return done.map_err(lost),
                is_at_work = self.is_at_work() => if is_at_work? { continue },
            }
            return match tokio::time::timeout(UNDER_WAY.min(self.config.silence_timeout), transfer.as_mut())
                .await
            {
                Ok(done) => done.map_err(lost),
                Err(_) => {
                    Err(Error::new(ErrorKind::TimedOut, "the server waits for this end, but nothing arrives")
                        .hint("check the network between here and the server"))
                }
            };
        }
    }

    /// Whether the server is at work on what that connection has asked for. Errors if it does not answer at all.
    /// In a box, since looking waits in the same way.
    fn is_at_work(&self) -> Pin<Box<dyn Future<Output = Result<bool>> + Send + '_>> {
        Box::pin(self.look())
    }

    async fn look(&self) -> Result<bool> {
        let look = async {
            let ctx = Ctx::new();
            let (mut other, _) = Connection::log_in(&self.config, false).await?;
            let sessions = other.rows(&ctx, "SHOW PROCESSLIST").await?;
            other.close().await;
            let id = self.id.to_string();
            let session = sessions.iter().find(|row| field(row, 0) == id.as_bytes());
            Ok(session.is_some_and(|row| field(row, 4) != b"Sleep" && !SENDING.contains(&field(row, 6))))
        };
        let looked = match tokio::time::timeout(self.config.connect_timeout * 2, look).await {
            Ok(looked) => looked,
            Err(_) => Err(Error::new(ErrorKind::TimedOut, "the server does not answer any more")
                .hint("check that the server runs, and the network between here and there")),
        };
        match looked {
            // It speaks, if only to say that it has no room for another.
            Err(error) if code(&error).is_some() => Ok(true),
            looked => looked.map_err(|error| {
                let waited = self.config.silence_timeout.as_secs();
                error.during(format!("see why the server has said nothing for {waited} s"))
            }),
        }
    }
}

fn field(row: &Row, place: usize) -> &[u8] {
    row.get(place).and_then(Option::as_deref).unwrap_or_default()
}
