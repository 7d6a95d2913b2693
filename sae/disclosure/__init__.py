"""Safe to publish: which cells of linked tables must be hidden, and what an attacker can tell of them."""

from typing import TYPE_CHECKING

from sae.lazy import public

if TYPE_CHECKING:
    from sae.disclosure.auditing import Audit as Audit
    from sae.disclosure.auditing import audit as audit
    from sae.disclosure.hierarchy import nested as nested
    from sae.disclosure.perturbation import noise_table as noise_table
    from sae.disclosure.perturbation import perturb as perturb
    from sae.disclosure.perturbation import record_keys as record_keys
    from sae.disclosure.protection import protect as protect
    from sae.disclosure.rates import audit_rates as audit_rates
    from sae.disclosure.rates import protect_rates as protect_rates
    from sae.disclosure.rates import rate_cells as rate_cells
    from sae.disclosure.rules import PrimaryRules as PrimaryRules
    from sae.disclosure.rules import rules_of as rules_of
    from sae.disclosure.totals import with_totals as with_totals
else:
    __all__, __getattr__, __dir__ = public(
        __name__,
        {
            "auditing": ["Audit", "audit"],
            "hierarchy": ["nested"],
            "perturbation": ["noise_table", "perturb", "record_keys"],
            "protection": ["protect"],
            "rates": ["audit_rates", "protect_rates", "rate_cells"],
            "totals": ["with_totals"],
            "rules": ["PrimaryRules", "rules_of"],
        },
    )
