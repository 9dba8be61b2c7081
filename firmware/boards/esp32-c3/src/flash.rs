//! The model on an ESP32, in a partition of its own, which the bootloader does not map.
//!
//! The cache maps pages of 64 KiB of flash into the addresses of the data bus (ESP32-C3 technical
//! reference manual, 3.3.3). The bootloader maps the program's own pages from the bottom. This
//! module maps those of the model half way up, with the ROM's functions, as ESP-IDF does
//! (`components/esp_rom/esp32c3/ld`).

use core::slice;

use esp_hal::ram;

/// Offset of the partition `model` in flash.
const MODEL_OFFSET: u32 = parse(env!("WAKELING_MODEL_START"));
/// Length of the partition in bytes.
const MODEL_BYTES: u32 = parse(env!("WAKELING_MODEL_BYTES"));
/// Address at which it is mapped. The bus reaches 8 MiB from `0x3C00_0000`; the program uses the
/// first two.
const MODEL_ADDRESS: u32 = 0x3C40_0000;
const PAGE_KIB: u32 = 64;

/// Parses a decimal number at compile time.
const fn parse(digits: &str) -> u32 {
    match u32::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => panic!("the build script passes decimal numbers"),
    }
}

unsafe extern "C" {
    // These functions are in ROM; esp-rom-sys has their addresses.
    fn Cache_Suspend_ICache() -> u32;
    fn Cache_Resume_ICache(autoload: u32);
    fn Cache_Dbus_MMU_Set(
        external_ram: u32,
        address: u32,
        offset: u32,
        page_kib: u32,
        pages: u32,
        fixed: u32,
    ) -> i32;
}

/// Maps the model's partition. The function is in RAM, since flash cannot be read while the cache
/// is suspended.
#[ram]
fn map() {
    let pages = MODEL_BYTES / (PAGE_KIB * 1024);
    // SAFETY: nothing else uses the pages. Only code in RAM and ROM runs between suspending and
    // resuming. Called with interrupts off.
    unsafe {
        let autoload = Cache_Suspend_ICache();
        Cache_Dbus_MMU_Set(0, MODEL_ADDRESS, MODEL_OFFSET, PAGE_KIB, pages, 0);
        Cache_Resume_ICache(autoload);
    }
}

/// Flash region of the model, with any contents.
pub fn model_region() -> &'static [u8] {
    critical_section::with(|_| map());
    // SAFETY: `map` has mapped flash there, and nothing writes it while the program runs.
    unsafe { slice::from_raw_parts(MODEL_ADDRESS as *const u8, MODEL_BYTES as usize) }
}
