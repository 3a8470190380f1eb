//! The process of the service.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use segue_quic::{DeviceId, Hash, Hosted, Instant, MailboxHost, Node, Said};
use segue_service::{Directory, Given, Quota, Service, Store, Terms};

/// Serves until its standard input ends.
pub(crate) async fn serve() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(&dir.path().join("box")).expect("a store");
    let builder = Node::builder().state_dir(dir.path().join("node")).witness(dir.path().join("witness"));
    let builder = builder.listen(([127, 0, 0, 1], 0).into()).accept_unknown(true).links(LINKS);
    let node = builder.host_mailbox(Host(Service::new(store, Quota::default()))).open().await.expect("a node");
    println!("{} {}", node.local_addr().expect("an address"), node.device());
    let (end, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = end.send(());
    });
    let events = node.clone();
    tokio::spawn(async move { while events.next_event().await.is_some() {} });
    let _ = ended.await;
    node.shutdown().await;
}

struct Host(Service<Store>);

impl MailboxHost for Host {
    fn keeps_custody(&self) -> bool {
        true
    }

    fn was_put_back(&self, _: u64) -> bool {
        false
    }

    fn begin(&mut self, now: Instant, me: DeviceId, tenure: Hash) -> Result<(), String> {
        self.0.keep_custody(now, Terms { me, tenure, lease: 0 }).map_err(|failed| failed.to_string())
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.0.next_timeout()
    }

    fn handle(&mut self, now: Instant, came: Vec<Hosted>) -> Result<Said, String> {
        let given = self.0.handle(now, came).map_err(|failed| failed.to_string())?;
        let Given { answers, tells, signs, closes, .. } = given;
        let mark = self.0.directory().sets().map_err(|failed| failed.to_string())?;
        Ok(Said { answers, tells, signs, closes, mark })
    }
}

/// The process, which ends with this.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
    pub(crate) device: DeviceId,
}

impl Server {
    pub(crate) fn start() -> Server {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        let mut child =
            command.arg("--serve").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the server starts");
        let mut line = String::new();
        let told = child.stdout.take().expect("a pipe");
        BufReader::new(told).read_line(&mut line).expect("the server lives");
        let (addr, device) = line.trim_end().split_once(' ').expect("an address and a device");
        let device = DeviceId::from_hex(device).expect("a device");
        Server { child, addr: addr.parse().expect("an address"), device }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// More than the devices and the others together.
const LINKS: usize = 20_000;
