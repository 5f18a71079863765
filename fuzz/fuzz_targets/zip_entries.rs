//! A zip as a stranger uploads it: what is taken can be laid out below `/var/task` and nowhere else.

#![no_main]

use control::packages::zip_paths;
use libfuzzer_sys::fuzz_target;
use std::collections::HashSet;

fuzz_target!(|bytes: &[u8]| {
    let paths = match zip_paths(bytes) {
        Ok(paths) => paths,
        Err(error) => {
            assert!(error.is_request(), "{error}");
            return;
        }
    };
    for path in &paths {
        assert!(
            !path.is_empty() && path.len() <= 4_000 && !path.contains('\0'),
            "{path:?}"
        );
        let is_plain = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255 && !part.starts_with(".wh.");
        assert!(path.split('/').all(is_plain), "{path:?}");
    }
    assert!(paths.iter().collect::<HashSet<_>>().len() <= paths.len());
});
