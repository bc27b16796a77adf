//! System calls: the function that serves one, and where its arguments are.
//!
//! On x86-64 that is `__x64_sys_NAME(const struct pt_regs *)`: the registers as the program had
//! them. Their names and types are in no type information, since what takes them one by one is
//! inlined; but the tracer of system calls tells them (`events/syscalls/sys_enter_NAME/format`).

use super::btf::{Btf, Parameter, Shape, Slot};
use crate::system::System;

/// What the function that serves a system call begins with, of a program of 64 bits.
const SERVES: &str = "__x64_sys_";

/// Where tracing has its files, the older place last.
const TRACING: [&str; 2] = ["sys/kernel/tracing", "sys/kernel/debug/tracing"];

/// Offsets of rdi, rsi, rdx, r10, r8 and r9 in `struct pt_regs`
/// (arch/x86/include/uapi/asm/ptrace.h): the arguments of a system call, by the kernel's contract
/// with programs.
const SAVED: [i64; 6] = [112, 104, 96, 56, 72, 64];

/// The function that serves what programs, and older kernels, call `name`: `sys_NAME`, `SyS_NAME`.
pub(super) fn serves(name: &str) -> Option<String> {
    let call = name.strip_prefix("sys_").or_else(|| name.strip_prefix("SyS_"))?;
    Some(format!("{SERVES}{call}"))
}

/// The arguments of the system call that `function` serves; empty if it serves none, or if they are
/// not known.
pub(super) fn arguments(system: &System, types: &Btf, function: &str) -> Vec<Parameter> {
    let Some(call) = function.strip_prefix(SERVES) else { return Vec::new() };
    let format =
        |tracing: &str| system.read(format!("{tracing}/events/syscalls/sys_enter_{call}/format")).ok();
    let told: Vec<(String, Shape)> = match TRACING.into_iter().find_map(format) {
        Some(format) => format.lines().filter_map(|line| field(line, types)).collect(),
        // Of some of them the kernel has a function of its own.
        None => {
            let function = types.function(&format!("__do_sys_{call}")).unwrap_or_default();
            function.parameters.into_iter().map(|one| (one.name, one.shape)).collect()
        }
    };
    let place = |((name, shape), offset)| Parameter { name, shape, slot: Slot::Saved(offset) };
    told.into_iter().zip(SAVED).map(place).collect()
}

/// The argument in a line as `field:const char * filename; offset:24; size:8; signed:0;`.
fn field(line: &str, types: &Btf) -> Option<(String, Shape)> {
    let declared = line.trim_start().strip_prefix("field:")?.split(';').next()?;
    let (of, name) = declared.rsplit_once(' ')?;
    // What every event has, the call's own number, and copies of what arguments point to.
    let is_argument =
        !(name.starts_with("common_") || name.starts_with("__") || of.starts_with("__data_loc"));
    is_argument.then(|| (name.to_owned(), shape(of, types)))
}

/// What `declared`, a type in C, is.
fn shape(declared: &str, types: &Btf) -> Shape {
    let mut words: Vec<&str> = declared.split_whitespace().filter(|word| *word != "const").collect();
    if words.last().is_some_and(|word| word.ends_with('*')) {
        let pointed = declared.trim_end_matches(['*', ' ']);
        let is_single = declared.matches('*').count() == 1;
        let pointed =
            pointed.split_whitespace().filter(|word| !matches!(*word, "const" | "struct" | "union"));
        let pointed: Vec<&str> = pointed.collect();
        return match pointed[..] {
            ["char"] if is_single => Shape::Pointer { to: None, is_text: true },
            [name] if is_single => Shape::Pointer { to: types.structure(name), is_text: false },
            _ => Shape::Pointer { to: None, is_text: false },
        };
    }
    let signed = !words.contains(&"unsigned");
    words.retain(|word| !matches!(*word, "unsigned" | "signed"));
    let bytes = match words[..] {
        [] | ["int"] => 4,
        ["long"] | ["long", "int" | "long"] => 8,
        ["short"] | ["short", "int"] => 2,
        ["char"] => 1,
        [name] => return types.scalar(name).unwrap_or(Shape::Integer { bytes: 8, signed: false }),
        _ => return Shape::Integer { bytes: 8, signed: false },
    };
    Shape::Integer { bytes, signed }
}

#[cfg(test)]
mod tests {
    use super::super::btf::tests::kernel;
    use super::*;
    use crate::system::tests::with;

    const FORMAT: &str = "\
name: sys_enter_openat
ID: 676
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;
\tfield:int dfd;\toffset:16;\tsize:8;\tsigned:0;
\tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;
\tfield:struct pair * both;\toffset:32;\tsize:8;\tsigned:0;
\tfield:umode_t mode;\toffset:40;\tsize:8;\tsigned:0;
\tfield:unsigned long last;\toffset:48;\tsize:8;\tsigned:0;
\tfield:__data_loc char[] __filename_val;\toffset:56;\tsize:4;\tsigned:0;

print fmt: \"dfd: 0x%08lx\", ((unsigned long)(REC->dfd))
";

    fn told(system: &System, function: &str) -> Vec<(String, Slot)> {
        let types = Btf::new(kernel().bytes()).unwrap();
        let all = arguments(system, &types, function);
        all.iter().map(|one| (one.to_string(), one.slot)).collect()
    }

    #[test]
    fn the_arguments_of_a_system_call_are_told_by_its_tracer_wherever_that_has_its_files() {
        for tracing in TRACING {
            let path = format!("{tracing}/events/syscalls/sys_enter_openat/format");
            let (_root, system) = with(&[(&path, FORMAT)]);
            let expected = [
                ("s32 dfd", 112),
                ("string filename", 104),
                ("x64 both", 96),
                ("u16 mode", 56),
                ("u64 last", 72),
            ];
            let expected = expected.map(|(text, offset)| (text.to_owned(), Slot::Saved(offset)));
            assert_eq!(told(&system, "__x64_sys_openat"), expected);
            assert_eq!(told(&system, "__x64_sys_close"), [], "of another call nothing is known");
            assert_eq!(told(&system, "vfs_open"), []);
        }
    }

    #[test]
    fn without_the_tracer_they_are_those_of_the_function_within() {
        let mut made = kernel();
        let int = made.integer("int", 4, true);
        made.function("__do_sys_dup", int, &[("fildes", int)]);
        let types = Btf::new(made.bytes()).unwrap();
        let (_root, system) = with(&[]);
        let all = arguments(&system, &types, "__x64_sys_dup");
        assert_eq!(
            all.iter().map(|one| (&*one.name, one.slot)).collect::<Vec<_>>(),
            [("fildes", Slot::Saved(112))]
        );
    }

    #[test]
    fn numbers_are_as_wide_as_c_has_them() {
        let types = Btf::new(kernel().bytes()).unwrap();
        let told = |text| shape(text, &types).form();
        for (text, form) in [
            ("unsigned int", "u32"),
            ("long", "s64"),
            ("unsigned long", "u64"),
            ("short", "s16"),
            ("umode_t", "u16"),
            ("no_such_t", "u64"),
            ("char **", "x64"),
            ("const char * const *", "x64"),
            ("void *", "x64"),
        ] {
            assert_eq!(told(text), Some(form), "{text}");
        }
        let pair = Some(types.structure("pair").unwrap());
        assert_eq!(shape("const struct pair *", &types), Shape::Pointer { to: pair, is_text: false });
    }
}
