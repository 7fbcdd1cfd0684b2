//! Globals, calls and state: what Python would execute and this decoder only understands.

use super::arena::{ArrayNode, Node, NodeId, ObjectNode};
use super::classes::{self, ClassLayout, Global};
use super::decode::Machine;
use super::limits::PickleError;
use super::numpy::NumpyDtype;

/// Arguments of a call. Real ones have at most five; longer tuples are refused before they are looked at.
const MAX_ARGUMENTS: usize = 8;

/// Steps of finding a global among those allowed.
pub(super) const LOOKUP_STEPS: usize = 4;

impl<'a> Machine<'a, '_> {
    pub(super) fn push_global(&mut self, module: &str, name: &str) -> Result<(), PickleError> {
        self.arena.take_steps(LOOKUP_STEPS)?;
        self.push(Node::Global(find_global(module, name)?))
    }

    fn arguments(&self, id: NodeId) -> Result<&[NodeId], PickleError> {
        match self.arena.tuple(id) {
            Some(items) if items.len() <= MAX_ARGUMENTS => Ok(items),
            Some(_) => Err(self.inconsistent("a call with too many arguments")),
            None => Err(self.inconsistent("a call's arguments are no tuple")),
        }
    }

    pub(super) fn new_object(&mut self, class: NodeId, arguments: NodeId) -> Result<(), PickleError> {
        let Node::Global(Global::Class(class)) = self.arena.node(class) else {
            return Err(self.inconsistent("an instance of something that is no allowed class"));
        };
        let class = *class;
        if class.layout == ClassLayout::Enum || !self.arguments(arguments)?.is_empty() {
            return Err(bad(class.name, "made with arguments that it never has"));
        }
        self.push(Node::Object(Box::new(ObjectNode { class, state: None, base: None, items: Vec::new() })))
    }

    pub(super) fn reduce(&mut self, callable: NodeId, arguments: NodeId) -> Result<(), PickleError> {
        let Node::Global(global) = *self.arena.node(callable) else {
            return Err(self.inconsistent("a call of something that is no global"));
        };
        let arguments = self.arguments(arguments)?;
        let node = match (global, arguments) {
            (Global::Class(class), [value]) if class.layout == ClassLayout::Enum => Node::Enum(class, *value),
            (Global::Set, []) => Node::Set(Vec::new()),
            (Global::Set, [list]) => Node::SetOf(*list),
            (Global::FrozenSet, []) => Node::FrozenSet(Vec::new()),
            (Global::FrozenSet, [list]) => Node::FrozenSetOf(*list),
            (Global::Bytes, []) => Node::Bytes(&[]),
            (Global::ByteArray, []) => Node::ByteArray(&[]),
            (Global::ByteArray, [bytes]) => Node::ByteArrayOf(*bytes),
            // Protocols 0 to 2: bytearray(text, "latin-1").
            (Global::ByteArray, [text, encoding]) => {
                self.require_latin1(*encoding)?;
                let bytes = Node::Latin1(*text);
                let bytes = self.arena.push(bytes, self.limits)?;
                Node::ByteArrayOf(bytes)
            }
            (Global::CodecsEncode, [text, encoding]) => {
                self.require_latin1(*encoding)?;
                Node::Latin1(*text)
            }
            (Global::Reconstructor, [class, base, state]) => self.reconstruct(*class, *base, *state)?,
            // The further arguments (array class, shape (0,), b"b") are constants; BUILD brings the content.
            (Global::NumpyReconstruct, [class, _, _])
                if matches!(self.arena.node(*class), Node::Global(Global::NumpyNdarray)) =>
            {
                Node::EmptyArray
            }
            (Global::NumpyDtype, [code, ..]) => {
                let code = self.arena.text(*code).ok_or_else(|| bad("numpy dtype", "its code is not text"))?;
                Node::Dtype(NumpyDtype::from_code(code)?)
            }
            (Global::NumpyScalar, [dtype, data]) => {
                Node::Array(Box::new(ArrayNode { dtype: *dtype, shape: None, fortran_order: false, data: *data }))
            }
            (Global::NumpyFromBuffer, [data, dtype, shape, order]) => Node::Array(Box::new(ArrayNode {
                dtype: *dtype,
                shape: Some(*shape),
                fortran_order: self.arena.text(*order) == Some("F"),
                data: *data,
            })),
            (global, _) => return Err(bad(global_name(global), "called with arguments that it never has")),
        };
        self.push(node)
    }

    fn require_latin1(&self, encoding: NodeId) -> Result<(), PickleError> {
        match self.arena.text(encoding) {
            Some("latin1" | "latin-1") => Ok(()),
            _ => Err(bad("bytes", "encoded by something else than latin-1")),
        }
    }

    fn reconstruct(&self, class: NodeId, base: NodeId, state: NodeId) -> Result<Node<'a>, PickleError> {
        let Node::Global(Global::Class(class)) = *self.arena.node(class) else {
            return Err(self.inconsistent("an instance of something that is no allowed class"));
        };
        let base = match (self.arena.node(base), self.arena.node(state), class.layout) {
            (Node::Global(Global::Dict), Node::Dict(_), ClassLayout::Mapping) => Some(state),
            (Node::Global(Global::Object), Node::None, ClassLayout::Slots(_) | ClassLayout::Dict) => None,
            _ => return Err(bad(class.name, "made with arguments that it never has")),
        };
        Ok(Node::Object(Box::new(ObjectNode { class, state: None, base, items: Vec::new() })))
    }

    pub(super) fn build(&mut self, instance: NodeId, state: NodeId) -> Result<(), PickleError> {
        match self.arena.node(instance) {
            Node::Object(_) => {
                if let Node::Object(object) = self.arena.node_mut(instance) {
                    object.state = Some(state);
                }
            }
            Node::Dtype(dtype) => {
                let mut dtype = *dtype;
                // (version, byte order, subdtype, names, fields, itemsize, alignment, flags)
                let order = self.arena.tuple(state).and_then(|parts| self.arena.text(*parts.get(1)?));
                dtype.set_byte_order(order.ok_or_else(|| bad("numpy dtype", "its state has no byte order"))?);
                *self.arena.node_mut(instance) = Node::Dtype(dtype);
            }
            Node::EmptyArray => {
                // (version, shape, dtype, is_fortran, data); numpy before 1.0 left the version out.
                let Some(&[_, shape, dtype, fortran, data]) = self.arena.tuple(state) else {
                    return Err(bad("numpy array", "its state is not (version, shape, dtype, order, data)"));
                };
                let array = ArrayNode {
                    dtype,
                    shape: Some(shape),
                    fortran_order: matches!(self.arena.node(fortran), Node::Bool(true) | Node::Int(1)),
                    data,
                };
                *self.arena.node_mut(instance) = Node::Array(Box::new(array));
            }
            _ => return Err(self.inconsistent("state for something that has none")),
        }
        Ok(())
    }
}

pub(super) fn find_global(module: &str, name: &str) -> Result<Global, PickleError> {
    // What peers send is shown shortened and escaped.
    let shown = |text: &str| text.chars().take(100).collect::<String>().escape_debug().to_string();
    classes::global(module, name)
        .ok_or_else(|| PickleError::ForbiddenGlobal { module: shown(module), name: shown(name) })
}

fn global_name(global: Global) -> &'static str {
    match global {
        Global::Class(class) => class.name,
        Global::Set => "set",
        Global::FrozenSet => "frozenset",
        Global::Bytes => "bytes",
        Global::ByteArray => "bytearray",
        Global::Dict => "dict",
        Global::Object => "object",
        Global::Reconstructor => "copyreg._reconstructor",
        Global::CodecsEncode => "_codecs.encode",
        Global::NumpyReconstruct => "numpy _reconstruct",
        Global::NumpyScalar => "numpy scalar",
        Global::NumpyFromBuffer => "numpy _frombuffer",
        Global::NumpyNdarray => "numpy ndarray",
        Global::NumpyDtype => "numpy dtype",
    }
}

fn bad(what: &str, reason: &str) -> PickleError {
    PickleError::BadObject { what: what.to_owned(), reason: reason.to_owned() }
}
