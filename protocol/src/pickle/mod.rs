//! Safe pickle: Python's object format read as data and written for Python's own `pickle.loads`.
//!
//! Control requests and replies of zmqruntime and OpenHCS are pickles. A pickle is a program for a small stack machine that may call
//! any importable function; this decoder runs the machine and calls nothing. Globals are names in an allow-list
//! ([`classes`]), and each has a fixed meaning here: an enum is its value, a dataclass is its named fields, a
//! numpy array is dtype, shape and bytes. Any other global is refused by name.
//!
//! ```
//! use wellscope_protocol::pickle::{PickleLimits, PickleValue, decode, encode};
//! let request = PickleValue::dict([("type", "ping".into())]);
//! let bytes = encode(&request);
//! assert_eq!(decode(&bytes, &PickleLimits::default()).unwrap().get("type").unwrap().as_str(), Some("ping"));
//! ```
//!
//! Trade-offs: values come out owned, so pixels in a pickle are copied once more than those in shared memory. Object
//! identity and sharing are lost: a list referred to twice becomes two lists, and the budgets of [`PickleLimits`]
//! count it twice *before* anything is allocated for it. Containers that hold themselves are refused.

mod arena;
mod calls;
pub mod classes;
mod decode;
mod encode;
mod limits;
mod numpy;
mod opcode;
mod text;
mod value;

pub use decode::{decode, decode_counting};
pub use encode::encode;
pub use limits::{PickleError, PickleLimits};
pub use numpy::NumpyArray;
pub use value::{PickleEnum, PickleObject, PickleValue};
