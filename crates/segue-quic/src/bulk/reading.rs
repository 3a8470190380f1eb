//! The streams of a link that are being read, so that they can be told that nobody wants what they bring any more.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::time::Duration;

use quinn::ReadError;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// By the request that they answer.
#[derive(Default)]
pub(crate) struct Reading(BTreeMap<u32, Vec<oneshot::Sender<()>>>);

impl Reading {
    /// A stream that answers this request is read from now on.
    pub(crate) fn begin(&mut self, req: u32) -> Stopped {
        self.0.retain(|_, streams| {
            streams.retain(|stream| !stream.is_closed());
            !streams.is_empty()
        });
        let (tell, told) = oneshot::channel();
        self.0.entry(req).or_default().push(tell);
        Stopped { told: Some(told), is_told: false }
    }

    /// Nobody wants the answer to this request any more.
    pub(crate) fn stop(&mut self, req: u32) {
        for stream in self.0.remove(&req).into_iter().flatten() {
            let _ = stream.send(());
        }
    }
}

/// Whether a stream that is read was told to stop.
#[derive(Debug)]
pub(crate) struct Stopped {
    /// None once it said something, or can't any more.
    told: Option<oneshot::Receiver<()>>,
    is_told: bool,
}

impl Stopped {
    /// What a read brings, unless the stream ends, brings nothing for so long, or isn't wanted any more.
    pub(super) async fn or_read<T>(
        &mut self,
        limit: Duration,
        read: impl Future<Output = Result<Option<T>, ReadError>>,
    ) -> Option<T> {
        tokio::select! {
            biased;
            () = self.told() => None,
            read = timeout(limit, read) => read.ok()?.ok()?,
        }
    }

    pub(super) fn is_told(&self) -> bool {
        self.is_told
    }

    async fn told(&mut self) {
        if let Some(told) = &mut self.told {
            // A link that is gone tells nothing.
            self.is_told = told.await.is_ok();
            self.told = None;
        }
        if !self.is_told {
            pending().await
        }
    }
}
