"""Tests of `rfm_assets.exports`: a ledger, and a destination with bad manners."""
