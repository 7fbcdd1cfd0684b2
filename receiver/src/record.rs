//! `--record`: what producers send and what they are answered, written into a folder that a test can replay.
//!
//! ```text
//! DIR/messages.jsonl            one line per message of the data socket: the JSON as sent, or {"hex": "8004.."} for other bytes
//! DIR/replies.jsonl             one line per message: its reply; null where producers publish
//! DIR/segments/<shm_name>.bin   the shared memory that a message named, as far as it was read
//! ```
//! A case of the tests is such a folder below `tests/transcripts`. It is written by the data thread before the reply, so a slow
//! disk slows producers down; recording is for bug reports, not for daily work.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A recording in progress.
pub(crate) struct Recorder {
    folder: PathBuf,
    messages: File,
    replies: File,
    left_bytes: u64,
    limit_bytes: u64,
    /// Set when the recording is over: why.
    ended: Option<String>,
}

impl Recorder {
    /// Starts a recording in `folder`, which is made.
    ///
    /// # Errors
    /// When the folder cannot be made, or holds a recording: none is overwritten.
    pub(crate) fn create(folder: &Path, limit_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(folder.join("segments"))?;
        let new = |name: &str| OpenOptions::new().write(true).create_new(true).open(folder.join(name));
        Ok(Self {
            messages: new("messages.jsonl")?,
            replies: new("replies.jsonl")?,
            folder: folder.to_owned(),
            left_bytes: limit_bytes,
            limit_bytes,
            ended: None,
        })
    }

    /// Keeps what a segment held. The first content of a name counts; producers make a new name for each array.
    pub(crate) fn segment(&mut self, name: &str, bytes: &[u8]) {
        let path = self.folder.join("segments").join(format!("{name}.bin"));
        if self.ended.is_none() && !path.exists() && self.claim(bytes.len()) {
            let written = fs::write(path, bytes);
            self.end_on_error(written);
        }
    }

    /// Keeps one message and its reply, after its segments. Returns why the recording ends, when it ends here.
    pub(crate) fn exchange(&mut self, frame: &[u8], reply: Option<&[u8]>) -> Option<String> {
        let reply = reply.unwrap_or(b"null");
        let line = line_of(frame);
        // Without one of its segments a message would replay as another; the whole message is left out then.
        if self.ended.is_none() && self.claim(line.len() + reply.len() + 2) {
            let written = [(&mut self.messages, &line[..]), (&mut self.replies, reply)]
                .into_iter()
                .try_for_each(|(file, text)| file.write_all(&[text, b"\n"].concat()));
            self.end_on_error(written);
        }
        // Said once: an empty text has been said.
        self.ended.as_mut().filter(|reason| !reason.is_empty()).map(std::mem::take)
    }

    fn claim(&mut self, bytes: usize) -> bool {
        match self.left_bytes.checked_sub(bytes as u64) {
            Some(left) => {
                self.left_bytes = left;
                true
            }
            None => {
                let limit = self.limit_bytes;
                self.ended = Some(self.sentence(&format!("it has reached its limit of {limit} bytes")));
                false
            }
        }
    }

    fn end_on_error(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.ended = Some(self.sentence(&error.to_string()));
        }
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
    let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(r#"{{"hex": "{hex}"}}"#).into_bytes()
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
        let mut recorder = Recorder::create(&folder, 1000).unwrap();
        recorder.segment("napari_1", &[1, 2]);
        recorder.segment("napari_1", &[3, 4]);
        assert_eq!(recorder.exchange(br#"{"type": "batch"}"#, Some(b"{}")), None);
        assert_eq!(recorder.exchange(b"\x80\x04\n.", None), None);
        assert_eq!(read(&folder, "messages.jsonl"), "{\"type\": \"batch\"}\n{\"hex\": \"80040a2e\"}\n");
        assert_eq!(read(&folder, "replies.jsonl"), "{}\nnull\n");
        assert_eq!(fs::read(folder.join("segments/napari_1.bin")).unwrap(), [1, 2]);
        assert!(Recorder::create(&folder, 1000).is_err(), "a recording was overwritten");
    }

    #[test]
    fn a_full_recording_says_so_once_and_keeps_whole_messages() {
        let folder = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::create(folder.path(), 20).unwrap();
        assert_eq!(recorder.exchange(b"{}", Some(b"{}")), None);
        recorder.segment("napari_1", &[0; 100]);
        let text = recorder.exchange(b"{}", Some(b"{}")).unwrap();
        assert!(text.contains("limit of 20 bytes"), "{text}");
        assert_eq!(recorder.exchange(b"{}", Some(b"{}")), None);
        assert_eq!(read(folder.path(), "messages.jsonl"), "{}\n");
        assert!(!folder.path().join("segments/napari_1.bin").exists());
    }
}
