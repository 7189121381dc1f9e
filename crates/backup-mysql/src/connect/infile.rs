//! LOAD DATA LOCAL: the server asks for a file, and gets rows out of memory. A server that asks for anything that was not offered gets
//! nothing.

use backup_core::{Ctx, Error, ErrorKind, Result};

use super::Connection;
use super::statement::{Deadlocks, Done, Reply, doing};
use crate::error::malformed;

/// The name of the file that there is not.
pub(crate) const NAME: &str = "lifeboat";
/// How much is sent at once: less than any server's max_allowed_packet.
const PACKET: usize = 64 << 10;

/// The rows on their way into a LOAD DATA LOCAL. Dropped before its end, it leaves a connection that can only be closed.
#[derive(Debug)]
pub(crate) struct Infile<'c>(&'c mut Connection);

impl Connection {
    /// Runs a LOAD DATA LOCAL INFILE of the file [`NAME`], whose contents are then written.
    pub(crate) async fn infile(&mut self, ctx: &Ctx, sql: &str) -> Result<Infile<'_>> {
        let mut deadlocks = Deadlocks::default();
        let asked = loop {
            let asked = ctx.run(self.ask(sql.as_bytes())).await;
            if !deadlocks.again(ctx, &asked).await? {
                break asked;
            }
        };
        match asked.map_err(|error| error.during(doing(sql.as_bytes())))? {
            Reply::File(name) if name == NAME.as_bytes() => Ok(Infile(self)),
            Reply::File(_) => Err(self.refuse_file().await),
            Reply::Done(_) | Reply::Columns(_) => Err(malformed("an answer to rows that it has not seen")),
        }
    }

    /// Sends an empty file and says why.
    pub(super) async fn refuse_file(&mut self) -> Error {
        let refused = self.packets.push(&[]).await;
        let message = "the server asked for a file of this machine, which nobody offered";
        let error = Error::new(ErrorKind::PermissionDenied, message)
            .hint("do not trust this server: find out who answers at this address");
        match refused {
            Ok(()) => error,
            Err(lost) => error.because(lost),
        }
    }
}

impl Infile<'_> {
    /// Sends some of the contents.
    pub(crate) async fn write(&mut self, ctx: &Ctx, bytes: &[u8]) -> Result<()> {
        for packet in bytes.chunks(PACKET) {
            ctx.run(self.0.packets.push(packet)).await?;
        }
        Ok(())
    }

    /// Ends the file, and says how many rows the server took.
    pub(crate) async fn finish(self, ctx: &Ctx) -> Result<Done> {
        ctx.run(async {
            self.0.packets.send(&[]).await?;
            let payload = self.0.packets.payload().await?;
            match self.0.reply(&payload)? {
                Reply::Done(done) => Ok(done),
                _ => Err(malformed("no end of a load")),
            }
        })
        .await
    }
}
