//! Requests put to a handler of the application, instead of being read from events.

use std::collections::BTreeSet;

use crate::event::Event;
use crate::handoff_error::HandoffError;
use crate::node::{Node, Request, RequestKind};

impl Node {
    /// Calls `handler` with each offer of a session by another device, those that wait already included: it answers by
    /// [`Node::accept_handoff`] or [`Node::reject_handoff`]. Offers are handled side by side. An error that the handler
    /// returns goes to the log; what it is about is told by [`Event::HandoffResolved`] too.
    ///
    /// The handler is given the node, so it need not hold one: it lives until the node ends. Events are told as without.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use segue_quic::{Node, Request, SessionRole};
    ///
    /// fn should_accept_handoff(request: &Request) -> bool {
    ///     request.kind == segue_quic::RequestKind::Offered { name: "notes".into() }
    /// }
    ///
    /// let primary = Node::builder().in_memory().open().await?;
    /// let secondary = Node::builder().in_memory().listen("127.0.0.1:0".parse()?).trust(primary.device()).open().await?;
    ///
    /// secondary.on_handoff_request(|node, request| async move {
    ///     if should_accept_handoff(&request) {
    ///         node.accept_handoff(request.token).await?;
    ///     } else {
    ///         node.reject_handoff(request.token).await?;
    ///     }
    ///     Ok(())
    /// });
    ///
    /// let session = primary.create_session("notes", &[secondary.device()]).await?;
    /// primary.connect(secondary.local_addr().ok_or("no address")?, secondary.device()).await?;
    /// match primary.initiate_handoff(session, secondary.device()).await {
    ///     Ok(_) => println!("Handoff completed successfully."),
    ///     Err(error) => eprintln!("Error during handoff: {error}"),
    /// }
    /// # assert_eq!(secondary.session(session).await?.map(|view| view.role), Some(SessionRole::Primary));
    /// # let other = primary.create_session("not these", &[secondary.device()]).await?;
    /// # let refused = primary.initiate_handoff(other, secondary.device()).await;
    /// # assert!(matches!(refused, Err(segue_quic::HandoffError::Refused { .. })), "{refused:?}");
    /// # Ok(()) }
    /// ```
    pub fn on_handoff_request<F, Fut>(&self, handler: F)
    where
        F: FnMut(Node, Request) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), HandoffError>> + Send + 'static,
    {
        self.on_request(|kind| matches!(kind, RequestKind::Offered { .. }), handler);
    }

    /// Calls `handler` with each request of another device for a session of this one, as
    /// [`Node::on_handoff_request`] does with offers.
    pub fn on_request_handoff<F, Fut>(&self, handler: F)
    where
        F: FnMut(Node, Request) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), HandoffError>> + Send + 'static,
    {
        self.on_request(|kind| matches!(kind, RequestKind::Wanted), handler);
    }

    fn on_request<F, Fut>(&self, wanted: fn(&RequestKind) -> bool, mut handler: F)
    where
        F: FnMut(Node, Request) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), HandoffError>> + Send + 'static,
    {
        // One that waits is enough: all requests are looked at then.
        let mut tap = self.tap(1, |event| matches!(event, Event::HandoffRequest { .. } | Event::RequestHandoff { .. }));
        let weak = self.downgrade();
        tokio::spawn(async move {
            let mut told = BTreeSet::new();
            loop {
                let Some(node) = weak.upgrade() else { return };
                let Ok(waiting) = node.requests().await else { return };
                told.retain(|token| waiting.iter().any(|request| request.token == *token));
                for request in waiting.into_iter().filter(|request| wanted(&request.kind)) {
                    if told.insert(request.token) {
                        let token = request.token;
                        let handled = handler(node.clone(), request);
                        tokio::spawn(async move {
                            if let Err(error) = handled.await {
                                tracing::info!(%token, %error, "a request wasn't handled");
                            }
                        });
                    }
                }
                drop(node);
                if tap.recv().await.is_none() {
                    return;
                }
            }
        });
    }
}
