//! Where the model lies on an ESP32: in a partition of its own, which the bootloader does not map.
//!
//! The cache maps pages of 64 KiB of flash into the data bus's addresses (ESP32-C3 technical reference
//! manual, 3.3.3). The bootloader maps the program's own pages from the bottom; this adds the model's,
//! half way up, with the ROM's functions, as ESP-IDF does (`components/esp_rom/esp32c3/ld`).

use core::slice;

use esp_hal::ram;

/// Offset of the partition `model` in flash; `partitions.csv` says the same.
const MODEL_OFFSET: u32 = 0x0020_0000;
/// Its length.
const MODEL_BYTES: u32 = 0x0010_0000;
/// Where it appears: the bus reaches 8 MiB from `0x3C00_0000`, and the program takes the first two.
const MODEL_ADDRESS: u32 = 0x3C40_0000;
const PAGE_KIB: u32 = 64;

unsafe extern "C" {
    // In ROM; esp-rom-sys has their addresses.
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

/// Maps the model's partition. In RAM, since flash cannot be read while the cache is suspended.
#[ram]
fn map() {
    let pages = MODEL_BYTES / (PAGE_KIB * 1024);
    // SAFETY: the pages belong to nobody else, and between suspending and resuming runs only code in
    // RAM and in ROM. Called with interrupts off.
    unsafe {
        let autoload = Cache_Suspend_ICache();
        Cache_Dbus_MMU_Set(0, MODEL_ADDRESS, MODEL_OFFSET, PAGE_KIB, pages, 0);
        Cache_Resume_ICache(autoload);
    }
}

/// The flash region of the model, whatever it holds.
pub fn model_region() -> &'static [u8] {
    critical_section::with(|_| map());
    // SAFETY: `map` has put flash there, which nothing writes while the program runs.
    unsafe { slice::from_raw_parts(MODEL_ADDRESS as *const u8, MODEL_BYTES as usize) }
}
