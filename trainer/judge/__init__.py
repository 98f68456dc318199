"""Judges answers against known places: from files, from the database, or from a model.

read, benchmarks, from_database, from_model   ->  Truth and Prediction records
matching                                      ->  one Judged for each truth, so that n always adds up
columns                                       ->  one value per image and figure
metrics, selective, cues, compare             ->  figures with their counts and intervals
table, as_json, report                        ->  what people and programs read
"""
