//! That what the Rust twin declares is what is defined here: both sides of an `else` have one type.

use super::code::*;
use super::*;
use trapline_api::functions;

macro_rules! same {
    ($($name:ident)*) => {
        $(const _: () = {
            let _ = if true { $name } else { functions::$name };
        };)*
    };
}

same! {
    trapline_register_page_fault_handler
    trapline_unregister_page_fault_handler
    trapline_synchronize
    trapline_flush_tlb
    trapline_register_access_probe
    trapline_unregister_access_probe
    trapline_register_access_probes
    trapline_unregister_access_probes
    trapline_register_code_probe
    trapline_unregister_code_probe
    trapline_register_code_probes
    trapline_unregister_code_probes
    trapline_enable_code_probe
    trapline_disable_code_probe
    trapline_code_probe_counts
    trapline_register_return_probe
    trapline_unregister_return_probe
    trapline_register_return_probes
    trapline_unregister_return_probes
    trapline_enable_return_probe
    trapline_disable_return_probe
    trapline_return_probe_counts
    trapline_read_kernel
    trapline_read_user
}
