//! What is said of routes over the SIMs of modems, each time the configuration is read.

use crate::domain::policy::Policy;

/// A word of warning, if a route has a modem in it.
pub(super) fn warning(policy: &Policy) -> Option<String> {
    let over_a_sim = policy.operators.iter();
    let over_a_sim = over_a_sim.filter(|operator| policy.first_modem(operator).is_some());
    let names: Vec<_> = over_a_sim.map(|operator| operator.name.as_str()).collect();
    (!names.is_empty()).then(|| {
        format!(
            "modems are in the routes of {}: most contracts of consumer SIMs exclude automatic and \
             professional sending, and lines are cut without notice; in France numbers in 06 and 07 \
             are for people (06 et 07 réservés aux communications interpersonnelles, décision Arcep \
             2018-0881), so that marketing is refused on these routes (prospection : CPCE, \
             art. L34-5); have a contract that allows it, and see daily_limit and recipients_30d",
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::policy::{Limits, ModemRules, Operator};

    #[test]
    fn routes_with_a_modem_in_any_step_are_named_and_others_are_not() {
        let operator = |name: &str, route: &[&str]| {
            let steps = route.iter().map(|account| vec![(*account).into()]);
            Operator::named(name, steps.collect())
        };
        let others = vec![operator("sfr", &["b"]), operator("free", &["sim1"])];
        let default = operator("default", &["a", "sim1"]);
        let mut policy = Policy::new(default, others, "FR", Limits::default());
        assert_eq!(warning(&policy), None);
        policy.modems.insert("sim1".into(), ModemRules::default());
        let warning = warning(&policy).unwrap();
        assert!(warning.contains("routes of default, free:"), "{warning}");
        assert!(warning.contains("2018-0881"), "{warning}");
    }
}
