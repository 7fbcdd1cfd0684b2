//! One message of the data socket as it came: the JSON or pickle, and the binary frames behind it.

use wellscope_protocol::batch::BatchLimits;

/// What was read of a message. Everything beyond the limits was dropped unread, and `excess` says so.
pub(crate) struct Message {
    /// The JSON or pickle.
    pub body: zmq::Message,
    /// Binary frames: pixels of producers that share no memory with us. Empty when there is an excess.
    pub frames: Vec<zmq::Message>,
    /// Why the message is refused although all of it was read off the socket.
    pub excess: Option<Excess>,
}

/// More than one message may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Excess {
    /// Binary frames, and how many are taken.
    Frames { found: usize, limit: usize },
    /// Bytes of binary frames, and how many are taken.
    Bytes { found: u64, limit: u64 },
}

/// How much the binary frames of one message may be. ZeroMQ hands a message out only when all of it is there, so what is dropped here
/// has been in memory for a moment: the limit keeps it from staying.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FrameLimits {
    pub max_frames: usize,
    pub max_bytes: u64,
}

impl FrameLimits {
    pub(crate) fn of(limits: &BatchLimits) -> Self {
        Self { max_frames: limits.max_frames, max_bytes: limits.max_batch_bytes }
    }
}

impl Message {
    /// A message of one frame.
    #[cfg(test)]
    pub(crate) fn plain(body: &[u8]) -> Self {
        Self { body: body.into(), frames: Vec::new(), excess: None }
    }

    /// Reads what follows the first frame.
    pub(crate) fn read_rest(body: zmq::Message, socket: &zmq::Socket, limits: FrameLimits) -> zmq::Result<Self> {
        let (mut frames, mut found, mut bytes) = (Vec::new(), 0usize, 0u64);
        let mut excess = None;
        while socket.get_rcvmore()? {
            let frame = socket.recv_msg(0)?;
            found += 1;
            bytes = bytes.saturating_add(frame.len() as u64);
            if found > limits.max_frames {
                excess = Some(Excess::Frames { found, limit: limits.max_frames });
            } else if excess.is_none() && bytes > limits.max_bytes {
                excess = Some(Excess::Bytes { found: bytes, limit: limits.max_bytes });
            }
            match excess {
                None => frames.push(frame),
                // What was read before is let go at once.
                Some(_) => frames = Vec::new(),
            }
        }
        if let Some(Excess::Bytes { limit, .. }) = excess {
            excess = Some(Excess::Bytes { found: bytes, limit });
        }
        Ok(Self { body, frames, excess })
    }

    /// Bytes that it keeps in memory.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.frames.iter().fold(self.body.len() as u64, |sum, frame| sum + frame.len() as u64)
    }
}

impl std::fmt::Display for Excess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Frames { found, limit } => {
                write!(f, "The message has {found} binary frames, the viewer takes at most {limit}")?;
            }
            Self::Bytes { found, limit } => write!(
                f,
                "The binary frames of the message have {found} bytes, the viewer takes at most {limit} at once"
            )?,
        }
        f.write_str("; the producer should send it as several batches. Nothing of it was kept.")
    }
}
