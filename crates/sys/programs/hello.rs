// The program of the built-in image `hello-world`: says that everything works, and how it came about.
#![no_std]
#![no_main]
#![no_builtins]

include!("kernel.rs");

const TEXT: &str = "
Hello from Caisson!
This message shows that your installation works.

What just happened:
 1. The image `hello-world` was found: in your store, at a registry, or built into Caisson.
 2. Its only layer was unpacked; a writable view of it became this container's root directory.
 3. The kernel gave one process its own namespaces and a cgroup. That process printed this: it
    is the container, no daemon took part, and with its end nothing stays behind but its log.

Try something more ambitious:
 $ caisson run -it debian bash
 $ caisson run --rm -v \"$PWD\":/work -w /work busybox ls -l

";

/// # Safety
/// None is needed: the arguments are not looked at.
unsafe fn run(_stack: *mut usize) -> i32 {
    if write_all(1, TEXT.as_bytes()) { 0 } else { 1 }
}
