//! Writes of objects whose bytes are made while they are sent.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use aws_sdk_s3::primitives::SdkBody;
use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::stream::{Stream, StreamExt};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::bucket::Bucket;
use super::response::BODY_PATIENCE;
use super::write::{Condition, WriteResult};
use crate::headers::Headers;

impl Bucket {
    /// Tries once to write an object of `size_bytes`, whose CRC-32 S3 checks.
    ///
    /// Returns `None` if that did not succeed, and the object has to be written in another way.
    ///
    /// # Errors
    /// Those of `pieces`. Nothing is written then: the last piece is sent only after the end of `pieces`.
    pub async fn put_streamed<E>(
        &self,
        key: &str,
        (size_bytes, crc32): (u64, u32),
        headers: &Headers,
        condition: Condition<'_>,
        pieces: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<Option<WriteResult>, E> {
        self.rate_limit.turn().await;
        let (sender, receiver) = mpsc::channel(1);
        let body = SdkBody::from_body_1_x(PieceBody { pieces: receiver, left_bytes: size_bytes });
        let putting = pin!(self.request_put(&self.long, key, body, crc32, headers, condition));
        match select(putting, pin!(feed(pieces, sender))).await {
            Either::Left((answer, _)) => Ok(answer),
            Either::Right((fed, putting)) => {
                fed?;
                Ok(timeout(BODY_PATIENCE, putting).await.unwrap_or_default())
            }
        }
    }
}

/// Passes pieces on. It ends early if the connection takes no more.
async fn feed<E>(pieces: impl Stream<Item = Result<Bytes, E>>, sender: mpsc::Sender<Bytes>) -> Result<(), E> {
    let mut pieces = pin!(pieces);
    let mut held_back = None;
    while let Some(piece) = pieces.next().await {
        if let Some(before) = held_back.replace(piece?)
            && !is_taken(&sender, before).await
        {
            return Ok(());
        }
    }
    if let Some(last) = held_back {
        is_taken(&sender, last).await;
    }
    Ok(())
}

/// Returns whether the connection takes a piece within the time that it has.
async fn is_taken(sender: &mpsc::Sender<Bytes>, piece: Bytes) -> bool {
    matches!(timeout(BODY_PATIENCE, sender.send(piece)).await, Ok(Ok(())))
}

/// A body whose pieces come over a channel.
struct PieceBody {
    pieces: mpsc::Receiver<Bytes>,
    left_bytes: u64,
}

impl Body for PieceBody {
    type Data = Bytes;
    type Error = io::Error;

    /// # Errors
    /// `UnexpectedEof` when the pieces end before the body, `InvalidData` when a piece goes on after it.
    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left_bytes == 0 {
            return Poll::Ready(None);
        }
        let Some(piece) = ready!(self.pieces.poll_recv(context)) else {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        };
        Poll::Ready(Some(match self.left_bytes.checked_sub(piece.len() as u64) {
            Some(left_bytes) => {
                self.left_bytes = left_bytes;
                Ok(Frame::data(piece))
            }
            None => Err(io::ErrorKind::InvalidData.into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left_bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes)
    }
}
