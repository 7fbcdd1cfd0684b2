//! Pickles made to exhaust or to break the reader end in an error, within 16 MiB.
//!
//! Time is not measured: the number of instructions and of values is bounded by `PickleLimits`, and every one of them
//! costs constant time. Memory is counted by this test's allocator, per thread.

#![allow(clippy::expect_used, reason = "helpers of tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use proptest::prelude::*;
use wellscope_protocol::pickle::{PickleError, PickleLimits, decode};

thread_local! {
    static LIVE_BYTES: Cell<usize> = const { Cell::new(0) };
    static PEAK_BYTES: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, which also counts what the current thread holds.
struct CountingAllocator;

fn count(change: impl FnOnce(usize) -> usize) {
    // Fails only while a thread ends, when nobody reads the numbers any more.
    let _ = LIVE_BYTES.try_with(|live| {
        live.set(change(live.get()));
        let _ = PEAK_BYTES.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call is passed on unchanged to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(|live| live.wrapping_add(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(|live| live.saturating_sub(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Memory that decoding takes beyond the message, at its peak.
fn peak_bytes_of(pickle: &[u8], limits: &PickleLimits) -> (Result<(), PickleError>, usize) {
    let before = LIVE_BYTES.get();
    PEAK_BYTES.set(before);
    let result = decode(pickle, limits).map(drop);
    (result, PEAK_BYTES.get() - before)
}

/// As on the control socket, but for messages of any length: the other limits must hold on their own.
fn limits() -> PickleLimits {
    PickleLimits { message_bytes: 1 << 30, ..PickleLimits::CONTROL_REQUEST }
}

fn refused(name: &str, pickle: &[u8]) -> PickleError {
    let (result, peak) = peak_bytes_of(pickle, &limits());
    let error = result.expect_err(name);
    assert!(peak < 16 << 20, "{name} took {peak} bytes");
    error
}

fn pickle(parts: &[&[u8]]) -> Vec<u8> {
    [&[0x80, 4], parts.concat().as_slice(), b"."].concat()
}

#[test]
fn code_is_named_and_not_run() {
    let os_system = pickle(&[b"cposix\nsystem\n", b"\x8c\x0becho PWNED!", b"\x85R"]);
    let error = refused("os.system", &os_system);
    assert_eq!(error, PickleError::ForbiddenGlobal { module: "posix".to_owned(), name: "system".to_owned() });
    for name in
        ["builtins\neval", "builtins\ngetattr", "os\nsystem", "numpy\nload", "numpy.core.multiarray\nfrombuffer"]
    {
        let bytes = pickle(&[b"c", name.as_bytes(), b"\n", b")R"]);
        assert!(matches!(refused(name, &bytes), PickleError::ForbiddenGlobal { .. }), "{name}");
    }
}

#[test]
fn nesting_ends_in_an_error_not_in_a_stack_overflow() {
    let lists = pickle(&[&b"]".repeat(100_000), &b"a".repeat(99_999)]);
    refused("100 000 nested lists", &lists);
    let short_of_nodes = pickle(&[&b"]".repeat(60_000), &b"a".repeat(59_999)]);
    assert!(matches!(refused("60 000 nested lists", &short_of_nodes), PickleError::TooDeep { .. }));
    let tuples = pickle(&[b")", &b"\x85".repeat(1_000_000)]);
    refused("a million nested tuples", &tuples);
}

#[test]
fn repeated_values_are_counted_as_often_as_they_appear() {
    // [x, x, ..] ten times at each of nine levels: 231 bytes for a thousand million values.
    let mut shared = b"]\x94".to_vec();
    for level in 0..9_u8 {
        shared.extend_from_slice(b"](");
        shared.extend_from_slice(&[b'h', level].repeat(10));
        shared.extend_from_slice(b"e\x94");
    }
    assert!(matches!(refused("shared lists", &pickle(&[&shared])), PickleError::OverLimit { .. }));

    let text = "x".repeat(10_000_000);
    let length = (text.len() as u32).to_le_bytes();
    let copies = pickle(&[b"](X", &length, text.as_bytes(), b"\x94", &b"h\x00".repeat(400), b"e"]);
    assert!(matches!(refused("10 MB of text 400 times", &copies), PickleError::OverLimit { .. }));

    let half = "x".repeat(900_000);
    let length = (half.len() as u32).to_le_bytes();
    let calls = b"h\x01h\x00\x8c\x06latin1\x86R".repeat(10_000);
    let bytes = pickle(&[b"](X", &length, half.as_bytes(), b"\x94c_codecs\nencode\n\x94", &calls, b"e"]);
    assert!(matches!(refused("10 000 encodings of one text", &bytes), PickleError::OverLimit { .. }));

    let sets = b"h\x01h\x00\x85R".repeat(20_000);
    let bytes = pickle(&[b"](", b"](", &b"N".repeat(20_000), b"e\x94cbuiltins\nset\n\x94", &sets, b"e"]);
    assert!(matches!(refused("20 000 sets of one list", &bytes), PickleError::OverLimit { .. }));

    let shape = [b"(".as_slice(), &b"K\x01".repeat(32), b"t\x94"].concat();
    let array = b"h\x03(C\x01ah\x02h\x01\x8c\x01CtR".repeat(8_000);
    let dtype = b"cnumpy\ndtype\n\x8c\x02u1\x85R\x94";
    let bytes = pickle(&[b"](\x8c\x00\x94", &shape, dtype, b"cnumpy.core.numeric\n_frombuffer\n\x94", &array, b"e"]);
    assert!(matches!(refused("arrays of 32 axes", &bytes), PickleError::OverLimit { .. }));
}

#[test]
fn duplication_is_refused() {
    let doubled = pickle(&[b"]", &b"2a".repeat(25)]);
    assert!(matches!(refused("DUP and APPEND", &doubled), PickleError::RefusedOpcode { opcode: b'2', .. }));
    let text = pickle(&[b"X\x04\x00\x00\x00abcd", &b"2".repeat(400)]);
    refused("DUP of text", &text);
}

#[test]
fn a_container_that_holds_itself_is_refused() {
    let list = pickle(&[b"]\x94h\x00a"]);
    assert!(matches!(refused("list in itself", &list), PickleError::TooDeep { .. }));
    let dict = pickle(&[b"}\x94NhN\x00s"]);
    refused("broken dict", &dict);
    let dict = pickle(&[b"}\x94Nh\x00s"]);
    assert!(matches!(refused("dict in itself", &dict), PickleError::TooDeep { .. }));
    let branching = pickle(&[b"]\x94(", &b"h\x00".repeat(10_000), b"e"]);
    refused("list ten thousand times in itself", &branching);
}

#[test]
fn marks_numbers_and_memo_entries_are_bounded() {
    assert!(matches!(refused("a million marks", &b"(".repeat(1_000_000)), PickleError::OverLimit { .. }));
    refused("ten million marks", &b"(".repeat(10_000_000));
    refused("digits", &[b"L".as_slice(), &b"9".repeat(2_000_000), b"L\n."].concat());
    let nine_mb = [b"\x8b".as_slice(), &9_000_000_u32.to_le_bytes(), &vec![0x7f; 9_000_000], b"."].concat();
    assert!(matches!(refused("LONG4", &nine_mb), PickleError::IntegerTooLarge { .. }));
    refused("ten million Nones", &[b"(".as_slice(), &b"N".repeat(10_000_000), b"l."].concat());
    refused("five million dicts", &[b"(".as_slice(), &b"}".repeat(5_000_000), b"l."].concat());
    refused("memo", &[b"N".as_slice(), &b"q\x00".repeat(5_000_000), b"."].concat());
    refused("far memo", b"Nr\xff\xff\xff\xff.");
    refused("unset memo", b"\x80\x04h\x07.");
}

#[test]
fn lengths_beyond_the_message_are_refused() {
    for opcode in [0x8d_u8, 0x8e, 0x96, 0x95] {
        for length in [1_u64 << 40, 1 << 32, u64::MAX, i64::MAX as u64] {
            let bytes = [&[0x80, 5, opcode], length.to_le_bytes().as_slice(), b"abc."].concat();
            assert!(matches!(refused("length", &bytes), PickleError::Truncated { .. }));
        }
    }
    for opcode in [b'X', b'B', 0x8b] {
        let bytes = [&[opcode], u32::MAX.to_le_bytes().as_slice(), b"abc."].concat();
        assert!(matches!(refused("length", &bytes), PickleError::Truncated { .. }));
    }
}

#[test]
fn the_largest_accepted_pickles_stay_within_16_mib() {
    // What costs most per instruction: instances and enums by memo.
    let object = b"h\x00)\x81".repeat(32_000);
    let class = b"cpyqt_reactive.services.window_snapshot\nWindowSnapshotCaptureSpec\n\x94";
    let objects = pickle(&[class, b"](", &object, b"e"]);
    let enums = b"h\x00N\x85R".repeat(21_000);
    let class = b"czmqruntime.config\nTransportMode\n\x94";
    let enums = pickle(&[class, b"](", &enums, b"e"]);
    for pickle in [objects, enums] {
        let (result, peak) = peak_bytes_of(&pickle, &limits());
        result.unwrap();
        assert!(peak < 16 << 20, "took {peak} bytes");
    }
}

#[test]
fn every_prefix_of_a_real_request_is_an_error() {
    let request =
        include_bytes!("../../tests/captures/G3_openhcs-0.8.6/control_agent_requests/screenshot.request.pickle");
    assert!(decode(request, &limits()).is_ok());
    for end in 0..request.len() {
        assert!(decode(&request[..end], &limits()).is_err(), "{end}");
    }
}

/// Instructions and arguments that meet each other more often than random bytes do.
fn pickle_soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        prop::sample::select(b"()]}NabesutlRt\x81\x85\x86\x87\x88\x8f\x90\x91\x93\x94.".to_vec())
            .prop_map(|byte| vec![byte]),
        (0_u8..6).prop_map(|index| vec![b'h', index]),
        prop::sample::select(vec![
            b"cnumpy\ndtype\n".to_vec(),
            b"cnumpy\nndarray\n".to_vec(),
            b"cnumpy.core.multiarray\n_reconstruct\n".to_vec(),
            b"cnumpy.core.multiarray\nscalar\n".to_vec(),
            b"cnumpy.core.numeric\n_frombuffer\n".to_vec(),
            b"cbuiltins\nset\n".to_vec(),
            b"cbuiltins\nbytearray\n".to_vec(),
            b"c_codecs\nencode\n".to_vec(),
            b"ccopyreg\n_reconstructor\n".to_vec(),
            b"cpolystore.streaming.identity\nStreamProducerIdentityPayload\n".to_vec(),
            b"copenhcs.runtime.viewer_controls\nViewerNavigationControlOptions\n".to_vec(),
            b"czmqruntime.config\nTransportMode\n".to_vec(),
            b"\x8c\x06latin1".to_vec(),
            b"\x8c\x02u2".to_vec(),
            b"\x8c\x01>".to_vec(),
            b"C\x04abcd".to_vec(),
            b"K\x02".to_vec(),
        ]),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_give_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes, &limits());
    }

    #[test]
    fn any_instructions_give_a_value_or_an_error(bytes in pickle_soup()) {
        let _ = decode(&bytes, &limits());
    }
}
