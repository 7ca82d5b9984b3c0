// SPDX-License-Identifier: Apache-2.0
//! An archive of kits. A digest stops a fuzzer at once, so the input is also put in as the layer of an archive whose
//! digests are right. Whatever is taken must verify, and what is refused must leave nothing.
#![no_main]

use kit::{Archive, Shelf, Wanted};
use libfuzzer_sys::fuzz_target;
use std::fs;

fuzz_target!(|data: &[u8]| {
    let place = std::env::temp_dir().join("kits");
    fs::create_dir_all(&place).expect("a directory can be made");
    let file = place.join("kits.tar");
    for archive in [data.to_vec(), kit::around(data)] {
        fs::write(&file, archive).expect("a file can be written");
        let shelf = Shelf::new(&place.join("shelf"));
        let taken =
            Archive::open(&file).and_then(|archive| archive.import(&shelf, &Wanted::default(), &|_| {}));
        let left = fs::read_dir(place.join("shelf")).map_or(0, |entries| entries.count());
        match taken {
            Ok(kits) => kits.iter().for_each(|kit| {
                shelf.verify(&kit.manifest.name).expect("what was taken is whole");
            }),
            Err(_) => assert!(left <= 1, "something was left besides the lock"),
        }
        fs::remove_dir_all(place.join("shelf")).unwrap_or_default();
    }
});
