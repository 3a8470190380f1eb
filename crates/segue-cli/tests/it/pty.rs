//! A process at a terminal of its own, and a network between two that can be cut.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::util::LONG;

/// Columns and rows.
const SIZE: (u16, u16) = (100, 12);

/// A process at a terminal.
pub(crate) struct Terminal {
    child: Child,
    keys: File,
    screen: Arc<(Mutex<Shown>, Condvar)>,
}

struct Shown {
    parser: vt100::Parser,
    /// All that was ever written.
    raw: Vec<u8>,
}

impl Terminal {
    /// Starts a command at a terminal of 100 columns and 12 rows.
    pub(crate) fn start(command: Command) -> Terminal {
        Terminal::wide(command, SIZE.0)
    }

    /// The same at a terminal of so many columns.
    pub(crate) fn wide(mut command: Command, ws_col: u16) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let ws_row = SIZE.1;
        tcsetwinsize(&master, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let open = || Stdio::from(OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap());
        let child = command.env("TERM", "xterm-256color").stdin(open()).stdout(open()).stderr(open()).spawn().unwrap();
        // The command holds the terminal's other end, until it is dropped here.
        drop(command);
        let keys = File::from(master);
        let mut output = keys.try_clone().unwrap();
        let shown = Shown { parser: vt100::Parser::new(ws_row, ws_col, 0), raw: Vec::new() };
        let screen = Arc::new((Mutex::new(shown), Condvar::new()));
        let writes = screen.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Once nobody has the other end open, reading fails.
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                let mut shown = writes.0.lock().unwrap();
                shown.parser.process(&buffer[..read]);
                shown.raw.extend_from_slice(&buffer[..read]);
                writes.1.notify_all();
            }
        });
        Terminal { child, keys, screen }
    }

    /// Presses keys.
    pub(crate) fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen is as it should be; what it shows then.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, good: impl Fn(&str) -> bool) -> String {
        self.wait(what, |shown| {
            let contents = shown.parser.screen().contents();
            good(&contents).then_some(contents)
        })
    }

    /// Waits for a line that begins so, even if it is covered by now; the rest of it.
    #[track_caller]
    pub(crate) fn line(&self, start: &str) -> String {
        self.wait(start, |shown| {
            let text = String::from_utf8_lossy(&shown.raw).into_owned();
            let (_, rest) = text.split_once(start)?;
            rest.split_once('\r').map(|(line, _)| line.to_owned())
        })
    }

    /// All that was ever written to it.
    pub(crate) fn written(&self) -> String {
        String::from_utf8_lossy(&self.screen.0.lock().unwrap().raw).into_owned()
    }

    /// The text, without the status line.
    pub(crate) fn text(&self) -> String {
        let contents = self.screen.0.lock().unwrap().parser.screen().contents();
        let lines: Vec<_> = contents.lines().take(usize::from(SIZE.1) - 1).map(str::trim_end).collect();
        lines.join("\n").trim_end().to_owned()
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, mut find: impl FnMut(&Shown) -> Option<T>) -> T {
        let until = Instant::now() + LONG;
        let mut shown = self.screen.0.lock().unwrap();
        loop {
            if let Some(found) = find(&shown) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what:?} on:\n{}", shown.parser.screen().contents());
            shown = self.screen.1.wait_timeout(shown, left).unwrap().0;
        }
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A network between a device that calls and one that listens, which can be cut.
pub(crate) struct Relay {
    pub(crate) addr: SocketAddr,
    cut: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Relay {
    pub(crate) fn to(listener: SocketAddr) -> Relay {
        Relay::paced(listener, None)
    }

    /// One that lets so many bytes a second through, each way.
    pub(crate) fn slow(listener: SocketAddr, rate: u32) -> Relay {
        Relay::paced(listener, Some(rate))
    }

    fn paced(listener: SocketAddr, rate: Option<u32>) -> Relay {
        let [front, back] = [0, 1].map(|_| Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap()));
        let addr = front.local_addr().unwrap();
        let (cut, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let caller = Arc::new(Mutex::new(None));
        let (cut1, over1, caller1, front1, back1) =
            (cut.clone(), over.clone(), caller.clone(), front.clone(), back.clone());
        thread::spawn(move || {
            pass(&front1, rate, &cut1, &over1, |packet, from| {
                *caller1.lock().unwrap() = Some(from);
                let _ = back1.send_to(packet, listener);
            });
        });
        let (cut2, over2) = (cut.clone(), over.clone());
        thread::spawn(move || {
            pass(&back, rate, &cut2, &over2, |packet, _| {
                let to = *caller.lock().unwrap();
                to.map(|to| front.send_to(packet, to));
            });
        });
        Relay { addr, cut, over }
    }

    /// From here on nothing gets through, or everything again.
    pub(crate) fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// Passes on what comes, each packet once those before it and its own bytes had their time; of a rate, a queue of QUEUE packets
/// holds what waits, and the rest is lost.
fn pass(
    from: &UdpSocket,
    rate: Option<u32>,
    cut: &AtomicBool,
    over: &AtomicBool,
    mut on: impl FnMut(&[u8], SocketAddr),
) {
    let (mut buffer, mut waiting, mut free) = ([0; 65_536], VecDeque::new(), Instant::now());
    while !over.load(Ordering::SeqCst) {
        let due = waiting.front().map_or(LOOK, |(due, ..): &(Instant, Vec<u8>, SocketAddr)| {
            due.saturating_duration_since(Instant::now()).clamp(Duration::from_micros(100), LOOK)
        });
        from.set_read_timeout(Some(due)).unwrap();
        if let Ok((read, sender)) = from.recv_from(&mut buffer)
            && !cut.load(Ordering::SeqCst)
            && waiting.len() < QUEUE
        {
            let takes = rate.map_or(0.0, |rate| read as f64 / f64::from(rate));
            free = free.max(Instant::now()) + Duration::from_secs_f64(takes);
            waiting.push_back((free, buffer[..read].to_vec(), sender));
        }
        while let Some((_, packet, sender)) = waiting.pop_front_if(|(due, ..)| *due <= Instant::now()) {
            on(&packet, sender);
        }
    }
}

/// How often a relay looks whether it is over.
const LOOK: Duration = Duration::from_millis(50);
/// The packets that may wait in a relay. From: a tenth of a second at the rate of the slowest.
const QUEUE: usize = 128;
