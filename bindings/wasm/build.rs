//! Sets the size of the module's stack.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The device flow takes 17 KB on a Cortex-M; a page of WebAssembly is 64 KiB.
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32") {
        println!("cargo:rustc-link-arg-cdylib=-zstack-size=131072");
    }
}
