//! Subjects that listen and implement nothing: what they pass in tier B proves nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use quinn::{Connection, Endpoint, VarInt};
use segue_proto::Code;
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::runtime::{Builder, Runtime};

use crate::loopback::Answering;

/// A subject that listens and implements nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hollow {
    /// It has a port, and answers no packet.
    Deaf,
    /// It completes handshakes, takes whatever comes, and says nothing.
    Mute,
    /// It closes every connection with `AUTH_FAILED`.
    Closing,
    /// It sends back what comes on the control stream.
    Mirror,
}

impl Hollow {
    /// All of them.
    pub const ALL: [Hollow; 4] = [Hollow::Deaf, Hollow::Mute, Hollow::Closing, Hollow::Mirror];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Hollow::Deaf => "deaf",
            Hollow::Mute => "mute",
            Hollow::Closing => "closing",
            Hollow::Mirror => "mirror",
        }
    }

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Hollow> {
        Hollow::ALL.into_iter().find(|hollow| hollow.name() == name)
    }
}

/// The devices of such a subject.
pub(super) struct Shells {
    hollow: Hollow,
    runtime: Runtime,
    shells: BTreeMap<u64, Shell>,
}

enum Shell {
    Port(#[allow(dead_code)] UdpSocket),
    Endpoint(Endpoint),
}

impl Shells {
    pub(super) fn new(hollow: Hollow) -> Result<Shells, String> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| format!("can't start the runtime: {error}"))?;
        Ok(Shells { hollow, runtime, shells: BTreeMap::new() })
    }

    /// Says yes to everything.
    pub(super) fn answer(&mut self, request: &Value, hello: Value) -> Result<Value, String> {
        let dev = request.get("dev").and_then(Value::as_u64);
        match (request.get("cmd").and_then(Value::as_str), dev) {
            (Some("hello"), _) => Ok(hello),
            (Some("new"), Some(dev)) => {
                let (shell, addr) = self.open()?;
                self.shells.insert(dev, shell);
                Ok(json!({ "out": {}, "listening": addr.to_string() }))
            }
            (Some("bye"), Some(dev)) => {
                self.shells.remove(&dev);
                Ok(json!({}))
            }
            _ => Ok(json!({ "out": {}, "reply": {}, "sessions": {} })),
        }
    }

    fn open(&self) -> Result<(Shell, SocketAddr), String> {
        let _entered = self.runtime.enter();
        if self.hollow == Hollow::Deaf {
            let port = self.runtime.block_on(UdpSocket::bind("127.0.0.1:0")).map_err(|error| error.to_string())?;
            let addr = port.local_addr().map_err(|error| error.to_string())?;
            return Ok((Shell::Port(port), addr));
        }
        let (endpoint, _) = crate::loopback::answering(&Answering::default()).map_err(|fault| fault.came)?;
        let addr = endpoint.local_addr().map_err(|error| error.to_string())?;
        let (hollow, accepting) = (self.hollow, endpoint.clone());
        self.runtime.spawn(async move {
            while let Some(incoming) = accepting.accept().await {
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.await {
                        serve(hollow, &connection).await;
                    }
                });
            }
        });
        Ok((Shell::Endpoint(endpoint), addr))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if let Shell::Endpoint(endpoint) = self {
            endpoint.close(VarInt::from_u32(0), b"");
        }
    }
}

async fn serve(hollow: Hollow, connection: &Connection) {
    if hollow == Hollow::Closing {
        return connection.close(VarInt::from_u32(u32::from(Code::AUTH_FAILED.number())), b"");
    }
    let Ok((mut send, mut recv)) = connection.accept_bi().await else { return };
    while let Ok(Some(chunk)) = recv.read_chunk(64 << 10, true).await {
        if hollow == Hollow::Mirror && send.write_all(&chunk.bytes).await.is_err() {
            return;
        }
    }
    connection.closed().await;
}
