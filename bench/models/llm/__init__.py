"""Language models that are asked in words: one client, several backends, replies kept so that nothing is paid for twice."""
