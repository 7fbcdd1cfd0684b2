//! `--record`: what peers send and what they are answered, written into a folder that a test can replay.
//!
//! ```text
//! DIR/messages.jsonl            one line per message of the data socket: the JSON as sent, or {"hex": "8004.."} for other bytes
//! DIR/replies.jsonl             one line per message: its reply; null where producers publish
//! DIR/segments/<shm_name>.bin   the shared memory that a message named, as far as it was read
//! DIR/frames/<message>-<n>.bin  the binary frames of a message: message is its line in messages.jsonl, n its frame, both from 0
//! DIR/control.jsonl             one line per control exchange, in the order of their replies:
//!                               {"after_messages": 3, "request": "8004..", "reply": "8004.."}, bytes in hexadecimal
//! ```
//! `after_messages` counts the lines of `messages.jsonl` when the request came: what the viewer had been sent by then.
//!
//! A segment that its producer keeps and fills again (`shm_kept`) is recorded with its first content only.
//!
//! Pings are left out. Clients of zmqruntime send one before each call and while they wait for a viewer, several per second for
//! as long as they live; their answers say nothing of what was shown, and would soon be most of the recording.
//!
//! A case of the tests is such a folder below `tests/transcripts`. Each file is written by the thread that serves, before the
//! reply, so a slow disk slows peers down; recording is for bug reports, not for daily work. The control thread never waits for a
//! segment that is being written: the two share only their budget.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The recording of the data socket.
pub(crate) struct Recorder {
    folder: PathBuf,
    messages: File,
    replies: File,
    progress: Arc<Progress>,
}

/// The recording of the control socket, in the same folder.
pub(crate) struct ControlRecorder {
    exchanges: File,
    progress: Arc<Progress>,
}

/// A control request that waits for its reply.
pub(crate) struct Asked {
    request: Vec<u8>,
    after_messages: u64,
}

/// How far a recording is, for both of its sockets. Locked for as long as a sum takes.
struct Progress {
    folder: PathBuf,
    limit_bytes: u64,
    state: Mutex<State>,
}

struct State {
    left_bytes: u64,
    messages: u64,
    /// Set when the recording is over: why. Empty once that was said.
    ended: Option<String>,
}

impl Recorder {
    /// Starts a recording in `folder`, which is made. Both parts together write at most `limit_bytes`.
    ///
    /// # Errors
    /// When the folder cannot be made, or holds a recording: none is overwritten.
    pub(crate) fn create(folder: &Path, limit_bytes: u64) -> io::Result<(Self, ControlRecorder)> {
        fs::create_dir_all(folder.join("segments"))?;
        let new = |name: &str| OpenOptions::new().write(true).create_new(true).open(folder.join(name));
        let progress = Arc::new(Progress {
            folder: folder.to_owned(),
            limit_bytes,
            state: Mutex::new(State { left_bytes: limit_bytes, messages: 0, ended: None }),
        });
        let control = ControlRecorder { exchanges: new("control.jsonl")?, progress: progress.clone() };
        let data = Self {
            messages: new("messages.jsonl")?,
            replies: new("replies.jsonl")?,
            folder: folder.to_owned(),
            progress,
        };
        Ok((data, control))
    }

    /// Keeps what a segment held. The first content of a name counts; producers make a new name for each array.
    pub(crate) fn segment(&mut self, name: &str, bytes: &[u8]) {
        let path = self.folder.join("segments").join(format!("{name}.bin"));
        if !path.exists() && self.progress.claim(bytes.len()) {
            self.progress.end_on_error(fs::write(path, bytes));
        }
    }

    /// Keeps one message and its reply, after its segments. Returns why the recording ends, when it ends here.
    pub(crate) fn exchange(&mut self, body: &[u8], frames: &[&[u8]], reply: Option<&[u8]>) -> Option<String> {
        let reply = reply.unwrap_or(b"null");
        let line = line_of(body);
        let frame_bytes: usize = frames.iter().map(|frame| frame.len()).sum();
        // Without one of its segments a message would replay as another; the whole message is left out then.
        if self.progress.claim(line.len() + reply.len() + 2 + frame_bytes) {
            self.progress.end_on_error(self.write_frames(frames));
            let written = [(&mut self.messages, &line[..]), (&mut self.replies, reply)]
                .into_iter()
                .try_for_each(|(file, text)| file.write_all(&[text, b"\n"].concat()));
            self.progress.end_on_error(written);
            self.progress.state().messages += 1;
        }
        self.progress.news_of_end()
    }
}

impl Recorder {
    fn write_frames(&self, frames: &[&[u8]]) -> io::Result<()> {
        if frames.is_empty() {
            return Ok(());
        }
        let (folder, message) = (self.folder.join("frames"), self.progress.state().messages);
        fs::create_dir_all(&folder)?;
        let mut numbered = frames.iter().enumerate();
        numbered.try_for_each(|(index, frame)| fs::write(folder.join(format!("{message}-{index}.bin")), frame))
    }
}

impl ControlRecorder {
    /// Notes a request when it comes; its reply may come later than those of others.
    pub(crate) fn asked(&self, request: &[u8]) -> Asked {
        Asked { request: request.to_vec(), after_messages: self.progress.state().messages }
    }

    /// Keeps one request and its reply. Returns why the recording ends, when it ends here.
    pub(crate) fn exchange(&self, asked: &Asked, reply: &[u8]) -> Option<String> {
        let Asked { request, after_messages } = asked;
        let (request, reply) = (hex(request), hex(reply));
        let line =
            format!("{{\"after_messages\": {after_messages}, \"request\": \"{request}\", \"reply\": \"{reply}\"}}\n");
        if self.progress.claim(line.len()) {
            self.progress.end_on_error((&self.exchanges).write_all(line.as_bytes()));
        }
        self.progress.news_of_end()
    }
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `bytes` of the budget. `false`: the recording is over, perhaps by this.
    fn claim(&self, bytes: usize) -> bool {
        let mut state = self.state();
        if state.ended.is_some() {
            return false;
        }
        match state.left_bytes.checked_sub(bytes as u64) {
            Some(left) => {
                state.left_bytes = left;
                true
            }
            None => {
                state.ended = Some(self.sentence(&format!("it has reached its limit of {} bytes", self.limit_bytes)));
                false
            }
        }
    }

    fn end_on_error(&self, written: io::Result<()>) {
        if let Err(error) = written {
            self.state().ended = Some(self.sentence(&error.to_string()));
        }
    }

    /// Why the recording is over, said once.
    fn news_of_end(&self) -> Option<String> {
        self.state().ended.as_mut().filter(|reason| !reason.is_empty()).map(std::mem::take)
    }

    fn sentence(&self, reason: &str) -> String {
        format!(
            "The recording ends: {reason}. Later messages are shown, not recorded. Folder: {}",
            self.folder.display()
        )
    }
}

/// A message as one line: itself when it is JSON on one line, else its bytes.
fn line_of(frame: &[u8]) -> Vec<u8> {
    let is_line = frame.starts_with(b"{")
        && !frame.contains(&b'\n')
        && !frame.contains(&b'\r')
        && std::str::from_utf8(frame).is_ok();
    if is_line && !frame.starts_with(br#"{"hex""#) {
        return frame.to_vec();
    }
    format!(r#"{{"hex": "{}"}}"#, hex(frame)).into_bytes()
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join(name)).unwrap()
    }

    #[test]
    fn messages_and_replies_are_lines_in_step() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("case");
        let (mut recorder, _) = Recorder::create(&folder, 1000).unwrap();
        recorder.segment("napari_1", &[1, 2]);
        recorder.segment("napari_1", &[3, 4]);
        assert_eq!(recorder.exchange(br#"{"type": "batch"}"#, &[], Some(b"{}")), None);
        assert_eq!(recorder.exchange(b"\x80\x04\n.", &[&[7], &[8, 9]], None), None);
        assert_eq!(fs::read(folder.join("frames/1-1.bin")).unwrap(), [8, 9]);
        assert_eq!(read(&folder, "messages.jsonl"), "{\"type\": \"batch\"}\n{\"hex\": \"80040a2e\"}\n");
        assert_eq!(read(&folder, "replies.jsonl"), "{}\nnull\n");
        assert_eq!(fs::read(folder.join("segments/napari_1.bin")).unwrap(), [1, 2]);
        assert!(Recorder::create(&folder, 1000).is_err(), "a recording was overwritten");
    }

    #[test]
    fn a_full_recording_says_so_once_and_keeps_whole_messages() {
        let folder = tempfile::tempdir().unwrap();
        let (mut recorder, control) = Recorder::create(folder.path(), 20).unwrap();
        assert_eq!(recorder.exchange(b"{}", &[], Some(b"{}")), None);
        recorder.segment("napari_1", &[0; 100]);
        let text = recorder.exchange(b"{}", &[], Some(b"{}")).unwrap();
        assert!(text.contains("limit of 20 bytes"), "{text}");
        assert_eq!(recorder.exchange(b"{}", &[], Some(b"{}")), None);
        assert_eq!(control.exchange(&control.asked(b"."), b"."), None);
        assert_eq!(read(folder.path(), "messages.jsonl"), "{}\n");
        assert_eq!(read(folder.path(), "control.jsonl"), "");
        assert!(!folder.path().join("segments/napari_1.bin").exists());
    }

    #[test]
    fn control_exchanges_are_lines_in_the_order_of_their_replies() {
        let folder = tempfile::tempdir().unwrap();
        let (mut recorder, control) = Recorder::create(folder.path(), 1000).unwrap();
        let slow = control.asked(b"\x80slow");
        recorder.exchange(b"{}", &[], Some(b"{}"));
        let quick = control.asked(b"\x04");
        assert_eq!(control.exchange(&quick, b"\xff"), None);
        assert_eq!(control.exchange(&slow, b"\x00\x0a"), None);
        assert_eq!(
            read(folder.path(), "control.jsonl"),
            "{\"after_messages\": 1, \"request\": \"04\", \"reply\": \"ff\"}\n\
             {\"after_messages\": 0, \"request\": \"80736c6f77\", \"reply\": \"000a\"}\n"
        );
        // The limit is that of both sockets together.
        let text = control.exchange(&control.asked(&[0; 500]), b".").unwrap();
        assert!(text.contains("limit of 1000 bytes"), "{text}");
        assert_eq!(recorder.exchange(b"{}", &[], Some(b"{}")), None);
        assert_eq!(read(folder.path(), "messages.jsonl"), "{}\n");
    }
}
