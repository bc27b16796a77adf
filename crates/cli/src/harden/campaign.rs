//! A campaign: what was done, what is found, what comes next. Plain data; [`state`](super::state)
//! keeps it.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::experiment::{Experiment, Lie, Site};
use super::outcome::{Outcome, Trouble};
use super::plan::Planner;
use super::reduce::shorter;

/// Oopses at one register after which what is left of it comes last: likely they are of one
/// mistake.
const ENOUGH: usize = 2;

/// Pairs that are looked through for one that was not tried.
const MOST_PAIRS: u64 = 100_000;

/// What a campaign is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    /// The version of Trapline.
    pub trapline: String,
    /// The kernel's release.
    pub kernel: String,
    /// The device's PCI address.
    pub device: String,
    /// Its ids.
    pub ids: String,
    /// The driver.
    pub driver: String,
    /// The driver's module; its name if it is built in.
    pub module: String,
    /// COMMAND.
    pub command: Vec<String>,
    /// What random values and choices are made from.
    pub seed: u64,
    /// Register files that were given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registers: Vec<String>,
    /// How long an experiment may take, in milliseconds, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Whether it was said that the device may be touched though the machine needs it.
    #[serde(default)]
    pub yes: bool,
    /// Whether the device can be reset by itself.
    pub can_reset: bool,
}

/// An experiment that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Which.
    pub experiment: Experiment,
    /// What came of it.
    pub outcome: Outcome,
}

/// How far it may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Time for experiments, all together.
    pub budget: Duration,
    /// How many experiments, if that is limited.
    pub most: Option<u64>,
    /// How often each finding is shown.
    pub repeat: usize,
}

/// A campaign as far as it has come.
#[derive(Debug)]
pub(crate) struct Campaign {
    /// What it is about.
    pub about: About,
    /// What the driver reads.
    pub sites: Vec<Site>,
    runs: Vec<Run>,
    planner: Planner,
    plan: Vec<Experiment>,
    /// Those of the plan that were all tried, from its beginning on.
    begun: usize,
    /// How often rules were tried.
    tried: HashMap<Vec<String>, usize>,
    /// Crashes by register.
    crashes: HashMap<String, usize>,
    /// The number of the first pair that was not tried.
    pair: u64,
    spent: Duration,
}

/// Something that a driver should not do, whatever its device says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What it does.
    pub trouble: Trouble,
    /// Where, as far as is known.
    pub function: Option<String>,
    /// The shortest rules that show it, and what came of them.
    pub shortest: Run,
    /// How often these rules were tried.
    pub tried: usize,
    /// How often they showed it.
    pub shown: usize,
    /// All rules that show it.
    pub rules: Vec<String>,
}

impl Campaign {
    /// Of what the driver reads.
    pub(crate) fn new(about: About, sites: Vec<Site>) -> Self {
        let planner = Planner::new(&sites, about.seed);
        let plan = planner.plan();
        let (tried, crashes) = (HashMap::new(), HashMap::new());
        let (runs, begun, pair, spent) = (Vec::new(), 0, 0, Duration::ZERO);
        Self { about, sites, runs, planner, plan, begun, tried, crashes, pair, spent }
    }

    /// What was done.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// An experiment was made.
    pub(crate) fn push(&mut self, run: Run) {
        let Run { experiment, outcome } = &run;
        self.spent += outcome.took();
        *self.tried.entry(experiment.rules.clone()).or_default() += 1;
        let is_crash = outcome.trouble >= Trouble::Stuck && experiment.lie != Lie::Gone;
        if let Some(place) = experiment.place.as_ref().filter(|_| is_crash) {
            *self.crashes.entry(place.clone()).or_default() += 1;
        }
        let is_tried = |experiment: &Experiment| self.tried.contains_key(&experiment.rules);
        self.begun += self.plan.iter().skip(self.begun).take_while(|next| is_tried(next)).count();
        while self.pair < MOST_PAIRS && self.planner.pair(self.pair).is_some_and(|pair| is_tried(&pair)) {
            self.pair += 1;
        }
        self.runs.push(run);
    }

    /// Time that experiments took so far.
    pub(crate) fn spent(&self) -> Duration {
        self.spent
    }

    /// Experiments that are planned, without pairs.
    pub(crate) fn planned(&self) -> usize {
        self.plan.len()
    }

    fn tried(&self, rules: &[String]) -> usize {
        self.tried.get(rules).copied().unwrap_or(0)
    }

    /// What was found, the worst first.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = Vec::new();
        for run in self.runs.iter().filter(|run| run.outcome.trouble.is_finding()) {
            let known = findings.iter_mut().find(|finding| is_same(finding, run));
            let text = run.experiment.text();
            match known {
                Some(finding) => {
                    if finding.shortest.experiment.is_longer_than(&run.experiment) {
                        finding.shortest = run.clone();
                    }
                    if !finding.rules.contains(&text) {
                        finding.rules.push(text);
                    }
                }
                None => findings.push(Finding {
                    trouble: run.outcome.trouble,
                    function: run.outcome.function.clone(),
                    shortest: run.clone(),
                    tried: 0,
                    shown: 0,
                    rules: vec![text],
                }),
            }
        }
        for finding in &mut findings {
            let rules = &finding.shortest.experiment.rules;
            finding.tried = self.tried(rules);
            let same = self.runs.iter().filter(|run| run.experiment.rules == *rules);
            finding.shown =
                same.filter(|run| run.outcome.trouble.is_finding() && is_same(finding, run)).count();
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.trouble));
        findings
    }

    /// The next experiment; `None` if all within `bounds` is done.
    ///
    /// The plan first, until three quarters of the budget are spent; then what was found is made
    /// shorter and shown again; then what is left of the plan, and pairs.
    pub(crate) fn next(&self, bounds: &Bounds) -> Option<Experiment> {
        let spent = self.spent();
        let is_over = bounds.most.is_some_and(|most| self.runs.len() as u64 >= most);
        if spent >= bounds.budget || is_over {
            return None;
        }
        let is_early = spent < bounds.budget / 4 * 3;
        let settling = || self.settling(bounds.repeat);
        if is_early {
            self.planned_next().or_else(settling)
        } else {
            settling().or_else(|| self.planned_next())
        }
        .or_else(|| self.next_pair())
    }

    /// The next of the plan.
    fn planned_next(&self) -> Option<Experiment> {
        let is_worn = |experiment: &Experiment| {
            let place = experiment.place.as_ref();
            place.and_then(|place| self.crashes.get(place)).is_some_and(|count| *count >= ENOUGH)
        };
        let left =
            || self.plan.iter().skip(self.begun).filter(|experiment| self.tried(&experiment.rules) == 0);
        left().find(|experiment| !is_worn(experiment)).or_else(|| left().next()).cloned()
    }

    /// What makes a finding shorter, or shows it again.
    fn settling(&self, repeat: usize) -> Option<Experiment> {
        let findings = self.findings();
        let shorter = findings.iter().find_map(|finding| {
            shorter(&finding.shortest.experiment)
                .into_iter()
                .find(|experiment| self.tried(&experiment.rules) == 0)
        });
        let again = || findings.iter().find(|finding| finding.tried < repeat);
        shorter.or_else(|| again().map(|finding| finding.shortest.experiment.clone()))
    }

    fn next_pair(&self) -> Option<Experiment> {
        (self.pair < MOST_PAIRS).then(|| self.planner.pair(self.pair))?
    }

    /// The worst that came of a kind of lie about a register.
    pub(crate) fn worst(&self, place: &str, lie: Lie) -> Option<Trouble> {
        let of_cell =
            |run: &&Run| run.experiment.place.as_deref() == Some(place) && run.experiment.lie == lie;
        self.runs.iter().filter(of_cell).map(|run| run.outcome.trouble).max()
    }
}

/// Whether `run` shows what `finding` is of: the same trouble in the same function, or, where no
/// function is known, at the same register.
fn is_same(finding: &Finding, run: &Run) -> bool {
    let (known, outcome) = (&finding.shortest, &run.outcome);
    finding.trouble == outcome.trouble
        && match (&finding.function, &outcome.function) {
            (Some(one), Some(other)) => one == other,
            (None, None) => known.experiment.place == run.experiment.place,
            _ => false,
        }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn about() -> About {
        About {
            trapline: "1".into(),
            kernel: "6.1".into(),
            device: "0000:00:01.0".into(),
            ids: "1234:11e8".into(),
            driver: "edu".into(),
            module: "edu".into(),
            command: vec!["cat".into(), "/dev/edu one".into()],
            seed: 7,
            registers: Vec::new(),
            limit: None,
            yes: false,
            can_reset: false,
        }
    }

    pub(crate) fn campaign() -> Campaign {
        let site = |place: &str, reads, polled| Site {
            place: place.into(),
            width: 4,
            function: format!("edu:read_{place}"),
            offsets: vec![8],
            reads,
            among_all: [1, 2, 3],
            seen: 1,
            polled,
        };
        Campaign::new(about(), vec![site("ID", 1, false), site("STATUS", 5, true)])
    }

    pub(crate) fn run(rule: &str, lie: Lie, trouble: Trouble, function: Option<&str>) -> Run {
        let place = rule.split(' ').next().unwrap_or_default();
        let outcome = Outcome {
            trouble,
            function: function.map(str::to_owned),
            lies: 1,
            took: 1000,
            ..Outcome::default()
        };
        Run { experiment: Experiment::of(place, lie, rule.into()), outcome }
    }

    fn bounds(seconds: u64) -> Bounds {
        Bounds { budget: Duration::from_secs(seconds), most: None, repeat: 2 }
    }

    #[test]
    fn a_campaign_goes_through_its_plan_shows_what_it_found_again_and_ends_with_its_budget() {
        let mut campaign = campaign();
        let bounds = bounds(200);
        let mut texts = Vec::new();
        while let Some(experiment) = campaign.next(&bounds) {
            let trouble = if experiment.text() == "ID = 0" { Trouble::Oops } else { Trouble::Fine };
            let outcome = Outcome { trouble, took: 1000, ..Outcome::default() };
            texts.push(experiment.text());
            campaign.push(Run { experiment, outcome });
        }
        assert_eq!(texts.len(), 200, "a second each");
        assert_eq!(texts.iter().filter(|text| *text == "ID = 0").count(), 2);
        assert!(texts.iter().any(|text| text.contains("; ")), "pairs come at the end");
        let finding = &campaign.findings()[0];
        assert_eq!((finding.tried, finding.shown), (2, 2));
        let most = Bounds { most: Some(200), budget: Duration::MAX, ..bounds };
        assert!(campaign.next(&most).is_none());
    }

    #[test]
    fn what_comes_next_is_found_at_once_after_thousands_of_experiments() {
        let sites =
            (0..150).map(|number| Site { place: format!("R{number}"), ..campaign().sites[1].clone() });
        let mut campaign = Campaign::new(about(), sites.collect());
        let begun = std::time::Instant::now();
        let most = campaign.planned() + 1000;
        let bounds = Bounds { most: Some(most as u64), ..bounds(1_000_000) };
        while let Some(experiment) = campaign.next(&bounds) {
            campaign.push(Run { experiment, outcome: Outcome { took: 1000, ..Outcome::default() } });
        }
        assert_eq!((campaign.runs().len(), campaign.spent().as_secs()), (most, most as u64));
        let known: std::collections::HashSet<_> =
            campaign.runs().iter().map(|run| &run.experiment.rules).collect();
        assert_eq!(known.len(), most, "none is made twice");
        // By looking through all runs each time it took many minutes.
        assert!(begun.elapsed() < Duration::from_secs(60), "it took {:?}", begun.elapsed());
    }

    #[test]
    fn what_crashes_again_and_again_comes_last() {
        let mut campaign = campaign();
        campaign.push(run("ID ones", Lie::Ones, Trouble::Oops, Some("f")));
        campaign.push(run("ID = 0", Lie::Zero, Trouble::Oops, Some("f")));
        let next = campaign.next(&bounds(1000)).unwrap();
        assert_eq!(next.place.as_deref(), Some("STATUS"), "{next:?}");
    }

    #[test]
    fn findings_are_one_for_each_function_and_trouble_with_their_shortest_rule() {
        let mut campaign = campaign();
        campaign.push(run("STATUS ones at 5", Lie::Ones, Trouble::Oops, Some("f")));
        campaign.push(run("STATUS ones", Lie::Ones, Trouble::Oops, Some("f")));
        campaign.push(run("STATUS ones", Lie::Ones, Trouble::Fine, None));
        campaign.push(run("STATUS = 0", Lie::Zero, Trouble::Late, Some("f")));
        campaign.push(run("ID = 0", Lie::Zero, Trouble::Failed, None));
        campaign.push(run("ID random", Lie::Random, Trouble::Died, None));
        let findings = campaign.findings();
        let told: Vec<_> =
            findings.iter().map(|f| (f.trouble, f.shortest.experiment.text(), f.shown, f.tried)).collect();
        assert_eq!(
            told,
            [
                (Trouble::Died, "ID random".to_owned(), 1, 1),
                (Trouble::Oops, "STATUS ones".into(), 1, 2),
                (Trouble::Late, "STATUS = 0".into(), 1, 1)
            ]
        );
        assert_eq!(findings[1].rules.len(), 2);
        assert_eq!(campaign.worst("STATUS", Lie::Ones), Some(Trouble::Oops));
        assert_eq!(campaign.worst("STATUS", Lie::Gone), None);
    }
}
