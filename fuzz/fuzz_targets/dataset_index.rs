#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (wakeling_tests::hostile::target("dataset_index").run)(
    bytes
));
