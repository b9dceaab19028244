"""Programs that train the embedded models; run by people, never imported by the pack."""
