//! Values under construction, as numbered nodes, and their expansion into owned values.
//!
//! Reading a pickle only makes nodes that point at each other and into the message: memo and sharing cost four bytes.
//! Expansion counts first, against the budgets, and allocates only what fits. Calls that would copy (`set(list)`,
//! `encode(text, "latin1")`) stay references until then, so that repeating them costs nothing either.

use std::borrow::Cow;
use std::cell::Cell;

use super::classes::{AllowedClass, ClassLayout, Global};
use super::limits::{BYTES_PER_STEP, PickleError, PickleLimits};
use super::numpy::{NumpyArray, NumpyDtype};
use super::value::{PickleEnum, PickleObject, PickleValue};

/// Steps of making a node, which may allocate.
const PUSH_STEPS: usize = 2;
/// Steps of making an owned value, which allocates, is moved into its container, and ends one day.
const BUILD_STEPS: usize = 4;

type Fields = Vec<(Cow<'static, str>, PickleValue)>;

/// Number of a node.
pub(super) type NodeId = u32;

pub(super) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Str(Cow<'a, str>),
    Bytes(&'a [u8]),
    ByteArray(&'a [u8]),
    /// Bytes that come as text, one character per byte (protocols 0 to 2).
    Latin1(NodeId),
    /// `bytearray(bytes)`.
    ByteArrayOf(NodeId),
    List(Vec<NodeId>),
    Tuple(Vec<NodeId>),
    Dict(Vec<(NodeId, NodeId)>),
    Set(Vec<NodeId>),
    FrozenSet(Vec<NodeId>),
    /// `set(list)`, `frozenset(list)`.
    SetOf(NodeId),
    FrozenSetOf(NodeId),
    Global(Global),
    Enum(&'static AllowedClass, NodeId),
    Object(Box<ObjectNode>),
    Dtype(NumpyDtype),
    /// An array whose content has not come yet.
    EmptyArray,
    Array(Box<ArrayNode>),
}

pub(super) struct ObjectNode {
    pub class: &'static AllowedClass,
    /// What `BUILD` gave: list, dict, or a pair of dicts.
    pub state: Option<NodeId>,
    /// The dict that a dict subclass was made from (protocols 0 and 1).
    pub base: Option<NodeId>,
    /// Items of a dict subclass.
    pub items: Vec<(NodeId, NodeId)>,
}

pub(super) struct ArrayNode {
    pub dtype: NodeId,
    /// Tuple of extents; no node for scalars.
    pub shape: Option<NodeId>,
    pub fortran_order: bool,
    pub data: NodeId,
}

pub(super) struct Arena<'a> {
    nodes: Vec<Node<'a>>,
    steps_limit: usize,
    steps_left: Cell<usize>,
}

impl<'a> Arena<'a> {
    pub fn new(steps: usize) -> Self {
        Self { nodes: Vec::new(), steps_limit: steps, steps_left: Cell::new(steps) }
    }

    /// Charges work before it is done.
    pub fn take_steps(&self, steps: usize) -> Result<(), PickleError> {
        match self.steps_left.get().checked_sub(steps) {
            Some(left) => {
                self.steps_left.set(left);
                Ok(())
            }
            None => {
                self.steps_left.set(0);
                Err(PickleError::OverLimit { what: "steps of work", limit: self.steps_limit })
            }
        }
    }

    /// Charges bytes that are looked at or copied.
    pub fn take_bytes(&self, bytes: usize) -> Result<(), PickleError> {
        self.take_steps(bytes / BYTES_PER_STEP)
    }

    /// Work charged so far.
    pub fn steps(&self) -> usize {
        self.steps_limit - self.steps_left.get()
    }

    pub fn push(&mut self, node: Node<'a>, limits: &PickleLimits) -> Result<NodeId, PickleError> {
        self.take_steps(PUSH_STEPS)?;
        let too_many = PickleError::OverLimit { what: "values", limit: limits.nodes };
        if self.nodes.len() >= limits.nodes {
            return Err(too_many);
        }
        let id = NodeId::try_from(self.nodes.len()).map_err(|_| too_many)?;
        self.nodes.push(node);
        Ok(id)
    }

    /// Ids come from [`Self::push`] only, so the index is always within the nodes.
    pub fn node(&self, id: NodeId) -> &Node<'a> {
        &self.nodes[id as usize]
    }

    pub fn node_mut(&mut self, id: NodeId) -> &mut Node<'a> {
        &mut self.nodes[id as usize]
    }

    pub fn text(&self, id: NodeId) -> Option<&str> {
        match self.node(id) {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    pub fn tuple(&self, id: NodeId) -> Option<&[NodeId]> {
        match self.node(id) {
            Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The owned value of a node, after its whole cost was found to fit the limits.
    pub fn expand(&self, id: NodeId, limits: &PickleLimits) -> Result<PickleValue, PickleError> {
        let mut budget = Budget { limits, nodes_left: limits.nodes, bytes_left: limits.expanded_bytes };
        self.charge(id, 0, &mut budget)?;
        self.build(id)
    }

    /// Counts what [`Self::build`] would make, and stops at the first budget spent. Cycles end at the depth limit.
    fn charge(&self, id: NodeId, depth: usize, budget: &mut Budget) -> Result<(), PickleError> {
        if depth > budget.limits.depth {
            return Err(PickleError::TooDeep { limit: budget.limits.depth });
        }
        self.take_steps(1)?;
        budget.take_node()?;
        match self.node(id) {
            Node::Str(text) => budget.take_bytes(text.len()),
            Node::Bytes(bytes) | Node::ByteArray(bytes) => budget.take_bytes(bytes.len()),
            Node::List(items) | Node::Tuple(items) | Node::Set(items) | Node::FrozenSet(items) => {
                items.iter().try_for_each(|item| self.charge(*item, depth + 1, budget))
            }
            Node::Dict(items) => self.charge_items(items, depth, budget),
            Node::Latin1(inner)
            | Node::ByteArrayOf(inner)
            | Node::SetOf(inner)
            | Node::FrozenSetOf(inner)
            | Node::Enum(_, inner) => self.charge(*inner, depth + 1, budget),
            Node::Object(object) => {
                for part in object.state.iter().chain(&object.base) {
                    self.charge(*part, depth + 1, budget)?;
                }
                self.charge_items(&object.items, depth, budget)
            }
            Node::Array(array) => {
                if let Some(shape) = array.shape {
                    self.charge(shape, depth + 1, budget)?;
                }
                self.charge(array.data, depth + 1, budget)
            }
            Node::None
            | Node::Bool(_)
            | Node::Int(_)
            | Node::UInt(_)
            | Node::Float(_)
            | Node::Global(_)
            | Node::Dtype(_)
            | Node::EmptyArray => Ok(()),
        }
    }

    fn charge_items(&self, items: &[(NodeId, NodeId)], depth: usize, budget: &mut Budget) -> Result<(), PickleError> {
        items.iter().try_for_each(|(key, value)| {
            self.charge(*key, depth + 1, budget)?;
            self.charge(*value, depth + 1, budget)
        })
    }

    /// Only after [`Self::charge`], which bounds both the recursion and the memory.
    fn build(&self, id: NodeId) -> Result<PickleValue, PickleError> {
        self.take_steps(BUILD_STEPS)?;
        Ok(match self.node(id) {
            Node::None => PickleValue::None,
            Node::Bool(value) => PickleValue::Bool(*value),
            Node::Int(value) => PickleValue::Int(*value),
            Node::UInt(value) => PickleValue::from(*value),
            Node::Float(value) => PickleValue::Float(*value),
            Node::Str(text) => {
                self.take_bytes(text.len())?;
                PickleValue::Str(text.to_string())
            }
            Node::Bytes(_) | Node::Latin1(_) => PickleValue::Bytes(self.build_bytes(id)?.into_owned()),
            Node::ByteArray(_) | Node::ByteArrayOf(_) => PickleValue::ByteArray(self.build_bytes(id)?.into_owned()),
            Node::List(items) => PickleValue::List(self.build_all(items)?),
            Node::Tuple(items) => PickleValue::Tuple(self.build_all(items)?),
            Node::Set(items) => PickleValue::Set(self.build_all(items)?),
            Node::FrozenSet(items) => PickleValue::FrozenSet(self.build_all(items)?),
            Node::SetOf(list) => PickleValue::Set(self.build_list(*list, "set")?),
            Node::FrozenSetOf(list) => PickleValue::FrozenSet(self.build_list(*list, "frozenset")?),
            Node::Dict(items) => PickleValue::Dict(
                items
                    .iter()
                    .map(|(key, value)| Ok((self.build(*key)?, self.build(*value)?)))
                    .collect::<Result<_, PickleError>>()?,
            ),
            Node::Enum(class, value) => PickleValue::Enum(Box::new(PickleEnum {
                module: Cow::Borrowed(class.module),
                name: Cow::Borrowed(class.name),
                value: self.build(*value)?,
            })),
            Node::Object(object) => self.build_object(object)?,
            Node::Array(array) => PickleValue::Array(Box::new(self.build_array(array)?)),
            Node::Global(Global::Class(class)) => return Err(bad(class.name, "the class itself, not an instance")),
            Node::Global(_) => return Err(bad("global", "a function or type where a value was expected")),
            Node::Dtype(_) => return Err(bad("numpy dtype", "a dtype without an array")),
            Node::EmptyArray => return Err(bad("numpy array", "an array without content")),
        })
    }

    fn build_all(&self, items: &[NodeId]) -> Result<Vec<PickleValue>, PickleError> {
        items.iter().map(|item| self.build(*item)).collect()
    }

    fn build_list(&self, id: NodeId, what: &str) -> Result<Vec<PickleValue>, PickleError> {
        match self.node(id) {
            Node::List(items) | Node::Tuple(items) => self.build_all(items),
            _ => Err(bad(what, "made from something that is not a list")),
        }
    }

    fn build_bytes(&self, id: NodeId) -> Result<Cow<'_, [u8]>, PickleError> {
        match self.node(id) {
            // Borrowed here, copied by every caller.
            Node::Bytes(bytes) | Node::ByteArray(bytes) => {
                self.take_bytes(bytes.len())?;
                Ok(Cow::Borrowed(bytes))
            }
            Node::ByteArrayOf(inner) => self.build_bytes(*inner),
            Node::Latin1(inner) => {
                let text = self.text(*inner).ok_or_else(|| bad("bytes", "encoded from something that is no text"))?;
                self.take_bytes(text.len())?;
                let bytes: Result<Vec<u8>, _> =
                    text.chars().map(|character| u8::try_from(u32::from(character))).collect();
                bytes.map(Cow::Owned).map_err(|_| bad("bytes", "text beyond latin-1"))
            }
            _ => Err(bad("bytes", "something else where bytes were expected")),
        }
    }

    fn build_array(&self, array: &ArrayNode) -> Result<NumpyArray, PickleError> {
        let Node::Dtype(dtype) = self.node(array.dtype) else {
            return Err(bad("numpy array", "its dtype is no dtype"));
        };
        let data = match self.node(array.data) {
            Node::List(_) => return Err(bad("numpy array", "an array of Python objects")),
            _ => self.build_bytes(array.data)?,
        };
        let shape = array.shape.map_or(Ok(Vec::new()), |shape| self.build_shape(shape))?;
        if array.fortran_order {
            // One element after another.
            self.take_steps(data.len() / dtype.size_bytes)?;
            NumpyArray::from_fortran_order(*dtype, shape, &data)
        } else {
            NumpyArray::from_parts(*dtype, shape, data.into_owned())
        }
    }

    fn build_shape(&self, id: NodeId) -> Result<Vec<usize>, PickleError> {
        let bad_shape = || bad("numpy array", "its shape is not a tuple of sizes");
        self.tuple(id)
            .ok_or_else(bad_shape)?
            .iter()
            .map(|extent| match self.node(*extent) {
                Node::Int(extent) => usize::try_from(*extent).map_err(|_| bad_shape()),
                _ => Err(bad_shape()),
            })
            .collect()
    }

    fn build_object(&self, object: &ObjectNode) -> Result<PickleValue, PickleError> {
        let class = object.class;
        let mut fields = Vec::new();
        if let Some(base) = object.base {
            self.collect_fields(class, base, &mut fields)?;
        }
        self.collect_items(class, &object.items, &mut fields)?;
        match (object.state.map(|state| self.node(state)), class.layout) {
            (None, _) => {}
            (Some(Node::List(values)), ClassLayout::Slots(names)) => {
                for (position, value) in values.iter().enumerate() {
                    // A newer release may have appended fields whose names are unknown here; keep them apart.
                    let name = match names.get(position) {
                        Some(name) => Cow::Borrowed(*name),
                        None => Cow::Owned(format!("field_{position}")),
                    };
                    fields.push((name, self.build(*value)?));
                }
            }
            // `object.__getstate__` of a class with slots: the instance's dict, then its slots.
            (Some(Node::Tuple(pair)), ClassLayout::Slots(_) | ClassLayout::Dict) if pair.len() == 2 => {
                for part in pair {
                    if !matches!(self.node(*part), Node::None) {
                        self.collect_fields(class, *part, &mut fields)?;
                    }
                }
            }
            (Some(Node::Dict(items)), ClassLayout::Slots(_) | ClassLayout::Dict) => {
                self.collect_items(class, items, &mut fields)?;
            }
            (Some(_), _) => return Err(bad(class.name, "its state is neither fields in order nor fields by name")),
        }
        Ok(PickleValue::Object(Box::new(PickleObject {
            module: Cow::Borrowed(class.module),
            name: Cow::Borrowed(class.name),
            fields,
        })))
    }

    fn collect_fields(&self, class: &AllowedClass, dict: NodeId, fields: &mut Fields) -> Result<(), PickleError> {
        match self.node(dict) {
            Node::Dict(items) => self.collect_items(class, items, fields),
            _ => Err(bad(class.name, "fields by name are not in a dict")),
        }
    }

    fn collect_items(
        &self,
        class: &AllowedClass,
        items: &[(NodeId, NodeId)],
        fields: &mut Fields,
    ) -> Result<(), PickleError> {
        for (key, value) in items {
            let key = self.build(*key)?;
            let key = key.as_str().ok_or_else(|| bad(class.name, "a field name is not text"))?;
            fields.push((Cow::Owned(key.to_owned()), self.build(*value)?));
        }
        Ok(())
    }
}

fn bad(what: &str, reason: &str) -> PickleError {
    PickleError::BadObject { what: what.to_owned(), reason: reason.to_owned() }
}

struct Budget<'l> {
    limits: &'l PickleLimits,
    nodes_left: usize,
    bytes_left: usize,
}

impl Budget<'_> {
    fn take_node(&mut self) -> Result<(), PickleError> {
        self.nodes_left = self
            .nodes_left
            .checked_sub(1)
            .ok_or(PickleError::OverLimit { what: "values, repeated ones counted", limit: self.limits.nodes })?;
        Ok(())
    }

    fn take_bytes(&mut self, bytes: usize) -> Result<(), PickleError> {
        self.bytes_left = self
            .bytes_left
            .checked_sub(bytes)
            .ok_or(PickleError::OverLimit { what: "bytes of content", limit: self.limits.expanded_bytes })?;
        Ok(())
    }
}
