//! Tells the linker what lies in front in the binary: `cargo xtask layout` writes that.

fn main() {
    println!("cargo::rerun-if-changed=layout.ld");
    let directory = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    // Recorded on this processor; elsewhere the linker keeps its own order.
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{directory}/layout.ld");
    }
}
