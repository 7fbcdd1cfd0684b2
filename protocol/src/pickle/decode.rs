//! The stack machine that reads a pickle without calling anything.

use std::borrow::Cow;

use super::arena::{Arena, Node, NodeId};
use super::calls::{LOOKUP_STEPS, find_global};
use super::classes::ClassLayout;
use super::limits::{PickleError, PickleLimits};
use super::opcode as op;
use super::value::PickleValue;

/// Longest line of protocol 0 that holds a number or a name.
const MAX_SHORT_LINE_BYTES: usize = 1024;
const NO_NODE: NodeId = NodeId::MAX;

/// Reads one pickle of protocol 0 to 5 as data. Bytes after its end are ignored, as Python does.
///
/// # Errors
/// [`PickleError`] for anything that is no pickle, names a global off the allow-list, or exceeds `limits`.
pub fn decode(bytes: &[u8], limits: &PickleLimits) -> Result<PickleValue, PickleError> {
    decode_counting(bytes, limits).0
}

/// As [`decode`], and how many of [`PickleLimits::steps`] it took, whether it succeeded or not.
pub fn decode_counting(bytes: &[u8], limits: &PickleLimits) -> (Result<PickleValue, PickleError>, usize) {
    if bytes.len() > limits.message_bytes {
        return (Err(PickleError::OverLimit { what: "bytes", limit: limits.message_bytes }), 0);
    }
    let mut machine = Machine::new(bytes, limits);
    let value = machine.run().and_then(|root| machine.arena.expand(root, limits));
    (value, machine.arena.steps())
}

pub(super) struct Machine<'a, 'l> {
    bytes: &'a [u8],
    /// Next byte to read.
    at: usize,
    /// Where the current instruction stands, for errors.
    instruction_at: usize,
    pub(super) limits: &'l PickleLimits,
    pub(super) arena: Arena<'a>,
    stack: Vec<NodeId>,
    /// Heights of the stack at open `MARK`s.
    marks: Vec<usize>,
    memo: Vec<NodeId>,
    /// Entries of `memo` in use: the index that `MEMOIZE` takes next.
    memo_len: usize,
    opcodes: usize,
}

impl<'a, 'l> Machine<'a, 'l> {
    fn new(bytes: &'a [u8], limits: &'l PickleLimits) -> Self {
        Self {
            bytes,
            at: 0,
            instruction_at: 0,
            limits,
            arena: Arena::new(limits.steps),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
            memo_len: 0,
            opcodes: 0,
        }
    }

    fn run(&mut self) -> Result<NodeId, PickleError> {
        loop {
            self.opcodes += 1;
            if self.opcodes > self.limits.opcodes {
                return Err(PickleError::OverLimit { what: "instructions", limit: self.limits.opcodes });
            }
            self.arena.take_steps(1)?;
            self.instruction_at = self.at;
            let opcode = self.byte()?;
            if opcode == op::STOP {
                return self.pop();
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), PickleError> {
        match opcode {
            op::PROTO => {
                if self.byte()? > 5 {
                    return Err(self.refused(opcode, "protocols above 5 are not known"));
                }
                Ok(())
            }
            op::FRAME => {
                let length = self.u64()?;
                self.check_left(length)
            }
            op::MARK => {
                if self.marks.len() >= self.limits.marks {
                    return Err(PickleError::OverLimit { what: "open containers", limit: self.limits.marks });
                }
                self.marks.push(self.stack.len());
                Ok(())
            }

            op::NONE => self.push(Node::None),
            op::NEWTRUE => self.push(Node::Bool(true)),
            op::NEWFALSE => self.push(Node::Bool(false)),
            op::BININT => {
                let value = i32::from_le_bytes(self.array()?);
                self.push(Node::Int(value.into()))
            }
            op::BININT1 => {
                let value = self.byte()?;
                self.push(Node::Int(value.into()))
            }
            op::BININT2 => {
                let value = u16::from_le_bytes(self.array()?);
                self.push(Node::Int(value.into()))
            }
            op::LONG1 => {
                let length = self.byte()?;
                self.long(length.into())
            }
            op::LONG4 => {
                let length = self.u32()?;
                self.long(length.into())
            }
            op::INT | op::LONG => self.decimal_integer(opcode),
            op::BINFLOAT => {
                let value = f64::from_be_bytes(self.array()?);
                self.push(Node::Float(value))
            }
            op::FLOAT => {
                let line = self.short_line("number")?;
                let value = line.parse().map_err(|_| self.bad_text("number"))?;
                self.push(Node::Float(value))
            }

            op::SHORT_BINUNICODE => {
                let length = self.byte()?;
                self.push_text(length.into())
            }
            op::BINUNICODE => {
                let length = self.u32()?;
                self.push_text(length.into())
            }
            op::BINUNICODE8 => {
                let length = self.u64()?;
                self.push_text(length)
            }
            op::UNICODE => self.raw_unicode_line(),
            op::SHORT_BINBYTES => {
                let length = self.byte()?;
                let bytes = self.take(length.into())?;
                self.push(Node::Bytes(bytes))
            }
            op::BINBYTES => {
                let length = self.u32()?;
                let bytes = self.take(length.into())?;
                self.push(Node::Bytes(bytes))
            }
            op::BINBYTES8 => {
                let length = self.u64()?;
                let bytes = self.take(length)?;
                self.push(Node::Bytes(bytes))
            }
            op::BYTEARRAY8 => {
                let length = self.u64()?;
                let bytes = self.take(length)?;
                self.push(Node::ByteArray(bytes))
            }

            op::EMPTY_LIST => self.push(Node::List(Vec::new())),
            op::EMPTY_TUPLE => self.push(Node::Tuple(Vec::new())),
            op::EMPTY_DICT => self.push(Node::Dict(Vec::new())),
            op::EMPTY_SET => self.push(Node::Set(Vec::new())),
            op::LIST => {
                let items = self.pop_to_mark()?;
                self.push(Node::List(items))
            }
            op::TUPLE => {
                let items = self.pop_to_mark()?;
                self.push(Node::Tuple(items))
            }
            op::FROZENSET => {
                let items = self.pop_to_mark()?;
                self.push(Node::FrozenSet(items))
            }
            op::DICT => {
                let items = self.pop_to_mark()?;
                let items = self.pairs(&items)?;
                self.push(Node::Dict(items))
            }
            op::TUPLE1 => self.tuple_of(1),
            op::TUPLE2 => self.tuple_of(2),
            op::TUPLE3 => self.tuple_of(3),
            op::APPEND => {
                let item = self.pop()?;
                self.append(&[item])
            }
            op::APPENDS => {
                let items = self.pop_to_mark()?;
                self.append(&items)
            }
            op::SETITEM => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(&[(key, value)])
            }
            op::SETITEMS => {
                let items = self.pop_to_mark()?;
                let items = self.pairs(&items)?;
                self.set_items(&items)
            }
            op::ADDITEMS => {
                let items = self.pop_to_mark()?;
                let set = self.top()?;
                match self.arena.node_mut(set) {
                    Node::Set(members) => members.extend_from_slice(&items),
                    _ => return Err(self.inconsistent("members for something that is no set")),
                }
                Ok(())
            }

            op::MEMOIZE => self.memoize(self.memo_len as u64),
            op::PUT => {
                let index = self.short_line("memo index")?.parse().map_err(|_| self.bad_text("memo index"))?;
                self.memoize(index)
            }
            op::BINPUT => {
                let index = self.byte()?;
                self.memoize(index.into())
            }
            op::LONG_BINPUT => {
                let index = self.u32()?;
                self.memoize(index.into())
            }
            op::GET => {
                let index = self.short_line("memo index")?.parse().map_err(|_| self.bad_text("memo index"))?;
                self.recall(index)
            }
            op::BINGET => {
                let index = self.byte()?;
                self.recall(index.into())
            }
            op::LONG_BINGET => {
                let index = self.u32()?;
                self.recall(index.into())
            }

            op::GLOBAL => {
                let module = self.short_line("module name")?;
                let name = self.short_line("global name")?;
                self.push_global(module, name)
            }
            op::STACK_GLOBAL => {
                let name = self.pop()?;
                let module = self.pop()?;
                let (Some(module), Some(name)) = (self.arena.text(module), self.arena.text(name)) else {
                    return Err(self.inconsistent("a global's name is not text"));
                };
                self.arena.take_steps(LOOKUP_STEPS)?;
                let node = Node::Global(find_global(module, name)?);
                self.push(node)
            }
            op::NEWOBJ => {
                let arguments = self.pop()?;
                let class = self.pop()?;
                self.new_object(class, arguments)
            }
            op::REDUCE => {
                let arguments = self.pop()?;
                let callable = self.pop()?;
                self.reduce(callable, arguments)
            }
            op::BUILD => {
                let state = self.pop()?;
                let instance = self.top()?;
                self.build(instance, state)
            }

            op::NEXT_BUFFER | op::READONLY_BUFFER => Err(self.refused(
                opcode,
                "out-of-band buffers do not arrive with the message; the sender must pickle without buffer_callback",
            )),
            op::EXT1 | op::EXT2 | op::EXT4 => {
                Err(self.refused(opcode, "extension codes name globals that only the sender's registry knows"))
            }
            op::PERSID | op::BINPERSID => {
                Err(self.refused(opcode, "persistent ids name objects that only the sender has"))
            }
            op::DUP | op::POP | op::POP_MARK => {
                Err(self.refused(opcode, "no accepted value needs it; only containers that hold themselves do"))
            }
            op::STRING | op::BINSTRING | op::SHORT_BINSTRING => {
                Err(self.refused(opcode, "text of Python 2 without encoding; the sender must use Python 3"))
            }
            op::INST | op::OBJ | op::NEWOBJ_EX => {
                Err(self.refused(opcode, "none of the allowed classes is made this way"))
            }
            _ => Err(PickleError::UnknownOpcode { opcode, at: self.instruction_at }),
        }
    }

    // Reading bytes.

    fn check_left(&self, needed: u64) -> Result<(), PickleError> {
        let left = (self.bytes.len() - self.at) as u64;
        if needed > left {
            return Err(PickleError::Truncated { at: self.at, needed: needed - left, len: self.bytes.len() });
        }
        Ok(())
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], PickleError> {
        self.check_left(length)?;
        // Fits: at most what is left of a slice.
        let end = self.at + length as usize;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Result<u32, PickleError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, PickleError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn line(&mut self, max_bytes: usize, what: &'static str) -> Result<&'a [u8], PickleError> {
        let rest = &self.bytes[self.at..];
        let window = &rest[..rest.len().min(max_bytes + 1)];
        let length = window.iter().position(|byte| *byte == b'\n').ok_or_else(|| self.bad_text(what))?;
        // At most `max_bytes` were looked at before they are charged.
        self.arena.take_bytes(length)?;
        self.at += length + 1;
        Ok(&rest[..length])
    }

    fn short_line(&mut self, what: &'static str) -> Result<&'a str, PickleError> {
        let line = self.line(MAX_SHORT_LINE_BYTES, what)?;
        std::str::from_utf8(line).map_err(|_| self.bad_text(what))
    }

    fn push_text(&mut self, length: u64) -> Result<(), PickleError> {
        let bytes = self.take(length)?;
        self.arena.take_bytes(bytes.len())?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.bad_text("text"))?;
        self.push(Node::Str(Cow::Borrowed(text)))
    }

    /// Protocol 0: latin-1 with `\uXXXX` and `\UXXXXXXXX` for everything else (Python's raw-unicode-escape).
    fn raw_unicode_line(&mut self) -> Result<(), PickleError> {
        let line = self.line(self.limits.expanded_bytes, "text")?;
        let mut text = String::with_capacity(line.len());
        let mut rest = line;
        while let [first, tail @ ..] = rest {
            rest = tail;
            let digits = match (first, tail.first()) {
                (b'\\', Some(b'u')) => 4,
                (b'\\', Some(b'U')) => 8,
                _ => {
                    text.push(char::from(*first));
                    continue;
                }
            };
            let character = tail
                .get(1..1 + digits)
                .and_then(|digits| std::str::from_utf8(digits).ok())
                .and_then(|digits| u32::from_str_radix(digits, 16).ok())
                .and_then(char::from_u32)
                .ok_or_else(|| self.bad_text("text"))?;
            text.push(character);
            rest = &tail[1 + digits..];
        }
        self.push(Node::Str(Cow::Owned(text)))
    }

    /// Two's complement, little-endian, of any length up to nine bytes (`u64` needs one for its sign).
    fn long(&mut self, length: u64) -> Result<(), PickleError> {
        let too_large = PickleError::IntegerTooLarge { at: self.instruction_at };
        let bytes = self.take(length)?;
        if bytes.len() > 9 {
            return Err(too_large);
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 16];
        wide[..bytes.len()].copy_from_slice(bytes);
        self.push_integer(i128::from_le_bytes(wide))
    }

    /// Protocol 0: `I42`, `I01` (true), `L42L`.
    fn decimal_integer(&mut self, opcode: u8) -> Result<(), PickleError> {
        let line = self.short_line("number")?;
        match (opcode, line) {
            (op::INT, "00") => return self.push(Node::Bool(false)),
            (op::INT, "01") => return self.push(Node::Bool(true)),
            _ => {}
        }
        let digits = line.strip_suffix('L').unwrap_or(line);
        match digits.parse() {
            Ok(value) => self.push_integer(value),
            Err(error) => Err(match error.kind() {
                std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
                    PickleError::IntegerTooLarge { at: self.instruction_at }
                }
                _ => self.bad_text("number"),
            }),
        }
    }

    fn push_integer(&mut self, value: i128) -> Result<(), PickleError> {
        if let Ok(value) = i64::try_from(value) {
            self.push(Node::Int(value))
        } else if let Ok(value) = u64::try_from(value) {
            self.push(Node::UInt(value))
        } else {
            Err(PickleError::IntegerTooLarge { at: self.instruction_at })
        }
    }

    // Stack and memo.

    pub(super) fn push(&mut self, node: Node<'a>) -> Result<(), PickleError> {
        let id = self.arena.push(node, self.limits)?;
        self.stack.push(id);
        Ok(())
    }

    /// Height below which the current container may not reach.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<NodeId, PickleError> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    fn top(&self) -> Result<NodeId, PickleError> {
        match self.stack.last() {
            Some(value) if self.stack.len() > self.floor() => Ok(*value),
            _ => Err(self.inconsistent("a value is missing")),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<NodeId>, PickleError> {
        let floor = self.marks.pop().ok_or_else(|| self.inconsistent("a container ends that never began"))?;
        Ok(self.stack.split_off(floor))
    }

    fn tuple_of(&mut self, count: usize) -> Result<(), PickleError> {
        if self.stack.len() < self.floor() + count {
            return Err(self.inconsistent("a value is missing"));
        }
        let items = self.stack.split_off(self.stack.len() - count);
        self.push(Node::Tuple(items))
    }

    fn pairs(&self, items: &[NodeId]) -> Result<Vec<(NodeId, NodeId)>, PickleError> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.inconsistent("a key without a value"));
        }
        Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
    }

    fn append(&mut self, items: &[NodeId]) -> Result<(), PickleError> {
        let list = self.top()?;
        match self.arena.node_mut(list) {
            Node::List(values) => values.extend_from_slice(items),
            _ => return Err(self.inconsistent("items for something that is no list")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[(NodeId, NodeId)]) -> Result<(), PickleError> {
        let mapping = self.top()?;
        match self.arena.node_mut(mapping) {
            Node::Dict(values) => values.extend_from_slice(items),
            Node::Object(object) if object.class.layout == ClassLayout::Mapping => {
                object.items.extend_from_slice(items);
            }
            _ => return Err(self.inconsistent("keys for something that is no dict")),
        }
        Ok(())
    }

    fn memoize(&mut self, index: u64) -> Result<(), PickleError> {
        let value = self.top()?;
        let index = usize::try_from(index)
            .ok()
            .filter(|index| *index < self.limits.opcodes)
            .ok_or(PickleError::OverLimit { what: "memo entries", limit: self.limits.opcodes })?;
        if index >= self.memo.len() {
            self.arena.take_bytes((index + 1 - self.memo.len()) * size_of::<NodeId>())?;
            self.memo.resize(index + 1, NO_NODE);
        }
        if self.memo[index] == NO_NODE {
            self.memo_len += 1;
        }
        self.memo[index] = value;
        Ok(())
    }

    fn recall(&mut self, index: u64) -> Result<(), PickleError> {
        let value = usize::try_from(index).ok().and_then(|index| self.memo.get(index)).copied();
        match value {
            Some(value) if value != NO_NODE => {
                self.stack.push(value);
                Ok(())
            }
            _ => Err(self.inconsistent("a memo entry is used that was never set")),
        }
    }

    // Errors.

    fn refused(&self, opcode: u8, reason: &'static str) -> PickleError {
        PickleError::RefusedOpcode { opcode, at: self.instruction_at, reason }
    }

    pub(super) fn inconsistent(&self, reason: &'static str) -> PickleError {
        PickleError::Inconsistent { at: self.instruction_at, reason }
    }

    fn bad_text(&self, what: &'static str) -> PickleError {
        PickleError::BadText { what, at: self.instruction_at }
    }
}
