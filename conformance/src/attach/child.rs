//! An adapter in a child process.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::Wire;

/// How long an answer may take by the wall clock before the child counts as dead. No verdict hangs on a clock: this
/// only tells a child that hangs from one that works.
pub const GUARD: Duration = Duration::from_secs(10);

/// How many times as long the first answer of a child may take, which has to start first: many start at once, and an
/// interpreter that reads its libraries on a busy machine takes its time.
const START: u32 = 6;

/// The longest line that is taken from a child. The largest answer of a case holds a few files of 200 kB in
/// hexadecimal; this leaves room for sixteen times that.
const MAX_LINE: u64 = 16 << 20;

/// A child process that reads requests from its standard input and answers on its standard output.
pub struct ChildWire {
    command: Vec<String>,
    guard: Duration,
    running: Option<Running>,
}

struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl ChildWire {
    /// Runs `command`, split at spaces; quotation marks keep words together.
    pub fn new(command: &str, guard: Duration) -> ChildWire {
        ChildWire { command: split(command), guard, running: None }
    }

    fn start(&self) -> Result<Running, String> {
        let (program, arguments) = self.command.split_first().ok_or("the adapter's command is empty")?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| format!("the adapter '{program}' can't be started: {error}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or("the adapter has no standard output")?;
        // One line ahead is enough: there is one answer a request, and a child that says more is garbage.
        let (sender, lines) = sync_channel(1);
        thread::spawn(move || read_lines(stdout, &sender));
        Ok(Running { child, stdin, lines })
    }

    fn converse(&mut self, line: &str) -> Result<String, String> {
        let mut guard = self.guard;
        if self.running.is_none() {
            self.running = Some(self.start()?);
            guard *= START;
        }
        let Some(running) = self.running.as_mut() else { return Err("the adapter isn't there".into()) };
        let sent = running.stdin.as_mut().map(|stdin| {
            stdin.write_all(line.as_bytes()).and_then(|()| stdin.write_all(b"\n")).and_then(|()| stdin.flush())
        });
        if !matches!(sent, Some(Ok(()))) {
            return Err(running.ended());
        }
        match running.lines.recv_timeout(guard) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("the adapter didn't answer within {} s", guard.as_secs_f32()))
            }
            Err(RecvTimeoutError::Disconnected) => Err(running.ended()),
        }
    }
}

impl Wire for ChildWire {
    fn ask(&mut self, line: &str) -> Result<String, String> {
        let answer = self.converse(line);
        if answer.is_err() {
            self.restart();
        }
        answer
    }

    fn restart(&mut self) {
        if let Some(mut running) = self.running.take() {
            drop(running.stdin.take());
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

impl Drop for ChildWire {
    fn drop(&mut self) {
        self.restart();
    }
}

impl Running {
    /// Why nothing comes any more. The pipe is closed, so the process has ended or is about to; waiting for it can
    /// take no longer than its own end, and a process that closed its pipe and lives on is killed.
    fn ended(&mut self) -> String {
        drop(self.stdin.take());
        let _ = self.child.kill();
        match self.child.wait() {
            Ok(status) if status.code().is_some() => format!("the adapter ended ({status})"),
            _ => "the adapter closed its output".into(),
        }
    }
}

/// Why the program of an adapter's command can't be started, as far as that can be seen without starting it.
pub(crate) fn missing(command: &str) -> Option<String> {
    let words = split(command);
    let Some(program) = words.first() else { return Some("the adapter's command is empty".into()) };
    place(program, true).is_none().then(|| format!("the adapter can't be started: there is no program '{program}'"))
}

/// The file that a word of a command names; a program without a directory is looked for where the system would.
pub(crate) fn place(word: &str, program: bool) -> Option<PathBuf> {
    let path = Path::new(word);
    if !program || word.contains('/') {
        return path.is_file().then(|| path.into());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(word)).find(|path| path.is_file())
}

fn read_lines(stdout: impl std::io::Read, sender: &SyncSender<String>) {
    let mut reader = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        let read = std::io::Read::take(&mut reader, MAX_LINE).read_until(b'\n', &mut line);
        if !matches!(read, Ok(1..)) {
            return;
        }
        if sender.send(String::from_utf8_lossy(&line).trim_end().to_string()).is_err() {
            return;
        }
    }
}

/// Splits a command line into words.
pub(crate) fn split(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut open) = (Vec::new(), String::new(), None, false);
    for c in command.chars() {
        match (quote, c) {
            (Some(mark), c) if c == mark => quote = None,
            (None, '"' | '\'') => (quote, open) = (Some(c), true),
            (None, c) if c.is_whitespace() => {
                if open {
                    words.push(std::mem::take(&mut word));
                    open = false;
                }
            }
            (_, c) => {
                word.push(c);
                open = true;
            }
        }
    }
    if open {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_at_spaces_outside_quotation_marks() {
        assert_eq!(split("segue  adapter --mutant HO-GRANT-1"), ["segue", "adapter", "--mutant", "HO-GRANT-1"]);
        assert_eq!(split("'/my tools/segue' \"a b\"c ''"), ["/my tools/segue", "a bc", ""]);
        assert!(split("  ").is_empty());
    }
}
