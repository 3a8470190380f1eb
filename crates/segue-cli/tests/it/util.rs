//! Processes of the command, and trees of files.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Longer than anything here takes; what takes longer hangs.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// A directory for a test: the states of its devices, and their files.
pub(crate) struct Lab {
    dir: tempfile::TempDir,
}

/// What a command printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn says(self, what: &str) -> Self {
        assert!(self.err.contains(what) || self.out.contains(what), "no {what:?} in:\n{}\n{}", self.out, self.err);
        self
    }
}

impl Lab {
    pub(crate) fn new() -> Lab {
        Lab { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    /// A command line, split at spaces, in the lab's directory.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_segue"));
        command.args(line.split_whitespace()).current_dir(self.dir.path());
        // The mark that tells a restored store lies outside the states, but not outside the test.
        command.env("XDG_STATE_HOME", self.path("marks")).env("SEGUE_LOG", "warn");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, line: &str) -> Done {
        self.start(line).end()
    }

    /// Starts a command.
    pub(crate) fn start(&self, line: &str) -> Running {
        Running::new(self.command(line).spawn().unwrap(), line)
    }

    /// Starts `receive`, and waits until it listens.
    pub(crate) fn receive(&self, state: &str, rest: &str) -> Running {
        self.receive_at("127.0.0.1:0", state, rest)
    }

    pub(crate) fn receive_at(&self, addr: &str, state: &str, rest: &str) -> Running {
        let mut running = self.start(&format!("receive --state {state} --listen {addr} {rest}"));
        let line = running.line();
        running.addr = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        running
    }

    pub(crate) fn id(&self, state: &str) -> String {
        self.run(&format!("id --state {state}")).exits(0).out.trim().to_owned()
    }

    pub(crate) fn owner(&self, state: &str) -> serde_json::Value {
        serde_json::from_str(&self.run(&format!("owner --state {state} --json")).exits(0).out).unwrap()
    }

    /// The only session of a device.
    pub(crate) fn session(&self, state: &str) -> serde_json::Value {
        let report = self.owner(state);
        let sessions = report["sessions"].as_array().unwrap();
        assert_eq!(sessions.len(), 1, "{report:#}");
        sessions[0].clone()
    }

    /// Kills a `receive --once`. Whether there is something left for another one to do: one that had ended, or was about to
    /// with all of its work remembered, has one wait for another session.
    pub(crate) fn kill_receiver(&self, receiver: &mut Running, state: &str) -> bool {
        if receiver.kill().code() == Some(0) {
            return false;
        }
        let places = fs::read(self.path(state).join("directories.json")).unwrap_or_default();
        let places: serde_json::Value = serde_json::from_slice(&places).unwrap_or_default();
        let mut places = places["sessions"].as_object().into_iter().flat_map(|places| places.values()).peekable();
        places.peek().is_none() || !places.all(|place| place["note"].is_null() && place["applied"].is_string())
    }

    /// How many of these devices may write.
    pub(crate) fn primaries(&self, states: &[&str]) -> usize {
        let primary = |state: &&&str| {
            let report = self.owner(state);
            report["sessions"].as_array().unwrap().iter().any(|session| session["primary"] == true)
        };
        states.iter().filter(primary).count()
    }

    /// Writes a tree: some files, one executable, one without bytes, an empty directory.
    pub(crate) fn tree(&self, name: &str, files: usize, bytes: usize) -> PathBuf {
        let root = self.path(name);
        for at in 0..files {
            let dir = root.join(format!("d{}", at % 7));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(format!("file {at}")), noise(bytes / files, at as u64 + 1)).unwrap();
        }
        fs::create_dir_all(root.join("d0/empty")).unwrap();
        fs::write(root.join("nothing"), "").unwrap();
        fs::write(root.join("run.sh"), "#!/bin/sh\n").unwrap();
        set_executable(&root.join("run.sh"));
        root
    }
}

/// A process, and its lines.
pub(crate) struct Running {
    child: Child,
    what: String,
    pub(crate) addr: String,
    lines: Receiver<String>,
    err: Option<thread::JoinHandle<()>>,
    said: Arc<Mutex<String>>,
}

impl Running {
    pub(crate) fn new(mut child: Child, what: &str) -> Running {
        let (tell, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let (pipe, said) = (BufReader::new(child.stderr.take().unwrap()), Arc::<Mutex<String>>::default());
        let text = said.clone();
        let err = thread::spawn(move || {
            pipe.lines().map_while(Result::ok).for_each(|line| *text.lock().unwrap() += &format!("{line}\n"));
        });
        Running { child, what: what.to_owned(), addr: String::new(), lines, err: Some(err), said }
    }

    /// What it has said on standard error so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// The same once it has ended.
    fn all_said(&mut self) -> String {
        self.err.take().into_iter().for_each(|err| err.join().unwrap());
        self.said()
    }

    /// The next line on standard output.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        match self.lines.recv_timeout(LONG) {
            Ok(line) => line,
            Err(why) => {
                self.kill();
                let said = self.all_said();
                panic!("{}: no line ({why}); {said}", self.what);
            }
        }
    }

    /// Waits for a line that begins so.
    #[track_caller]
    pub(crate) fn until(&mut self, start: &str) -> String {
        loop {
            let line = self.line();
            if line.starts_with(start) {
                return line;
            }
        }
    }

    /// Whether it ends by itself within this time.
    pub(crate) fn ends_within(&mut self, time: Duration) -> bool {
        // Its standard output closes when it ends.
        let until = std::time::Instant::now() + time;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(std::time::Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Done {
        let mut out = String::new();
        loop {
            match self.lines.recv_timeout(LONG) {
                Ok(line) => out += &format!("{line}\n"),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.kill();
                    let said = self.all_said();
                    panic!("{} hangs: {out}{said}", self.what);
                }
            }
        }
        let code = self.child.wait().unwrap().code();
        Done { code, out, err: self.all_said() }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        let _ = self.child.kill();
        self.child.wait().unwrap()
    }

    /// What its memory holds that can be written to.
    #[cfg(target_os = "linux")]
    pub(crate) fn memory(&self) -> Vec<Vec<u8>> {
        crate::memory::memory(self.child.id())
    }

    /// As Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a tree holds: for a file its content and whether it can be run.
pub(crate) fn read_tree(root: &Path) -> BTreeMap<String, Option<(bool, Vec<u8>)>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if entry.file_type().unwrap().is_dir() {
                found.insert(name, None);
                open.push(path);
            } else if entry.file_type().unwrap().is_file() {
                found.insert(name, Some((is_executable(&path), fs::read(&path).unwrap())));
            }
        }
    }
    found
}

#[track_caller]
pub(crate) fn assert_same(a: &Path, b: &Path) {
    let (left, right) = (read_tree(a), read_tree(b));
    let names = |tree: &BTreeMap<String, _>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&left), names(&right));
    for (name, entry) in &left {
        assert!(right[name] == *entry, "{name} differs");
    }
}

/// Bytes that don't compress and differ by seed.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub(crate) fn set_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o100 != 0
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn wait_for(holds: impl Fn() -> bool) {
    let until = std::time::Instant::now() + LONG;
    while !holds() {
        assert!(std::time::Instant::now() < until, "it doesn't come");
        thread::yield_now();
    }
}
