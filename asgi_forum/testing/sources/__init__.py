"""The parts of SourceSuite: what a source owes, by subject."""
