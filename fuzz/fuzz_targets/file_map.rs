//! The metadata of an ext4 image that nobody vouches for.

#![no_main]

use image::file_map::FileMap;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(map) = FileMap::parse(bytes) {
        for file in map.files() {
            for extent in &file.extents {
                let found = map.file_of(extent.start).expect("a block of a file belongs to a file");
                assert!(found.extents.iter().any(|extent_of| extent_of.contains(&extent.start)));
            }
        }
    }
});
