"""Area-level models of counts and shares whose likelihood is not normal."""
