//! Any bytes on the control socket give a value or an error, within the budgets; values and requests survive `encode`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wellscope_protocol::control::ControlRequest;
use wellscope_protocol::pickle::{self, PickleLimits};

fuzz_target!(|frame: &[u8]| {
    if let Ok(value) = pickle::decode(frame, &PickleLimits::CONTROL_REQUEST) {
        // As bytes: NaN is unequal to itself. What a memo shares is written out, so the second limits are wider.
        let encoded = pickle::encode(&value);
        let again = pickle::decode(&encoded, &PickleLimits::CONTROL_REPLY).expect("an encoded value can be decoded");
        assert!(pickle::encode(&again) == encoded, "{value:?} became {again:?}");
    }
    // Of a request of unknown type only the type's text is kept, for the reply.
    if let Ok(request) = ControlRequest::decode(frame)
        && !matches!(request, ControlRequest::Unknown { .. })
    {
        let encoded = request.encode();
        let again = ControlRequest::decode(&encoded).expect("an encoded request can be decoded");
        assert!(again.encode() == encoded, "{request:?} became {again:?}");
    }
});
