//! What a pickle may cost, and why one was refused.

/// What one pickle may cost before it is refused. Every limit is checked before memory is taken for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PickleLimits {
    /// Length of the whole pickle, in bytes.
    pub message_bytes: usize,
    /// Values built while reading, and again values in the result (shared ones count each time they appear).
    pub nodes: usize,
    /// Instructions read. A pickle needs two to four per value; memo games need millions.
    pub opcodes: usize,
    /// Text, bytes and pixels in the result, in bytes (shared ones count each time they appear).
    pub expanded_bytes: usize,
    /// Containers inside containers. Also what ends a container that holds itself.
    pub depth: usize,
    /// Containers open at once while reading (`MARK`s). Depth bounds it in honest pickles.
    pub marks: usize,
    /// All work together, whatever it is; this bounds the time. A step took at most 17 ns where it was measured (tests/hostile_pickles.rs):
    /// 1 per instruction and per value that is counted, 2 per value that is pushed, 4 per value that is built, 1 per element that
    /// changes its order, 1 per 16 bytes that are looked at or copied.
    pub steps: usize,
}

/// Bytes that one step looks at or copies.
pub(super) const BYTES_PER_STEP: usize = 16;

impl PickleLimits {
    /// For requests on the control socket, which are small: real ones stay below 1 kB and 3000 steps.
    pub const CONTROL_REQUEST: Self = Self {
        message_bytes: 1 << 20,
        nodes: 65_536,
        opcodes: 262_144,
        expanded_bytes: 1 << 20,
        depth: 32,
        marks: 64,
        steps: 300_000,
    };

    /// For replies that our own client asked for. A `payloads` reply may hold many thousands of pixel values.
    pub const CONTROL_REPLY: Self = Self {
        message_bytes: 64 << 20,
        nodes: 4_000_000,
        opcodes: 16_000_000,
        expanded_bytes: 64 << 20,
        depth: 32,
        marks: 64,
        steps: 128_000_000,
    };

    /// For a message on the data socket whose arrays travel inside the pickle: at most `bytes` of message and of pixels.
    pub const fn data_message(bytes: usize) -> Self {
        // As many values as `nodes` allows, and each byte read, copied and reordered: at most 3/16 + 1 steps.
        let steps = (bytes.saturating_mul(2)).saturating_add(1_000_000);
        Self { message_bytes: bytes, expanded_bytes: bytes, steps, ..Self::CONTROL_REQUEST }
    }
}

impl Default for PickleLimits {
    /// [`PickleLimits::CONTROL_REQUEST`], the strictest.
    fn default() -> Self {
        Self::CONTROL_REQUEST
    }
}

/// Why a pickle was refused. Nothing of it was executed, and nothing of it is kept.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PickleError {
    /// The pickle names something that could run code or that nobody has described as data.
    #[error(
        "the pickle names {module}.{name}, which is not on the allow-list; the sender must use plain builtins, numpy arrays or the control classes"
    )]
    ForbiddenGlobal {
        /// Python module, as sent.
        module: String,
        /// Name in the module, as sent.
        name: String,
    },
    /// An instruction that no accepted value needs.
    #[error("pickle instruction {opcode:#04x} at byte {at} is refused: {reason}")]
    RefusedOpcode {
        /// The instruction's byte.
        opcode: u8,
        /// Where it stands.
        at: usize,
        /// What it would do.
        reason: &'static str,
    },
    /// A byte that is no instruction of protocols 0 to 5: not a pickle, or a newer one.
    #[error("byte {opcode:#04x} at {at} is no pickle instruction of protocols 0 to 5")]
    UnknownOpcode {
        /// The byte.
        opcode: u8,
        /// Where it stands.
        at: usize,
    },
    /// The bytes end inside the pickle, or a length promises more than there is.
    #[error("the pickle ends at byte {len}, {needed} more bytes were promised at byte {at}")]
    Truncated {
        /// Where the missing part begins.
        at: usize,
        /// How many bytes the instruction needs.
        needed: u64,
        /// Length of the pickle.
        len: usize,
    },
    /// A budget of [`PickleLimits`] is spent.
    #[error("the pickle has too many {what}: more than {limit}")]
    OverLimit {
        /// Which budget.
        what: &'static str,
        /// Its size.
        limit: usize,
    },
    /// Containers are nested too deep, or one holds itself.
    #[error("the pickle is nested deeper than {limit}, or a container holds itself")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// An integer that no signed or unsigned 64-bit integer holds.
    #[error("the integer at byte {at} is larger than 64 bits")]
    IntegerTooLarge {
        /// Where it stands.
        at: usize,
    },
    /// Text that is not UTF-8, a number that is no number.
    #[error("the {what} at byte {at} cannot be read")]
    BadText {
        /// What was to be read.
        what: &'static str,
        /// Where it stands.
        at: usize,
    },
    /// The instructions do not fit together: a stack underflow, an append to a number.
    #[error("the pickle's instructions do not fit together at byte {at}: {reason}")]
    Inconsistent {
        /// Where.
        at: usize,
        /// What was missing.
        reason: &'static str,
    },
    /// An allowed class or array came with arguments that it never has.
    #[error("{what} has an unexpected form: {reason}")]
    BadObject {
        /// Class or kind.
        what: String,
        /// What was found.
        reason: String,
    },
}
