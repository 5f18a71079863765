//! The metadata of an ext4 image that nobody vouches for.

#![no_main]

use image::file_map::FileMap;
use libfuzzer_sys::fuzz_target;
use std::io;

fuzz_target!(|bytes: &[u8]| {
    let mut read = |offset: u64, buffer: &mut [u8]| {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let found = bytes.get(start..start + buffer.len());
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    };
    if let Ok(map) = FileMap::read(bytes.len() as u64, &mut read) {
        for file in map.files() {
            for extent in &file.extents {
                let found = map.file_of(extent.start).expect("a block of a file belongs to a file");
                assert!(found.extents.iter().any(|extent_of| extent_of.contains(&extent.start)));
            }
        }
    }
});
