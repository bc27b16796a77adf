//! Page faults in words: what the CPU's error code says, why it faulted, and where in the address
//! space.
//!
//! The error code and the address are all that the CPU tells. What they leave open (which of two
//! rules forbade a write) is said to be open, or decided by the address and told as such; the page
//! tables are not read, since by the time that anybody could they are others.

mod cause;
mod error_code;
mod pattern;
mod region;

pub use cause::{Cause, sentence};
pub use error_code::{Bit, access, bits, oddities};
pub use pattern::pattern;
pub(crate) use region::is_canonical;
pub use region::{Layout, Levels, Region, region};
