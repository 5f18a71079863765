//! A request as it could come from /dev/fuse.

#![no_main]

use block::kernel::parse_request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = parse_request(bytes);
});
