#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (wakeling_tests::hostile::target("tflite").run)(bytes));
