"""Tests of the example bot."""
