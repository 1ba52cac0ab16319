"""What users pass, checked and converted once."""
