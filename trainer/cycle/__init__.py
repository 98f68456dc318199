"""The trainer's periodic run, by itself: newly curated labels -> a model -> a verdict -> promoted or refused.

schedule                    Celery beat and the one training worker on the queue `geotag.train`
runs                        the row of a run in Postgres, and the lock that lets one run at a time
assemble                    settings -> the plan of a run
sources                     what is learnt from and what is judged on, of the archive or of the Atlas
taught, asking              what teachers have verified about the photographs, for the rewards that judge by it
cycle                       a run from beginning to end
examine, verdict            both models on the frozen held-out set; which one serves
"""
