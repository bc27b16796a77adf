//! Instructions as bytes, each with its memory operand at `(%rdi)`; what has a second one has it at
//! `(%rsi)`.

use trapline_insn::Registers;

/// One form of an instruction.
#[derive(Clone, Debug)]
pub struct Form {
    /// In AT&T syntax.
    pub name: &'static str,
    /// Its bytes, and those of what it needs before it.
    pub code: Vec<u8>,
    /// Which registers it needs besides those of [`registers`].
    pub set: fn(&mut Registers),
}

impl Form {
    /// The flags that the manual leaves undefined (Intel SDM volume 2, at the instruction), for
    /// counts greater than 1.
    pub fn undefined_flags(&self) -> u64 {
        const PF: u64 = 1 << 2;
        const AF: u64 = 1 << 4;
        const ZF: u64 = 1 << 6;
        const SF: u64 = 1 << 7;
        const OF: u64 = 1 << 11;
        let mnemonic = self.name.strip_prefix("lock ").unwrap_or(self.name);
        let starts = |names: &[&str]| names.iter().any(|name| mnemonic.starts_with(name));
        if starts(&["div"]) {
            1 | PF | AF | ZF | SF | OF
        } else if starts(&["mul", "imul"]) {
            PF | AF | ZF | SF
        } else if starts(&["bt"]) {
            PF | AF | SF | OF
        } else if starts(&["shld", "shrd", "shl", "shr", "sar"]) {
            AF | OF
        } else if starts(&["rol", "ror", "rcl", "rcr"]) {
            OF
        } else if starts(&["and", "or", "xor", "test"]) {
            AF
        } else {
            0
        }
    }
}

const fn nothing(_: &mut Registers) {}

fn form(name: &'static str, code: &[u8], set: fn(&mut Registers)) -> Form {
    Form { name, code: code.to_vec(), set }
}

/// Registers for a form: operands at `first` and `second`, something in the others.
pub fn registers(first: u64, second: u64) -> Registers {
    Registers {
        rdi: first,
        rsi: second,
        rax: 0x1122_3344_5566_7788,
        rbx: 2,
        rcx: 5,
        rdx: 0x0102_0304_0506_0708,
        r8: first,
        ..Registers::default()
    }
}

/// `cld` would do; the direction flag as a program starts with it.
pub const DIRECTION_FLAG: u64 = 1 << 10;

fn ten(registers: &mut Registers) {
    registers.rcx = 10;
}

fn ten_down(registers: &mut Registers) {
    (registers.rcx, registers.rflags) = (10, DIRECTION_FLAG);
}

fn many(registers: &mut Registers) {
    registers.rcx = 200;
}

/// Loads and stores.
pub fn moves() -> Vec<Form> {
    vec![
        form("movb %cl,(%rdi)", &[0x88, 0x0f], nothing),
        form("movb %ah,(%rdi)", &[0x88, 0x27], nothing),
        form("movw %cx,(%rdi)", &[0x66, 0x89, 0x0f], nothing),
        form("movl %ecx,(%rdi)", &[0x89, 0x0f], nothing),
        form("movq %rcx,(%rdi)", &[0x48, 0x89, 0x0f], nothing),
        form("movl %eax,(%r8)", &[0x41, 0x89, 0x00], nothing),
        form("movb (%rdi),%cl", &[0x8a, 0x0f], nothing),
        form("movb (%rdi),%dh", &[0x8a, 0x37], nothing),
        form("movw (%rdi),%cx", &[0x66, 0x8b, 0x0f], nothing),
        form("movl (%rdi),%ecx", &[0x8b, 0x0f], nothing),
        form("movq (%rdi),%rcx", &[0x48, 0x8b, 0x0f], nothing),
        form("movl 16(%rdi,%rbx,4),%ecx", &[0x8b, 0x4c, 0x9f, 0x10], nothing),
        form("movb $imm,(%rdi)", &[0xc6, 0x07, 0x5a], nothing),
        form("movw $imm,(%rdi)", &[0x66, 0xc7, 0x07, 0x34, 0x12], nothing),
        form("movl $imm,(%rdi)", &[0xc7, 0x07, 0x78, 0x56, 0x34, 0x12], nothing),
        form("movl $imm,(%rdi,%rbx,4)", &[0xc7, 0x04, 0x9f, 0x78, 0x56, 0x34, 0x12], nothing),
        form("movl $imm,8(%rdi,%rbx,4)", &[0xc7, 0x44, 0x9f, 0x08, 0x78, 0x56, 0x34, 0x12], nothing),
        form("movq $imm32,(%rdi)", &[0x48, 0xc7, 0x07, 0xf0, 0xff, 0xff, 0xff], nothing),
        form("movzbl (%rdi),%ecx", &[0x0f, 0xb6, 0x0f], nothing),
        form("movzwl (%rdi),%ecx", &[0x0f, 0xb7, 0x0f], nothing),
        form("movsbl (%rdi),%ecx", &[0x0f, 0xbe, 0x0f], nothing),
        form("movsbq (%rdi),%rcx", &[0x48, 0x0f, 0xbe, 0x0f], nothing),
        form("movswl (%rdi),%ecx", &[0x0f, 0xbf, 0x0f], nothing),
        form("movslq (%rdi),%rcx", &[0x48, 0x63, 0x0f], nothing),
        form("movbe (%rdi),%ecx", &[0x0f, 0x38, 0xf0, 0x0f], nothing),
        form("movbe %ecx,(%rdi)", &[0x0f, 0x38, 0xf1, 0x0f], nothing),
        form("movnti %ecx,(%rdi)", &[0x0f, 0xc3, 0x0f], nothing),
        form("sete (%rdi)", &[0x0f, 0x94, 0x07], nothing),
        form("setne (%rdi)", &[0x0f, 0x95, 0x07], nothing),
        form("cmove (%rdi),%ecx", &[0x0f, 0x44, 0x0f], nothing),
        form("cmovne (%rdi),%ecx", &[0x0f, 0x45, 0x0f], nothing),
        form("xlatb", &[0xd7], |r| (r.rbx, r.rax) = (r.rdi, 3)),
        form("push (%rdi)", &[0xff, 0x37], nothing),
        // The value it pops is one that it pushed.
        form("push %rcx; pop (%rdi)", &[0x51, 0x8f, 0x07], nothing),
    ]
}

/// Arithmetic and logic.
pub fn arithmetic() -> Vec<Form> {
    vec![
        form("addl %ecx,(%rdi)", &[0x01, 0x0f], nothing),
        form("orl %ecx,(%rdi)", &[0x09, 0x0f], nothing),
        form("adcl %ecx,(%rdi)", &[0x11, 0x0f], |r| r.rflags = 1),
        form("sbbl %ecx,(%rdi)", &[0x19, 0x0f], |r| r.rflags = 1),
        form("andl %ecx,(%rdi)", &[0x21, 0x0f], nothing),
        form("subl %ecx,(%rdi)", &[0x29, 0x0f], nothing),
        form("xorl %ecx,(%rdi)", &[0x31, 0x0f], nothing),
        form("cmpl %ecx,(%rdi)", &[0x39, 0x0f], nothing),
        form("testl %ecx,(%rdi)", &[0x85, 0x0f], nothing),
        form("addl (%rdi),%ecx", &[0x03, 0x0f], nothing),
        form("cmpl (%rdi),%ecx", &[0x3b, 0x0f], nothing),
        form("addb $imm,(%rdi)", &[0x80, 0x07, 0x05], nothing),
        form("addl $imm8,(%rdi)", &[0x83, 0x07, 0x05], nothing),
        form("orl $imm32,(%rdi)", &[0x81, 0x0f, 0x78, 0x56, 0x34, 0x12], nothing),
        form("addq %rcx,(%rdi)", &[0x48, 0x01, 0x0f], nothing),
        form("incl (%rdi)", &[0xff, 0x07], nothing),
        form("decl (%rdi)", &[0xff, 0x0f], nothing),
        form("notl (%rdi)", &[0xf7, 0x17], nothing),
        form("negl (%rdi)", &[0xf7, 0x1f], nothing),
        form("incb (%rdi)", &[0xfe, 0x07], nothing),
        form("imull (%rdi),%ecx", &[0x0f, 0xaf, 0x0f], nothing),
        form("mull (%rdi)", &[0xf7, 0x27], nothing),
        form("btl %ecx,(%rdi)", &[0x0f, 0xa3, 0x0f], |r| r.rcx = 100),
        form("btsl %ecx,(%rdi)", &[0x0f, 0xab, 0x0f], |r| r.rcx = 100),
        form("btrl %ecx,(%rdi)", &[0x0f, 0xb3, 0x0f], |r| r.rcx = u64::MAX - 40),
        form("btcl %ecx,(%rdi)", &[0x0f, 0xbb, 0x0f], nothing),
        form("btsl $5,(%rdi)", &[0x0f, 0xba, 0x2f, 0x05], nothing),
        form("shll (%rdi)", &[0xd1, 0x27], nothing),
        form("shll %cl,(%rdi)", &[0xd3, 0x27], nothing),
        form("shrl $3,(%rdi)", &[0xc1, 0x2f, 0x03], nothing),
        form("sarl $2,(%rdi)", &[0xc1, 0x3f, 0x02], nothing),
        form("roll $4,(%rdi)", &[0xc1, 0x07, 0x04], nothing),
        form("rorl $4,(%rdi)", &[0xc1, 0x0f, 0x04], nothing),
        form("rcll (%rdi)", &[0xd1, 0x17], |r| r.rflags = 1),
        form("rcrl (%rdi)", &[0xd1, 0x1f], |r| r.rflags = 1),
        form("shldl $5,%ecx,(%rdi)", &[0x0f, 0xa4, 0x0f, 0x05], nothing),
        form("shrdl %cl,%ecx,(%rdi)", &[0x0f, 0xad, 0x0f], nothing),
    ]
}

/// Exchanges, and what a lock prefix makes atomic.
pub fn locked() -> Vec<Form> {
    vec![
        form("xchgl %ecx,(%rdi)", &[0x87, 0x0f], nothing),
        form("xchgb %cl,(%rdi)", &[0x86, 0x0f], nothing),
        form("xaddl %ecx,(%rdi)", &[0x0f, 0xc1, 0x0f], nothing),
        form("cmpxchgl %ecx,(%rdi)", &[0x0f, 0xb1, 0x0f], nothing),
        form("lock addl %ecx,(%rdi)", &[0xf0, 0x01, 0x0f], nothing),
        form("lock orl $imm8,(%rdi)", &[0xf0, 0x83, 0x0f, 0x05], nothing),
        form("lock incl (%rdi)", &[0xf0, 0xff, 0x07], nothing),
        form("lock notl (%rdi)", &[0xf0, 0xf7, 0x17], nothing),
        form("lock xaddq %rcx,(%rdi)", &[0xf0, 0x48, 0x0f, 0xc1, 0x0f], nothing),
        form("lock cmpxchgl %ecx,(%rdi)", &[0xf0, 0x0f, 0xb1, 0x0f], nothing),
        form("lock btsl %ecx,(%rdi)", &[0xf0, 0x0f, 0xab, 0x0f], nothing),
        form("lock cmpxchg8b (%rdi)", &[0xf0, 0x0f, 0xc7, 0x0f], nothing),
        form("lock cmpxchg16b (%rdi)", &[0xf0, 0x48, 0x0f, 0xc7, 0x0f], nothing),
    ]
}

/// Those that read memory, change it and write it back, without a lock prefix.
pub fn updates() -> Vec<Form> {
    let unlocked = |form: Form| match *form.code {
        [0xf0, ref code @ ..] => {
            Some(Form { name: form.name.strip_prefix("lock ")?, code: code.to_vec(), ..form })
        }
        // `xchg` is locked without one.
        [0x86 | 0x87, ..] => None,
        _ => Some(form),
    };
    let reads_only = ["cmp", "test", "bt", "mul", "imul"].map(|mnemonic| [mnemonic, "l"].concat());
    let updates = |form: &Form| {
        let (mnemonic, operands) = form.name.split_once(' ').unwrap_or((form.name, ""));
        !reads_only.iter().any(|name| name == mnemonic) && operands.ends_with("(%rdi)")
    };
    arithmetic().into_iter().chain(locked().into_iter().filter_map(unlocked)).filter(updates).collect()
}

/// String instructions; those with two operands go from `(%rsi)` to `(%rdi)`.
pub fn strings() -> Vec<Form> {
    vec![
        form("movsb", &[0xa4], nothing),
        form("movsw", &[0x66, 0xa5], nothing),
        form("movsl", &[0xa5], nothing),
        form("movsq", &[0x48, 0xa5], nothing),
        form("rep movsb", &[0xf3, 0xa4], ten),
        form("rep movsl", &[0xf3, 0xa5], ten),
        form("rep movsl, 200 elements", &[0xf3, 0xa5], many),
        form("rep movsq", &[0xf3, 0x48, 0xa5], ten),
        form("rep movsl, downwards", &[0xf3, 0xa5], ten_down),
        form("rep movsl, no element", &[0xf3, 0xa5], |r| r.rcx = 0),
        form("stosl", &[0xab], nothing),
        form("rep stosq", &[0xf3, 0x48, 0xab], ten),
        form("rep stosb, downwards", &[0xf3, 0xaa], ten_down),
        form("rep lodsl", &[0xf3, 0xad], ten),
        form("lodsb", &[0xac], nothing),
        form("scasb", &[0xae], nothing),
        form("repne scasb", &[0xf2, 0xae], ten),
        form("cmpsl", &[0xa7], nothing),
        form("repe cmpsb", &[0xf3, 0xa6], ten),
    ]
}

/// What is performed by a copy.
pub fn vectors() -> Vec<Form> {
    vec![
        form("movups (%rdi),%xmm1", &[0x0f, 0x10, 0x0f], nothing),
        form("movups %xmm1,(%rdi)", &[0x0f, 0x11, 0x0f], nothing),
        form("movaps %xmm1,(%rdi)", &[0x0f, 0x29, 0x0f], nothing),
        form("movdqu (%rdi),%xmm1", &[0xf3, 0x0f, 0x6f, 0x0f], nothing),
        form("movdqu %xmm1,(%rdi)", &[0xf3, 0x0f, 0x7f, 0x0f], nothing),
        form("movdqa (%rdi),%xmm9", &[0x66, 0x44, 0x0f, 0x6f, 0x0f], nothing),
        form("movdqa %xmm9,(%rdi)", &[0x66, 0x44, 0x0f, 0x7f, 0x0f], nothing),
        form("vmovdqu (%rdi),%ymm1", &[0xc5, 0xfe, 0x6f, 0x0f], nothing),
        form("vmovdqu %ymm1,(%rdi)", &[0xc5, 0xfe, 0x7f, 0x0f], nothing),
        form("vmovups (%r8),%xmm1", &[0xc4, 0xc1, 0x78, 0x10, 0x08], nothing),
        form("paddd (%rdi),%xmm1", &[0x66, 0x0f, 0xfe, 0x0f], nothing),
    ]
}

/// What only the CPU itself can perform, so that it has to be stepped.
pub fn stepped() -> Vec<Form> {
    vec![
        form("divl (%rdi)", &[0xf7, 0x37], |r| r.rdx = 0),
        form("movdir64b (%rsi),%r8", &[0x66, 0x44, 0x0f, 0x38, 0xf8, 0x06], nothing),
        form(
            "lea after(%rip),%rax; mov %rax,(%rdi); jmp *(%rdi); after:",
            &[0x48, 0x8d, 0x05, 5, 0, 0, 0, 0x48, 0x89, 0x07, 0xff, 0x27],
            nothing,
        ),
        form(
            "lea after(%rip),%rax; mov %rax,(%rdi); call *(%rdi); after:",
            &[0x48, 0x8d, 0x05, 5, 0, 0, 0, 0x48, 0x89, 0x07, 0xff, 0x17],
            nothing,
        ),
    ]
}

/// `movabs` to and from `address`.
pub fn absolute(address: u64) -> Vec<Form> {
    let with = |prefix: &[u8]| [prefix, &address.to_le_bytes()].concat();
    vec![
        Form { name: "movabs address,%eax", code: with(&[0xa1]), set: nothing },
        Form { name: "movabs %eax,address", code: with(&[0xa3]), set: nothing },
        Form { name: "movabs %rax,address", code: with(&[0x48, 0xa3]), set: nothing },
        Form { name: "movabs address,%al", code: with(&[0xa0]), set: nothing },
    ]
}

/// `mov (%rdi),%eax`.
pub const LOAD: &[u8] = &[0x8b, 0x07];
/// `mov %eax,(%rdi)`.
pub const STORE: &[u8] = &[0x89, 0x07];
/// `incl (%rdi)`.
pub const INCREMENT: &[u8] = &[0xff, 0x07];
/// `lock incl (%rdi)`.
pub const LOCKED_INCREMENT: &[u8] = &[0xf0, 0xff, 0x07];
/// `div (%rdi)`, which the engine has to step.
pub const DIVIDE: &[u8] = &[0xf7, 0x37];
/// `movdir64b (%rsi),%r8`.
pub const MOVE_64: &[u8] = &[0x66, 0x44, 0x0f, 0x38, 0xf8, 0x06];
/// `rep movsl`.
pub const REP_MOVSL: &[u8] = &[0xf3, 0xa5];
/// `vpmaskmovd (%rdi),%xmm2,%xmm1`.
pub const MASKED_LOAD: &[u8] = &[0xc4, 0xe2, 0x69, 0x8c, 0x0f];
/// `vpmaskmovd %xmm1,%xmm2,(%rdi)`.
pub const MASKED_STORE: &[u8] = &[0xc4, 0xe2, 0x69, 0x8e, 0x0f];
