//! A report and what it means, for machines: addresses, registers and error codes are hexadecimal
//! texts, what else is a number is one. Who writes the line makes a text of one that is too large.

use serde_json::{Map, Value, json};

use crate::explain::{Explanation, Row};
use crate::machine::Machine;
use crate::report::Report;
use crate::sources::Sources;
use crate::task::Task;
use crate::user::Trap;

fn hex(value: Option<u64>) -> Value {
    value.map_or(Value::Null, |value| format!("{value:#x}").into())
}

fn task(task: Option<&Task>) -> Value {
    task.map_or(Value::Null, |task| json!({ "name": task.name, "pid": task.id }))
}

impl Explanation {
    /// Its rows, each with a name.
    pub fn to_json(&self) -> Value {
        let mut rows: Vec<(String, String)> = Vec::new();
        for Row { name, text } in &self.rows {
            match rows.last_mut().filter(|_| name.is_empty()) {
                Some((_, last)) => *last += &format!("\n{text}"),
                None => rows.push((name.clone(), text.clone())),
            }
        }
        let rows: Vec<Value> =
            rows.into_iter().map(|(name, text)| json!({ "name": name, "text": text })).collect();
        json!({ "rows": rows, "notes": self.notes })
    }
}

impl Report {
    /// All that was read, and what it means.
    pub fn to_json(&self, sources: &dyn Sources) -> Value {
        let registers: Map<String, Value> =
            self.registers.iter().map(|(name, value)| (name.to_owned(), hex(Some(value)))).collect();
        let calls: Vec<Value> =
            self.calls.iter().map(|call| json!({ "function": call.text, "sure": call.sure })).collect();
        let machine = match self.machine {
            Machine::X86_64 => "x86-64",
            Machine::I386 => "i386",
            Machine::Other(name) => name,
            Machine::Unknown => "unknown",
        };
        json!({
            "kind": self.kind.name(),
            "headline": self.headline,
            "hints": self.hints,
            "machine": machine,
            "address": hex(self.address.or(self.object.address)),
            "error_code": hex(self.error_code),
            "instruction": self.instruction,
            "task": task(self.who_ran()),
            "cpu": self.cpu,
            "kernel": self.kernel,
            "taint": self.taint,
            "registers": registers,
            "calls": calls,
            "modules": self.modules,
            "panic": self.panic,
            "missing": self.missing(),
            "explanation": self.explain(sources).to_json(),
        })
    }
}

impl Trap {
    /// All that was read, and what it means.
    pub fn to_json(&self, count: usize) -> Value {
        json!({
            "kind": self.kind.name(),
            "headline": self.line,
            "what": self.what,
            "address": hex(self.address),
            "error_code": hex(self.error_code),
            "instruction": hex(self.instruction),
            "stack": hex(self.stack),
            "file": self.file.as_ref().map(|file| json!({ "name": file.name, "offset": hex(file.offset), "start": hex(file.start) })),
            "task": task(self.task.as_ref()),
            "cpu": self.cpu,
            "count": count,
            "explanation": self.explain(count).to_json(),
        })
    }
}
