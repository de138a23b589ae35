"""Language models that are prompted: one client, several backends, replies stored so that nothing is paid for twice."""
