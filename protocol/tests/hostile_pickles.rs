//! Pickles made to exhaust or to break the reader end within 16 MiB and 10 ms.
//!
//! Memory is counted by this test's allocator, per thread. Of time, the work is asserted, in steps of `PickleLimits::steps`, not
//! the seconds. A step took at most 17 ns where it was measured (2-core virtual machine, opt-level 1; `times_of_hostile_pickles`
//! prints it), so the 300,000 steps that a request may take stand for 5 ms, and for 10 ms on a machine of half its speed.

#![allow(clippy::expect_used, reason = "helpers of tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use wellscope_protocol::pickle::{PickleError, PickleLimits, decode, decode_counting};

thread_local! {
    static LIVE_BYTES: Cell<usize> = const { Cell::new(0) };
    static PEAK_BYTES: Cell<usize> = const { Cell::new(0) };
    /// Every pickle that this thread's test tried, for `times_of_hostile_pickles`.
    static TRIED: RefCell<Vec<(String, Vec<u8>)>> = const { RefCell::new(Vec::new()) };
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

/// 10 ms at 33 ns per step.
const MAX_STEPS: usize = 300_000;

/// What became of a pickle that asks for much, within the memory and the work that any may take.
fn within_bounds(name: &str, pickle: &[u8]) -> Result<(), PickleError> {
    let before = LIVE_BYTES.get();
    PEAK_BYTES.set(before);
    let (result, steps) = decode_counting(pickle, &limits());
    let result = result.map(drop);
    let peak = PEAK_BYTES.get() - before;
    assert!(peak < 16 << 20, "{name} took {peak} bytes");
    assert!(steps <= MAX_STEPS, "{name} took {steps} steps");
    TRIED.with_borrow_mut(|tried| tried.push((name.to_owned(), pickle.to_vec())));
    result
}

/// As on the control socket, but for messages of any length: the other limits must hold on their own.
fn limits() -> PickleLimits {
    PickleLimits { message_bytes: 1 << 30, ..PickleLimits::CONTROL_REQUEST }
}

fn refused(name: &str, pickle: &[u8]) -> PickleError {
    within_bounds(name, pickle).expect_err(name)
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
    // What costs most per instruction: instances and enums by memo, text that is checked and copied.
    let object = b"h\x00)\x81".repeat(24_000);
    let class = b"cpyqt_reactive.services.window_snapshot\nWindowSnapshotCaptureSpec\n\x94";
    let objects = pickle(&[class, b"](", &object, b"e"]);
    let enums = b"h\x00N\x85R".repeat(14_000);
    let class = b"czmqruntime.config\nTransportMode\n\x94";
    let enums = pickle(&[class, b"](", &enums, b"e"]);
    let text = "\u{e9}".repeat(500_000);
    let text = pickle(&[b"X", &(text.len() as u32).to_le_bytes(), text.as_bytes()]);
    let dicts = pickle(&[b"](", &b"}".repeat(37_000), b"e"]);
    for (name, pickle) in [("objects", objects), ("enums", enums), ("text", text), ("dicts", dicts)] {
        within_bounds(name, &pickle).expect(name);
    }
}

/// `numpy.core.numeric._frombuffer(data, "u1", shape, "F")`.
fn fortran_array(shape: &[u32], data: &[u8]) -> Vec<u8> {
    let extents: Vec<u8> = shape.iter().flat_map(|extent| [b"J".as_slice(), &extent.to_le_bytes()].concat()).collect();
    let length = (data.len() as u32).to_le_bytes();
    pickle(&[
        b"cnumpy.core.numeric\n_frombuffer\n(B",
        &length,
        data,
        b"cnumpy\ndtype\n\x8c\x02u1\x85R(",
        &extents,
        b"t\x8c\x01FtR",
    ])
}

#[test]
fn elements_are_reordered_once_however_many_axes_there_are() {
    let data = vec![7; 1 << 17];
    // 31 axes of one element are as cheap as none.
    let thin: Vec<u32> = [1 << 17].into_iter().chain([1; 31]).collect();
    within_bounds("thin array", &fortran_array(&thin, &data)).expect("thin array");
    within_bounds("cubic array", &fortran_array(&[2; 17], &data)).expect("cubic array");
}

#[test]
fn work_beyond_the_steps_is_refused() {
    let no_more_than = |steps| PickleLimits { steps, ..limits() };
    let refusal = |pickle: &[u8], steps| match decode(pickle, &no_more_than(steps)) {
        Err(PickleError::OverLimit { what, limit }) => (what, limit),
        other => panic!("{steps} steps: {other:?}"),
    };
    let text = [&b"\x80\x04X\x00\x01\x00\x00"[..], &[b'a'; 256], b"."].concat();
    // Three instructions; one value pushed, counted and built; 256 bytes checked and copied.
    let needed = 3 + 2 + 1 + 4 + 2 * 256 / 16;
    let (value, steps) = decode_counting(&text, &no_more_than(needed));
    assert_eq!((value.expect("text").as_str().map(str::len), steps), (Some(256), needed));
    assert_eq!(refusal(&text, needed - 1), ("steps of work", needed - 1));
    let array = fortran_array(&[64, 64], &[1; 4096]);
    let (value, steps) = decode_counting(&array, &limits());
    value.expect("array");
    assert!(steps > 4096 + 4096 / 16, "{steps}");
    assert_eq!(refusal(&array, steps - 1).0, "steps of work");
}

#[test]
fn names_that_are_looked_up_again_and_again_are_bounded() {
    let module = b"zmqruntime.config";
    let name = b"TransportMode";
    let text = |text: &[u8]| [&[0x8c, text.len() as u8], text, b"\x94"].concat();
    let lookups = pickle(&[b"](", &text(module), &text(name), &b"h\x00h\x01\x93".repeat(60_000), b"e"]);
    assert!(matches!(refused("60 000 lookups", &lookups), PickleError::OverLimit { what: "steps of work", .. }));
}

#[test]
fn a_real_request_takes_a_hundredth_of_the_steps() {
    let request =
        include_bytes!("../../tests/captures/G3_openhcs-0.8.6/control_agent_requests/screenshot.request.pickle");
    let (value, steps) = decode_counting(request, &limits());
    value.expect("a real request");
    assert!(steps < MAX_STEPS / 100, "{steps}");
}

/// What this thread has run so far; where the system does not tell, the time that passed.
fn thread_time() -> Duration {
    static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
    let ran = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = ran.and_then(|line| line.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| STARTED.elapsed(), Duration::from_nanos)
}

/// By hand: `cargo test --release -p wellscope-protocol --test hostile_pickles -- --ignored --nocapture`.
#[test]
#[ignore = "prints times; asserts nothing about them"]
fn times_of_hostile_pickles() {
    // The clock of a thread may go by 4 ms at once.
    const RUNS: u32 = 50;
    code_is_named_and_not_run();
    nesting_ends_in_an_error_not_in_a_stack_overflow();
    repeated_values_are_counted_as_often_as_they_appear();
    duplication_is_refused();
    a_container_that_holds_itself_is_refused();
    marks_numbers_and_memo_entries_are_bounded();
    lengths_beyond_the_message_are_refused();
    the_largest_accepted_pickles_stay_within_16_mib();
    elements_are_reordered_once_however_many_axes_there_are();
    names_that_are_looked_up_again_and_again_are_bounded();
    let mut times: Vec<(Duration, usize, String)> = TRIED.with_borrow(|tried| {
        let time = |(name, pickle): &(String, Vec<u8>)| {
            let started = thread_time();
            let mut steps = 0;
            for _ in 0..RUNS {
                let (value, taken) = decode_counting(pickle, &limits());
                drop(value);
                steps = taken;
            }
            (thread_time().saturating_sub(started) / RUNS, steps, name.clone())
        };
        tried.iter().map(time).collect()
    });
    times.sort_by(|left, right| right.cmp(left));
    for (elapsed, steps, name) in times.iter().take(12) {
        println!(
            "{elapsed:>10.1?} {steps:>7} steps {:>5.1} ns each  {name}",
            elapsed.as_nanos() as f64 / (*steps).max(1) as f64
        );
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
