//! Addresses, each kind a type of its own, so that one is not taken for another.
//!
//! Plain numbers stay: registers, the operands that are computed from them, and instruction
//! pointers, which the interrupted code alone gives a meaning; and what stands in records and in
//! the structures of C. They become addresses where they are first used as such.

/// Defines a kind of address, with what can be done with all of them.
///
/// One word without padding, as C has it, so each may stand in the signature of a C function.
macro_rules! address {
    ($(#[$text:meta])* $name:ident) => {
        $(#[$text])*
        #[repr(transparent)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The address `bytes` further on, modulo 2^64.
            #[inline(always)]
            pub const fn plus(self, bytes: u64) -> Self {
                Self(self.0.wrapping_add(bytes))
            }

            /// The address `bytes` before, modulo 2^64.
            #[inline(always)]
            pub const fn minus(self, bytes: u64) -> Self {
                Self(self.0.wrapping_sub(bytes))
            }

            /// The address `bytes` further on, if the address space goes on that far.
            #[inline(always)]
            pub const fn checked_plus(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(address) => Some(Self(address)),
                    None => None,
                }
            }

            /// How many bytes it lies behind `base`, modulo 2^64: more than any range is long if it
            /// lies before.
            #[inline(always)]
            pub const fn since(self, base: Self) -> u64 {
                self.0.wrapping_sub(base.0)
            }

            /// The multiple of `alignment`, a power of two, that it lies at or behind.
            #[inline(always)]
            pub const fn aligned_down(self, alignment: u64) -> Self {
                Self(self.0 & !(alignment - 1))
            }

            /// How far it lies behind a multiple of `alignment`, which is a power of two.
            #[inline(always)]
            pub const fn offset_in(self, alignment: u64) -> u64 {
                self.0 & (alignment - 1)
            }
        }
    };
}

address! {
    /// A linear address: what code addresses, and the CPU translates. It may be anything.
    Linear
}

address! {
    /// A physical address: what a translation gives.
    Physical
}

address! {
    /// Address of bytes of an alias: a second mapping of memory that can be armed, always present.
    /// Only made by who maps one.
    Alias
}

impl Alias {
    /// What code addresses there, as any other.
    #[inline(always)]
    pub const fn linear(self) -> Linear {
        Linear(self.0)
    }
}
