"""Learning by reward, GRPO (arXiv 2402.03300): what was rewarded above its group's mean becomes likelier.

recipe, rewards             every figure of a run, from one file; the rewards that it names
questions                   picture, prompt and the columns that rewards read
estimate                    memory and time, before anything is loaded
feed, trainer               questions and rewards as TRL takes them; TRL's trainer under our recipe
resources, alarms           memory or disk that do not suffice; when a run must stop
figures, plot               what every step says of itself; the page at the end
reinforce                   all of it: a new checkpoint
"""
