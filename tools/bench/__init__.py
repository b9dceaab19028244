"""Benchmarks; run by people, never imported by the pack and never timed by a test."""
