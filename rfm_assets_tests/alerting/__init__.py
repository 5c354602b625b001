"""Tests of `rfm_assets.alerting`: what is news, its words, and receivers with bad manners."""
