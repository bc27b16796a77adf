//! What a campaign has come to, for programs. docs/schemas/harden.json says what is in it.

use serde_json::{Value, json};
use trapline_explain::NoSources;

use super::command;
use crate::harden::campaign::{Campaign, Finding};

/// All of it, for programs.
pub(crate) fn json(campaign: &Campaign) -> Value {
    let experiments = campaign.runs().iter().map(|run| {
        let outcome = &run.outcome;
        json!({
            "rules": run.experiment.rules,
            "register": run.experiment.place,
            "lie": run.experiment.lie.name(),
            "result": outcome.trouble,
            "function": outcome.function,
            "during": outcome.during,
            "status": outcome.status,
            "lies": outcome.lies,
            "said": outcome.said,
            "milliseconds": outcome.took,
        })
    });
    let findings = campaign.findings();
    let findings = findings.iter().map(|finding| {
        let Finding { trouble, function, shortest, tried, shown, rules } = finding;
        let reports = trapline_explain::read(&shortest.outcome.log);
        let report = reports.first().and_then(|at| reports.kernel.get(at));
        json!({
            "result": trouble,
            "function": function,
            "rules": shortest.experiment.rules,
            "tried": tried,
            "shown": shown,
            "all": rules,
            "again": command(&campaign.about, &shortest.experiment),
            "report": report.map(|report| report.to_json(&NoSources)),
        })
    });
    json!({
        "campaign": campaign.about,
        "sites": campaign.sites,
        "milliseconds": campaign.spent().as_millis() as u64,
        "planned": campaign.planned(),
        "experiments": experiments.collect::<Vec<_>>(),
        "findings": findings.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{OOPS, found};
    use super::*;
    use crate::harden::campaign::Run;
    use crate::harden::campaign::tests::run;
    use crate::harden::experiment::Lie;
    use crate::harden::outcome::{Outcome, Trouble, refused};

    /// What is not as a schema of docs/schemas says.
    fn errors(schema: &str, value: &Value) -> Vec<String> {
        let schema = serde_json::from_str(schema).unwrap();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    #[test]
    fn programs_get_the_same() {
        let json = json(&found());
        assert_eq!(json["findings"][0]["rules"][0], "STATUS ones");
        assert_eq!(json["experiments"][3]["result"], "failed");
        assert_eq!((&json["campaign"]["seed"], &json["milliseconds"]), (&7.into(), &4000.into()));
    }

    #[test]
    fn it_is_as_the_schemas_say() {
        let mut campaign = found();
        let refused = refused("no such bit".into(), Duration::ZERO);
        campaign.push(Run { outcome: refused, ..run("ID = 0", Lie::Zero, Trouble::Fine, None) });
        let oops = run("ID ones at 2", Lie::Ones, Trouble::Oops, Some("edu_read"));
        let outcome =
            Outcome { log: OOPS.into(), status: Some(1), during: "command".into(), ..oops.outcome.clone() };
        campaign.push(Run { outcome, ..oops });
        let json = json(&campaign);
        let told = &json["experiments"][4];
        assert_eq!((&told["result"], &told["said"]), (&"refused".into(), &"no such bit".into()));
        let schema = include_str!("../../../../../docs/schemas/harden.json");
        assert_eq!(errors(schema, &json), [""; 0]);
        let reports: Vec<&Value> =
            json["findings"].as_array().unwrap().iter().map(|one| &one["report"]).collect();
        assert_eq!(reports.iter().filter(|report| report.is_null()).count(), 1);
        let explained = include_str!("../../../../../docs/schemas/explain.json");
        for report in reports.into_iter().filter(|report| !report.is_null()) {
            assert_eq!(errors(explained, report), [""; 0]);
        }
        // It says something: what is not there, and what is too much, is noticed.
        let mut other = json.clone();
        other["experiments"][0]["result"] = "wonderful".into();
        other["more"] = 1.into();
        assert_eq!(errors(schema, &other).len(), 2);
    }
}
