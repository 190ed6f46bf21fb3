"""Minutes of real servers, real clients and faults drawn from a seed; every history is judged (`python -m tests.soak --help`)."""
